"""Two parameters: values smoothed over the plane, blank where no trial was nearby."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import pairs, text, theme, thin, values
from tuner.figures.heat import table
from tuner.figures.pairs import Info, info

__all__ = ["MAX_POINTS", "Info", "draw", "info", "surface", "table"]

GRID = 48  # points along an axis
SMOOTH = 0.06  # standard deviation of the kernel, as a share of the axis
NEAR = 0.6  # of one trial's weight: below it, the contour is blank
MAX_POINTS = 1_500


def draw(info: Info) -> go.Figure:
    """Return the drawing, with the trials on top."""
    if info.nothing or info.axes is None:
        return theme.empty(info.nothing or "")
    indices = thin.indices(len(info.trials), MAX_POINTS)
    view = values.value_range(info.reached, info.direction)
    low, high = view or (min(info.reached), max(info.reached))
    gx, gy, z = surface(info)
    levels = (high - low) / 12
    contour = {
        "type": "contour",
        "x": gx.tolist(),
        "y": gy.tolist(),
        "z": z.tolist(),
        "zmin": low,
        "zmax": high,
        "colorscale": theme.scale(),
        "reversescale": info.direction == "minimize",
        "contours": {"start": low, "end": high, "size": levels} if levels > 0 else {},
        "autocontour": levels <= 0,
        "line": {"width": 0.5, "color": theme.LIGHT.surface},
        "connectgaps": False,
        "hoverinfo": "skip",
        "colorbar": pairs.colour_bar(text.escape(info.metric, 24)),
    }
    points = {
        **pairs.points(info, indices),
        "marker": {
            "color": theme.LIGHT.ink,
            "size": 5 if len(indices) <= 300 else 3,
            "opacity": 0.5 if len(indices) <= 300 else 0.25,
        },
    }
    return theme.figure([contour, points], pairs.layout(info.axes))


def surface(
    info: Info,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return grid positions of x and y, and values (y, x): Nadaraya-Watson, Gaussian kernel.

    A value is NaN where all trials are so far away that it would be a guess.
    """
    assert info.axes is not None
    indices = thin.indices(len(info.trials), MAX_POINTS)
    gx, gy = (np.linspace(axis.low, axis.high, GRID) for axis in info.axes)
    kernels = []
    for grid, axis, positions in ((gx, info.axes[0], info.x), (gy, info.axes[1], info.y)):
        distances = (grid[:, None] - np.array(positions)[indices][None, :]) / (axis.high - axis.low)
        kernels.append(np.exp(-0.5 * (distances / SMOOTH) ** 2))
    reached = np.array(info.reached)[indices]
    # the kernel is separable, so a matrix product sums over the trials
    density = kernels[1] @ kernels[0].T
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (kernels[1] * reached) @ kernels[0].T / density
    z[density < NEAR] = np.nan
    return gx, gy, z
