"""Two parameters against each other, three ways: rank, contour and heat map.

rank      every trial a point, coloured by its rank among all: outliers do not wash it out
contour   values smoothed over the plane, blank where nothing was tried nearby
heat      the median of what was tried in each cell, with how many trials that were
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import axes, text, theme, thin, values
from tuner.trials import Direction, Study, Trial

GRID = 48  # points along an axis of the contour
SMOOTH = 0.06  # standard deviation of the contour's kernel, of an axis
NEAR = 0.6  # of one trial's weight: less, and the contour is blank
BINS = 8  # of a numeric axis of the heat map
CONTOUR_POINTS = 1_500
HOVER_PARAMS_UP_TO = 1_000  # points; with more, hover texts would outweigh the page
SPREAD = 0.4  # of a category's width, that points take


@dataclass(frozen=True, slots=True)
class Info:
    """Complete trials that have both parameters."""

    metric: str
    direction: Direction
    axes: tuple[axes.Axis, axes.Axis] | None  # of x and y
    trials: list[Trial]
    x: list[float]  # positions on the axes
    y: list[float]
    reached: list[float]
    total: int  # of which the trials may be a part

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        if self.axes is None:
            return "A plane needs two parameters that complete trials have."
        return None if len(self.trials) > 1 else "Two complete trials are needed."


def choose(
    trials: Sequence[Trial],
    study: Study,
    log_params: Collection[str],
    importances: Mapping[str, float] | None,
    wanted: tuple[str | None, str | None],
) -> tuple[axes.Axis, axes.Axis] | None:
    """The axes of the wanted parameters; of the most important ones where none are wanted."""
    every = {axis.name: axis for axis in axes.axes(trials, study, log_params, importances)}
    # what takes one value only says nothing on an axis
    names = [n for n, axis in every.items() if len(axis.categories) != 1] or list(every)
    first = wanted[0] if wanted[0] in every else next((n for n in names if n != wanted[1]), None)
    second = wanted[1] if wanted[1] in every else next((n for n in names if n != first), None)
    if first is None or second is None or first == second:
        return None
    return every[first], every[second]


def info(
    trials: Sequence[Trial],
    study: Study,
    *,
    log_params: Collection[str] = frozenset(),
    importances: Mapping[str, float] | None = None,
    x: str | None = None,
    y: str | None = None,
    limit: int = thin.MAX_POINTS,
) -> Info:
    """Place the trials in the plane of two parameters."""
    found = values.complete(trials)
    both = choose([t for t, _ in found], study, log_params, importances, (x, y))
    if both is None:
        return Info(study.metric, study.direction, None, [], [], [], [], 0)
    placed = []
    for trial, value in found:
        given = [trial.params.get(axis.name) for axis in both]
        if all(axis.name in trial.params for axis in both):
            at = [axis.position(v) for axis, v in zip(both, given, strict=True)]
            if at[0] is not None and at[1] is not None:
                placed.append((trial, at[0], at[1], value))
    reached = [value for *_, value in placed]
    kept = thin.evenly(placed, limit, values.records(reached, study.direction))
    return Info(
        study.metric,
        study.direction,
        both,
        [p[0] for p in kept],
        [p[1] for p in kept],
        [p[2] for p in kept],
        [p[3] for p in kept],
        len(placed),
    )


def ranks(found: Info) -> NDArray[np.float64]:
    """From 0, the worst, to 1, the best; equal values share the mean of theirs."""
    sign = 1.0 if found.direction == "maximize" else -1.0
    signed = sign * np.array(found.reached)
    ordered = np.sort(signed)
    low = np.searchsorted(ordered, signed, "left")
    high = np.searchsorted(ordered, signed, "right") - 1
    ranked: NDArray[np.float64] = (low + high) / 2 / max(len(signed) - 1, 1)
    return ranked


def draw_rank(found: Info) -> go.Figure:
    """Every trial a point, coloured by rank."""
    if found.nothing or found.axes is None:
        return theme.empty(found.nothing or "")
    few = len(found.trials) <= 300
    order = np.argsort(ranks(found), kind="stable")  # the best on top
    trace = {
        **_points(found, order.tolist()),
        "marker": {
            "color": ranks(found)[order].tolist(),
            "colorscale": theme.scale(),
            "cmin": 0,
            "cmax": 1,
            "size": 9 if few else 6,
            "opacity": 0.9 if few else 0.75,
            "line": {"width": 0.5, "color": theme.LIGHT.surface},
            "colorbar": _bar("rank", tickvals=[0, 0.5, 1], ticktext=["worst", "median", "best"]),
        },
    }
    return theme.figure([trace], _layout(found.axes))


def draw_contour(found: Info) -> go.Figure:
    """Smoothed values with the trials on top."""
    if found.nothing or found.axes is None:
        return theme.empty(found.nothing or "")
    few = thin.indices(len(found.trials), CONTOUR_POINTS)
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
        "colorbar": _bar(text.escape(found.metric, 24)),
    }
    points = {
        **_points(found, few),
        "marker": {
            "color": theme.LIGHT.ink,
            "size": 5 if len(few) <= 300 else 3,
            "opacity": 0.5 if len(few) <= 300 else 0.25,
        },
    }
    return theme.figure([contour, points], _layout(found.axes))


def surface(
    found: Info,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Grid positions of x and y and the value between (y, x): Nadaraya-Watson with a Gauss kernel.

    NaN where all trials are so far away that it would be a guess.
    """
    assert found.axes is not None
    kept = thin.indices(len(found.trials), CONTOUR_POINTS)
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


