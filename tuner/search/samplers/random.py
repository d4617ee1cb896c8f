"""Independent draws."""

from tuner.search.samplers import Draw


def make(_: Draw) -> None:
    """Leave the draw to the search space."""
