"""The study that tuner and its peers run, see `__main__.py`."""
