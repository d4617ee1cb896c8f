"""Readers of every kind of source: one module each, all give labelled examples."""
