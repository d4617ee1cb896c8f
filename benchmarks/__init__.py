"""Measurements against peers; each module prints one table."""
