"""Two parameters: values smoothed over the plane, blank where no trial was nearby."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import pairs, text, theme, thin, values
from tuner.figures.heat import table
from tuner.figures.pairs import Info, info

__all__ = ["MAX_POINTS", "Info", "draw", "info", "surface", "table"]

GRID = 48  # points along an axis
SMOOTH = 0.06  # standard deviation of the kernel, of an axis
NEAR = 0.6  # of one trial's weight: below it, the contour is blank
MAX_POINTS = 1_500


def draw(found: Info) -> go.Figure:
    """Smoothed values with the trials on top."""
    if found.nothing or found.axes is None:
        return theme.empty(found.nothing or "")
    few = thin.indices(len(found.trials), MAX_POINTS)
    shown = values.value_range(found.reached, found.direction)
    low, high = shown or (min(found.reached), max(found.reached))
    gx, gy, z = surface(found)
    levels = (high - low) / 12
    contour = {
        "type": "contour",
        "x": gx.tolist(),
        "y": gy.tolist(),
        "z": z.tolist(),
        "zmin": low,
        "zmax": high,
        "colorscale": theme.scale(),
        "reversescale": found.direction == "minimize",
        "contours": {"start": low, "end": high, "size": levels} if levels > 0 else {},
        "autocontour": levels <= 0,
        "line": {"width": 0.5, "color": theme.LIGHT.surface},
        "connectgaps": False,
        "hoverinfo": "skip",
        "colorbar": pairs.colour_bar(text.escape(found.metric, 24)),
    }
    points = {
        **pairs.points(found, few),
        "marker": {
            "color": theme.LIGHT.ink,
            "size": 5 if len(few) <= 300 else 3,
            "opacity": 0.5 if len(few) <= 300 else 0.25,
        },
    }
    return theme.figure([contour, points], pairs.layout(found.axes))


def surface(
    found: Info,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Grid positions of x and y and the value between (y, x): Nadaraya-Watson with a Gauss kernel.

    NaN where all trials are so far away that it would be a guess.
    """
    assert found.axes is not None
    kept = thin.indices(len(found.trials), MAX_POINTS)
    gx, gy = (np.linspace(axis.low, axis.high, GRID) for axis in found.axes)
    weights = []
    for grid, axis, at in ((gx, found.axes[0], found.x), (gy, found.axes[1], found.y)):
        apart = (grid[:, None] - np.array(at)[kept][None, :]) / (axis.high - axis.low)
        weights.append(np.exp(-0.5 * (apart / SMOOTH) ** 2))
    reached = np.array(found.reached)[kept]
    # a product of two kernels: a matrix product sums over the trials
    weight = weights[1] @ weights[0].T
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (weights[1] * reached) @ weights[0].T / weight
    z[weight < NEAR] = np.nan
    return gx, gy, z
