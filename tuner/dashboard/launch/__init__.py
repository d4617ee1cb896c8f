"""Launching from the dashboard: the form, the check of a study file, uploaded data."""
