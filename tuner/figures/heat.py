"""Two parameters: the median of the trials in each cell, and their number."""

from statistics import median

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import axes, pairs, text, theme, values
from tuner.figures.pairs import Info, info

__all__ = ["Info", "draw", "info", "table", "values_by_cell"]

BINS = 8  # of a numeric axis


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing or info.axes is None:
        return theme.empty(info.nothing or "")
    edges = [_edges(axis) for axis in info.axes]
    cells = values_by_cell(info)
    shape = (len(edges[1]) - 1, len(edges[0]) - 1)
    z = np.full(shape, np.nan)
    counts = np.full(shape, "", dtype=object)
    for (row, column), values_in_cell in cells.items():
        z[row, column] = median(values_in_cell)
        counts[row, column] = str(len(values_in_cell))
    middles = [(e[:-1] + e[1:]) / 2 for e in edges]
    metric = text.escape(info.metric, 40)
    finite = z[np.isfinite(z)]
    view = values.value_range(finite.tolist(), info.direction)
    trace = {
        "type": "heatmap",
        "x": middles[0].tolist(),
        "y": middles[1].tolist(),
        "z": z.tolist(),
        "zmin": None if view is None else view[0],
        "zmax": None if view is None else view[1],
        "text": counts.tolist(),
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "colorscale": theme.scale(),
        "reversescale": info.direction == "minimize",
        "colorbar": pairs.colour_bar(metric),
        "hovertemplate": f"median {metric}: <b>%{{z:.4~g}}</b><br>%{{text}} trials<extra></extra>",
    }
    return theme.figure([trace], pairs.layout(info.axes))


def values_by_cell(info: Info) -> dict[tuple[int, int], list[float]]:
    """Group the values by cell (row of y, column of x)."""
    assert info.axes is not None
    edges = [_edges(axis) for axis in info.axes]
    indices = [
        np.clip(np.searchsorted(e, positions, "right") - 1, 0, len(e) - 2)
        for e, positions in zip(edges, (info.x, info.y), strict=True)
    ]
    cells: dict[tuple[int, int], list[float]] = {}
    for column, row, value in zip(
        indices[0].tolist(), indices[1].tolist(), info.reached, strict=True
    ):
        cells.setdefault((row, column), []).append(value)
    return cells


def _edges(axis: axes.Axis) -> NDArray[np.float64]:
    if axis.kind == "categories":
        return np.array([i - 0.5 for i in range(len(axis.categories) + 1)])
    return np.array([axis.low + (axis.high - axis.low) * i / BINS for i in range(BINS + 1)])


def table(info: Info, top: int = 10) -> text.Table:
    """Return the best cells."""
    if info.axes is None:
        return text.Table((), ())
    sign = -1 if info.direction == "maximize" else 1
    cells = sorted(values_by_cell(info).items(), key=lambda pair: sign * median(pair[1]))[:top]
    return text.Table(
        columns=(
            *(text.clean(axis.name) for axis in info.axes),
            "trials",
            f"median {text.clean(info.metric)}",
        ),
        rows=tuple(
            (
                _cell(info.axes[0], column),
                _cell(info.axes[1], row),
                str(len(values_in_cell)),
                text.number(median(values_in_cell)),
            )
            for (row, column), values_in_cell in cells
        ),
        note="The best cells by their median.",
    )


def _cell(axis: axes.Axis, index: int) -> str:
    if axis.kind == "categories":
        return text.value(axis.categories[index])
    edges = _edges(axis)[index : index + 2]
    ends = [text.number(float(10**e if axis.kind == "log" else e), 3) for e in edges]
    return f"{ends[0]} … {ends[1]}"
