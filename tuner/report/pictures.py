"""Figures as PDF, PNG or SVG files, drawn by a headless browser."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

from tuner.errors import BadInputError
from tuner.files import whole_folder

Format = Literal["pdf", "png", "svg"]

SCALE = 2  # of PNG, for dense screens and print


def write(figures: Mapping[str, go.Figure], folder: Path, image_format: Format) -> list[str]:
    """Write one file per figure to a new folder, which appears whole; return their names.

    Raises BadInputError if the folder exists, or if kaleido or a browser is missing.
    """
    if find_spec("kaleido") is None:
        raise BadInputError(
            "writing figures as pictures needs the package kaleido, which is not installed; "
            "install it with: pip install 'tuner[pictures]'"
        )
    import plotly.io
    from kaleido.errors import ChromeNotFoundError

    names = [f"{name}.{image_format}" for name in figures]
    with whole_folder(folder, replace=False) as aside:
        arguments: dict[str, Any] = {
            "fig": list(figures.values()),
            "file": [aside / name for name in names],
            # plotly's own default would override the layout's
            "width": [figure.layout.width for figure in figures.values()],
            "height": [figure.layout.height for figure in figures.values()],
            "scale": SCALE if image_format == "png" else 1,
        }
        try:
            plotly.io.write_images(**arguments)
        except (ChromeNotFoundError, RuntimeError) as error:
            if "Chrome" not in str(error):
                raise
            raise BadInputError(
                "writing figures as pictures needs Chrome or Chromium, which was not found: "
                "install one (apt-get install chromium), or set BROWSER_PATH to its path"
            ) from None
    return names
