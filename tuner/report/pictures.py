"""Figures as PDF, PNG or SVG files, drawn by a browser that nobody sees."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

from tuner.errors import BadInputError
from tuner.files import whole_folder

Form = Literal["pdf", "png", "svg"]

SCALE = 2  # of PNG, for dense screens and print


def write(figures: Mapping[str, go.Figure], folder: Path, form: Form) -> list[str]:
    """Write a file a figure into a new folder, which appears whole; the names of the files.

    BadInputError if the folder is there, or where kaleido or a browser is missing.
    """
    if find_spec("kaleido") is None:
        raise BadInputError(
            "figures become pictures by the package kaleido, which is not installed; install it "
            "with: pip install 'tuner[pictures]'"
        )
    import plotly.io
    from kaleido.errors import ChromeNotFoundError

    names = [f"{name}.{form}" for name in figures]
    with whole_folder(folder, replace=False) as aside:
        arguments: dict[str, Any] = {
            "fig": list(figures.values()),
            "file": [aside / name for name in names],
            # plotly has a default of its own that goes before the layout's
            "width": [figure.layout.width for figure in figures.values()],
            "height": [figure.layout.height for figure in figures.values()],
            "scale": SCALE if form == "png" else 1,
        }
        try:
            plotly.io.write_images(**arguments)
        except (ChromeNotFoundError, RuntimeError) as error:
            if "Chrome" not in str(error):
                raise
            raise BadInputError(
                "figures become pictures by Chrome or Chromium, which was not found: install one "
                "(apt-get install chromium), or name it in BROWSER_PATH"
            ) from None
    return names
