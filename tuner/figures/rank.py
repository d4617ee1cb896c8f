"""Two parameters: one point per trial, coloured by rank, so that outliers hide nothing."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import pairs, theme
from tuner.figures.heat import table
from tuner.figures.pairs import Info, info

__all__ = ["Info", "draw", "info", "ranks", "table"]


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing or info.axes is None:
        return theme.empty(info.nothing or "")
    few = len(info.trials) <= 300
    order = np.argsort(ranks(info), kind="stable")  # the best on top
    trace = {
        **pairs.points(info, order.tolist()),
        "marker": {
            "color": ranks(info)[order].tolist(),
            "colorscale": theme.scale(),
            "cmin": 0,
            "cmax": 1,
            "size": 9 if few else 6,
            "opacity": 0.9 if few else 0.75,
            "line": {"width": 0.5, "color": theme.LIGHT.surface},
            "colorbar": pairs.colour_bar(
                "rank", tickvals=[0, 0.5, 1], ticktext=["worst", "median", "best"]
            ),
        },
    }
    return theme.figure([trace], pairs.layout(info.axes))


def ranks(info: Info) -> NDArray[np.float64]:
    """Rank from 0 (worst) to 1 (best); equal values share the mean of their ranks."""
    sign = 1.0 if info.direction == "maximize" else -1.0
    signed = sign * np.array(info.reached)
    ordered = np.sort(signed)
    low = np.searchsorted(ordered, signed, "left")
    high = np.searchsorted(ordered, signed, "right") - 1
    ranked: NDArray[np.float64] = (low + high) / 2 / max(len(signed) - 1, 1)
    return ranked
