"""Two parameters: every trial a point, coloured by its rank, so that outliers hide nothing."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import pairs, theme
from tuner.figures.heat import table
from tuner.figures.pairs import Info, info

__all__ = ["Info", "draw", "info", "ranks", "table"]


def draw(found: Info) -> go.Figure:
    """Every trial a point, coloured by rank."""
    if found.nothing or found.axes is None:
        return theme.empty(found.nothing or "")
    few = len(found.trials) <= 300
    order = np.argsort(ranks(found), kind="stable")  # the best on top
    trace = {
        **pairs.points(found, order.tolist()),
        "marker": {
            "color": ranks(found)[order].tolist(),
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
    return theme.figure([trace], pairs.layout(found.axes))


def ranks(found: Info) -> NDArray[np.float64]:
    """From 0, the worst, to 1, the best; equal values share the mean of theirs."""
    sign = 1.0 if found.direction == "maximize" else -1.0
    signed = sign * np.array(found.reached)
    ordered = np.sort(signed)
    low = np.searchsorted(ordered, signed, "left")
    high = np.searchsorted(ordered, signed, "right") - 1
    ranked: NDArray[np.float64] = (low + high) / 2 / max(len(signed) - 1, 1)
    return ranked
