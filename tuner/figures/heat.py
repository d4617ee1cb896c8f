"""Two parameters: the median of the trials in each cell, and how many there are."""

from statistics import median

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import axes, pairs, text, theme, values
from tuner.figures.pairs import Info, info

__all__ = ["Info", "draw", "info", "table", "values_by_cell"]

BINS = 8  # of a numeric axis


def draw(found: Info) -> go.Figure:
    """Medians of cells."""
    if found.nothing or found.axes is None:
        return theme.empty(found.nothing or "")
    edges = [_edges(axis) for axis in found.axes]
    cells = values_by_cell(found)
    shape = (len(edges[1]) - 1, len(edges[0]) - 1)
    z = np.full(shape, np.nan)
    counts = np.full(shape, "", dtype=object)
    for (row, column), inside in cells.items():
        z[row, column] = median(inside)
        counts[row, column] = str(len(inside))
    middles = [(e[:-1] + e[1:]) / 2 for e in edges]
    metric = text.escape(found.metric, 40)
    finite = z[np.isfinite(z)]
    shown = values.value_range(finite.tolist(), found.direction)
    trace = {
        "type": "heatmap",
        "x": middles[0].tolist(),
        "y": middles[1].tolist(),
        "z": z.tolist(),
        "zmin": None if shown is None else shown[0],
        "zmax": None if shown is None else shown[1],
        "text": counts.tolist(),
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "colorscale": theme.scale(),
        "reversescale": found.direction == "minimize",
        "colorbar": pairs.colour_bar(metric),
        "hovertemplate": f"median {metric}: <b>%{{z:.4~g}}</b><br>%{{text}} trials<extra></extra>",
    }
    return theme.figure([trace], pairs.layout(found.axes))


def values_by_cell(found: Info) -> dict[tuple[int, int], list[float]]:
    """The values in each cell (row of y, column of x)."""
    assert found.axes is not None
    edges = [_edges(axis) for axis in found.axes]
    at = [
        np.clip(np.searchsorted(e, given, "right") - 1, 0, len(e) - 2)
        for e, given in zip(edges, (found.x, found.y), strict=True)
    ]
    cells: dict[tuple[int, int], list[float]] = {}
    for column, row, value in zip(at[0].tolist(), at[1].tolist(), found.reached, strict=True):
        cells.setdefault((row, column), []).append(value)
    return cells


def _edges(axis: axes.Axis) -> NDArray[np.float64]:
    if axis.kind == "categories":
        return np.array([i - 0.5 for i in range(len(axis.categories) + 1)])
    return np.array([axis.low + (axis.high - axis.low) * i / BINS for i in range(BINS + 1)])


def table(found: Info, top: int = 10) -> text.Table:
    """The best cells of the heat map."""
    if found.axes is None:
        return text.Table((), ())
    sign = -1 if found.direction == "maximize" else 1
    cells = sorted(values_by_cell(found).items(), key=lambda pair: sign * median(pair[1]))[:top]
    return text.Table(
        columns=(
            *(text.clean(axis.name) for axis in found.axes),
            "trials",
            f"median {text.clean(found.metric)}",
        ),
        rows=tuple(
            (
                _cell(found.axes[0], column),
                _cell(found.axes[1], row),
                str(len(inside)),
                text.number(median(inside)),
            )
            for (row, column), inside in cells
        ),
        note="The best cells by their median.",
    )


def _cell(axis: axes.Axis, index: int) -> str:
    if axis.kind == "categories":
        return text.value(axis.categories[index])
    edges = _edges(axis)[index : index + 2]
    ends = [text.number(float(10**e if axis.kind == "log" else e), 3) for e in edges]
    return f"{ends[0]} … {ends[1]}"
