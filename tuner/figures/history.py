"""Values over trials: one point per complete trial, the best so far as a line.

Pruned and running trials show their last report. A strip on the worse side holds the marks of
trials without a finite value and of trials far worse than the rest, which would flatten them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Direction, Study, Trial, TrialState

By = Literal["number", "finish"]

HOVER_PARAMS_UP_TO = 1_000  # points; with more, hover texts would outweigh the page
STRIP = 0.07  # of the height
STATES = (  # the last one on top
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.RUNNING,
    TrialState.COMPLETE,
)
LEGEND_RANK = {state: 10 + i for i, state in enumerate(theme.SYMBOLS)}
STRIP_POINTS = 500  # per state


@dataclass(frozen=True, slots=True)
class Point:
    """One trial's place; `value` is None if it has no finite one."""

    x: int | datetime
    value: float | None
    trial: Trial


@dataclass(frozen=True, slots=True)
class Info:
    """What the history shows."""

    metric: str
    direction: Direction
    by: By
    points: dict[TrialState, list[Point]]  # within the view, in order of x
    strip: dict[TrialState, list[Point]]  # ended without a finite value, or far worse
    records: list[tuple[Point, float]]  # each trial that set a new best, with its value
    line: list[tuple[int | datetime, float]]  # best so far: at each record, and at the last x
    view: tuple[float, float] | None  # range of values; None: all

    @property
    def all_points(self) -> list[Point]:
        """All points, in no order."""
        return [p for part in (self.points, self.strip) for points in part.values() for p in points]

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.all_points else "No trial has reported a value yet."


def info(
    trials: Sequence[Trial],
    study: Study,
    by: By = "number",
) -> Info:
    """Sort the trials into points; `by="finish"` leaves out trials that have not ended."""
    with_value: list[Point] = []
    without: list[Point] = []
    for trial in trials:
        x = trial.number if by == "number" else _utc(trial.finished_at)
        value = _value(trial)
        if x is not None and value is not None and trial.state in STATES:
            with_value.append(Point(x, value, trial))
        elif x is not None and not trial.state.is_open:
            without.append(Point(x, None, trial))
    with_value.sort(key=lambda p: (p.x, p.trial.number))
    complete = [p for p in with_value if p.trial.state is TrialState.COMPLETE]
    reached = [p.value for p in complete if p.value is not None]
    winning = [(p, p.value) for p in complete if p.trial.is_feasible and p.value is not None]
    records = [winning[i] for i in values.records([v for _, v in winning], study.direction)]
    others = [
        p.value
        for p in with_value
        if p.value is not None and p.trial.state is not TrialState.COMPLETE
    ]
    view = _range(reached, others, study.direction)
    points: dict[TrialState, list[Point]] = {state: [] for state in STATES}
    strip: dict[TrialState, list[Point]] = {}
    for point in sorted([*with_value, *without], key=lambda p: (p.x, p.trial.number)):
        if point.value is None or (view and not view[0] <= point.value <= view[1]):
            strip.setdefault(point.trial.state, []).append(point)
        else:
            points[point.trial.state].append(point)
    line: list[tuple[int | datetime, float]] = [(p.x, v) for p, v in records]
    last = max((p.x for p in (*with_value, *without)), default=None)
    if line and last is not None and last != line[-1][0]:
        line.append((last, line[-1][1]))
    return Info(study.metric, study.direction, by, points, strip, records, line, view)


def _range(
    reached: Sequence[float], others: Sequence[float], direction: Direction
) -> tuple[float, float] | None:
    """Return the complete trials' range; the others may double it on the worse side at most.

    A trial that was pruned after one epoch says nothing about where the good values lie.
    """
    if len(reached) < values.ENOUGH:
        return None
    low, high = values.value_range(reached, direction) or values.padded(reached)
    height = high - low
    if height <= 0 or not math.isfinite(height):
        return None
    low_limit, high_limit = (
        (low - height, math.inf) if direction == "maximize" else (-math.inf, high + height)
    )
    near = [v for v in others if low_limit <= v <= high_limit]
    lowest, highest = values.padded([low, high, *near], 0.0)
    room = 0.02 * (highest - lowest)
    view = lowest - room, highest + room
    return view if values.outside([*reached, *others], view) else None