def draw_heat(found: Info) -> go.Figure:
    """Medians of cells."""
    if found.nothing or found.axes is None:
        return theme.empty(found.nothing or "")
    edges = [_edges(axis) for axis in found.axes]
    cells = heat(found)
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
        "colorbar": _bar(metric),
        "hovertemplate": f"median {metric}: <b>%{{z:.4~g}}</b><br>%{{text}} trials<extra></extra>",
    }
    return theme.figure([trace], _layout(found.axes))


def heat(found: Info) -> dict[tuple[int, int], list[float]]:
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


def _points(found: Info, kept: Sequence[int]) -> dict[str, Any]:
    assert found.axes is not None
    names = [text.escape(axis.name, 32) for axis in found.axes]
    if len(kept) > HOVER_PARAMS_UP_TO:  # numbers alone, which are packed where it counts
        return _at(found, kept) | {
            "customdata": [found.trials[i].number for i in kept],
            "hovertemplate": "<b>trial %{customdata}</b><extra></extra>",
        }
    about = [
        [
            found.trials[i].number,
            *(
                text.escape(text.value(found.trials[i].params[axis.name]), 40)
                for axis in found.axes
            ),
            text.number(found.reached[i]),
        ]
        for i in kept
    ]
    return _at(found, kept) | {
        "customdata": about,
        "hovertemplate": f"<b>trial %{{customdata[0]}}</b><br>{names[0]}: %{{customdata[1]}}<br>"
        f"{names[1]}: %{{customdata[2]}}<br>{text.escape(found.metric, 40)}: "
        "<b>%{customdata[3]}</b><extra></extra>",
    }


def _at(found: Info, kept: Sequence[int]) -> dict[str, Any]:
    assert found.axes is not None
    return {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [_spread(found.axes[0], found.x[i], found.trials[i], 1) for i in kept],
        "y": [_spread(found.axes[1], found.y[i], found.trials[i], 7) for i in kept],
    }


def _spread(axis: axes.Axis, position: float, trial: Trial, stride: int) -> float:
    """Points of a category side by side; the strides differ, or they would lie on a line."""
    if axis.kind != "categories":
        return position
    return position + SPREAD * ((trial.number * stride * values.GOLDEN) % 1.0 - 0.5)


def _layout(both: tuple[axes.Axis, axes.Axis]) -> dict[str, Any]:
    layout: dict[str, Any] = {"height": 440, "margin": {"l": 72, "r": 16, "t": 24, "b": 56}}
    for key, axis in zip(("xaxis", "yaxis"), both, strict=True):
        ticks, names = axis.ticks()
        pad = 0.0 if axis.kind == "categories" else values.PAD * (axis.high - axis.low)
        layout[key] = {
            "title": {
                "text": text.escape(axis.name, 32) + (" (log)" if axis.kind == "log" else "")
            },
            "range": [axis.low - pad, axis.high + pad],
            "tickvals": ticks,
            "ticktext": [text.escape(name, 14) for name in names],
            "showgrid": axis.kind != "categories",
        }
    return layout


def _bar(title: str, **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"color": theme.LIGHT.muted, "size": 12}},
        "thickness": 10,
        "outlinewidth": 0,
        "tickfont": {"color": theme.LIGHT.muted, "size": 11},
        **more,
    }


def table(found: Info, top: int = 10) -> text.Table:
    """The best cells of the heat map."""
    if found.axes is None:
        return text.Table((), ())
    sign = -1 if found.direction == "maximize" else 1
    cells = sorted(heat(found).items(), key=lambda pair: sign * median(pair[1]))[:top]
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