def _value(trial: Trial) -> float | None:
    """Return the finite value to show: the result, or else the last report."""
    value = trial.value
    if value is None and trial.state is not TrialState.FAILED and trial.reports:
        value = trial.reports[-1].value
    return None if trial.state is TrialState.FAILED else values.finite(value)


def _utc(moment: datetime | None) -> datetime | None:
    """Drop the zone: Plotly draws times as they are."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    total = sum(map(len, info.points.values()))
    few = total <= HOVER_PARAMS_UP_TO
    traces = [
        _scatter(info, state, marks, with_params=few, infeasible=infeasible)
        for state in STATES
        for infeasible, marks in _by_feasibility(_thinned(info, state, total))
        if marks
    ]
    if info.line:
        traces += _best(info)
    in_legend = {state for state in STATES if info.points[state]}
    for state, points in sorted(info.strip.items(), key=lambda pair: LEGEND_RANK[pair[0]]):
        traces.append(_strip(state, points, in_legend=state not in in_legend))
    below = info.direction == "maximize"  # the worse side
    domain = ([STRIP + 0.03, 1.0] if below else [0.0, 0.97 - STRIP]) if info.strip else [0.0, 1.0]
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "trial" if info.by == "number" else "finished (UTC)"},
            "anchor": "y2" if info.strip and below else "y",
            "range": _x_range(info),
        },
        "yaxis": {
            "title": {"text": text.escape(info.metric, 40)},
            "domain": domain,
            "range": info.view,
        },
    }
    if info.strip:
        layout["yaxis2"] = {
            "domain": [0.0, STRIP] if below else [1.0 - STRIP, 1.0],
            "range": [-1, 1],
            "fixedrange": True,
            "showgrid": False,
            "showticklabels": False,
        }
        layout["shapes"] = [_band(*layout["yaxis2"]["domain"])]
    return theme.figure(traces, layout)


def _band(low: float, high: float) -> dict[str, Any]:
    """Return the background that sets the strip apart from the scale."""
    return {
        "type": "rect",
        "xref": "paper",
        "yref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": low,
        "y1": high,
        "layer": "below",
        "line": {"width": 0},
        "fillcolor": theme.LIGHT.page,
    }


def _thinned(info: Info, state: TrialState, total: int) -> list[Point]:
    points = info.points[state]
    limit = max(thin.MAX_POINTS * len(points) // max(total, thin.MAX_POINTS), 2)
    records = {p.trial.number for p, _ in info.records}
    return thin.evenly(
        points, limit, keep=[i for i, p in enumerate(points) if p.trial.number in records]
    )


def _by_feasibility(
    points: Sequence[Point],
) -> tuple[tuple[bool, list[Point]], tuple[bool, list[Point]]]:
    """Split off complete trials that violate a constraint: they lie below the others."""
    parts: tuple[list[Point], list[Point]] = [], []
    for point in points:
        parts[point.trial.violates_constraint and point.trial.state is TrialState.COMPLETE].append(
            point
        )
    return (True, parts[True]), (False, parts[False])


def _scatter(
    info: Info,
    state: TrialState,
    points: Sequence[Point],
    *,
    with_params: bool,
    infeasible: bool,
) -> dict[str, Any]:
    metric = text.escape(info.metric, 40)
    last = "" if state is TrialState.COMPLETE else " (last report)"
    name = theme.INFEASIBLE if infeasible else state.value
    hover = f"<b>trial %{{customdata[0]}}</b> {name}<br>{metric}: <b>%{{customdata[1]}}</b>{last}"
    if with_params:
        about: dict[str, Any] = {
            "customdata": [
                [p.trial.number, text.number(p.value), text.params(p.trial.params)] for p in points
            ],
            "hovertemplate": hover + "<br>%{customdata[2]}<extra></extra>",
        }
    else:  # only numbers: these are packed
        about = {
            "customdata": [p.trial.number for p in points],
            "hovertemplate": f"<b>trial %{{customdata}}</b> {name}<br>{metric}: "
            f"<b>%{{y:.4~g}}</b>{last}<extra></extra>",
        }
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "legendrank": LEGEND_RANK[state],
        "x": [p.x for p in points],
        "y": [p.value for p in points],
        **about,
        "marker": theme.infeasible(len(points)) if infeasible else _marker(state, len(points)),
    }


def _marker(state: TrialState, how_many: int) -> dict[str, Any]:
    """Return marks that are smaller and fainter if there are many."""
    few = how_many <= 300
    filled = state is TrialState.COMPLETE
    return {
        "color": theme.LIGHT.of(state),
        "symbol": theme.SYMBOLS[state],
        "size": (9 if filled else 8) if few else (6 if filled else 5),
        "opacity": 0.9 if few else 0.5,
        "line": {
            "width": 1 if filled else 1.6,
            "color": theme.LIGHT.surface if filled else theme.LIGHT.of(state),
        },
    }


def _best(info: Info) -> list[dict[str, Any]]:
    """Return the line of the best so far, and a star on the best trial."""
    point, value = info.records[-1]
    colour = theme.LIGHT.best
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "legendrank": 1,
        "x": [x for x, _ in info.line],
        "y": [v for _, v in info.line],
        "line": {"color": colour, "width": 2.5, "shape": "hv"},
        "hoverinfo": "skip",
    }
    star = {
        "type": "scatter",
        "mode": "markers",
        "name": f"best: trial {point.trial.number}",
        "legendrank": 2,
        "x": [point.x],
        "y": [value],
        "customdata": [[text.number(value), text.params(point.trial.params)]],
        "hovertemplate": f"<b>trial {point.trial.number}</b> best<br>"
        f"{text.escape(info.metric, 40)}: <b>%{{customdata[0]}}</b><br>%{{customdata[1]}}"
        "<extra></extra>",
        "marker": {
            "color": colour,
            "symbol": theme.BEST_SYMBOL,
            "size": 16,
            "line": {"width": 1.5, "color": theme.LIGHT.surface},
        },
    }
    return [line, star]


def _strip(state: TrialState, points: Sequence[Point], *, in_legend: bool) -> dict[str, Any]:
    limited = thin.evenly(points, STRIP_POINTS)
    spread = 0.0 if len(limited) <= 60 else 1.4  # many marks use the strip's height
    return {
        "type": "scatter",
        "mode": "markers",
        "name": state.value,
        "legendgroup": state.value,
        "legendrank": LEGEND_RANK[state],
        "showlegend": in_legend,
        "x": [p.x for p in limited],
        "y": [spread * ((p.trial.number * values.GOLDEN) % 1.0 - 0.5) for p in limited],
        "yaxis": "y2",
        "customdata": [
            [p.trial.number, _reason(p), text.escape(p.trial.message or "", 100)] for p in limited
        ],
        "hovertemplate": f"<b>trial %{{customdata[0]}}</b> {state}<br>%{{customdata[1]}}"
        "<br>%{customdata[2]}<extra></extra>",
        "marker": _marker(state, len(limited)),
    }


def _reason(point: Point) -> str:
    """Say why a trial is in the strip."""
    if point.value is not None:
        return f"{text.number(point.value)}, outside the range"
    if point.trial.cause is not None:
        return point.trial.cause.value.replace("_", " ")
    return "no finite value"


def _x_range(info: Info) -> list[float] | None:
    """Leave room for whole marks on both sides; Plotly does so itself for times."""
    if info.by != "number":
        return None
    numbers = [p.trial.number for p in info.all_points]
    room = max((max(numbers) - min(numbers)) * 0.015, 0.6)
    return [min(numbers) - room, max(numbers) + room]


def table(info: Info) -> text.Table:
    """Return the trials that set a new best."""
    rows = []
    before: float | None = None
    for point, value in info.records:
        gain = (
            ""
            if before is None
            else f"{'+' if value > before else '−'}" + text.number(abs(value - before))
        )
        rows.append((str(point.trial.number), text.number(value), gain))
        before = value
    return text.Table(
        columns=("trial", text.clean(info.metric), "change"),
        rows=tuple(rows),
        note="Each trial that was better than all before it.",
    )
