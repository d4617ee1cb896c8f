"""Learning curves: the metric by epoch, one trace per state.

The curves of a state are one line with gaps: a trace per trial would take seconds to draw and have
an unreadable legend. Pruned curves are faint and end in a mark; the best one stands out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Direction, Study, Trial, TrialState, best_trial

MAX_CURVE = 120  # points of one curve; more are closer than a pixel
MAX_CURVES = 200  # per state; more are a solid block
MAX_FAILED = 40
TABLE_ROWS = 25
STATES = (
    TrialState.FAILED,
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.COMPLETE,
    TrialState.RUNNING,
)
LEGEND_RANK = {state: 10 + i for i, state in enumerate(theme.SYMBOLS)}
_LINE_STYLES: dict[TrialState, tuple[float, float, str]] = {  # width, opacity, dash
    TrialState.FAILED: (1.2, 0.5, "dot"),
    TrialState.PRUNED: (1.0, 0.45, "solid"),
    TrialState.PAUSED: (1.0, 0.45, "solid"),
    TrialState.COMPLETE: (1.5, 0.75, "solid"),
    TrialState.RUNNING: (1.8, 0.9, "dash"),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial's reports, thinned."""

    number: int
    steps: list[int]
    values: list[float | None]  # None: not finite, a gap


@dataclass(frozen=True, slots=True)
class Info:
    """What the learning curves show."""

    metric: str
    direction: Direction
    curves: dict[TrialState, list[Curve]]  # without the best
    best: Curve | None
    total: int  # trials with reports; the curves may be a part of them
    view: tuple[float, float] | None  # range of values to show first; None: all
    outside: int  # trials whose last report is outside the view
    by_step: list[tuple[int, int, float, float]]  # epoch, reports, their median and best

    @property
    def count(self) -> int:
        """The number of curves in the figure."""
        return sum(map(len, self.curves.values())) + (self.best is not None)

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.count else "No trial has reported an epoch yet."


def info(trials: Sequence[Trial], study: Study, limit: int = thin.MAX_POINTS) -> Info:
    """Choose curves of at most `limit` points in all, counting the gaps between them.

    Each curve is thinned first. If that is not enough, or a state has too many curves, whole trials
    are left out evenly, but never the best one nor those that set a new best.
    """
    with_reports = [t for t in trials if t.state in STATES and t.reports]
    reached = values.feasible(with_reports)
    records = {
        reached[i][0].number for i in values.records([v for _, v in reached], study.direction)
    }
    best = best_trial((t for t, _ in reached), study.direction)
    others = _fewer([t for t in with_reports if t is not best], records)
    chosen = [_curve(t, study.direction) for t in others]
    best_curve = None if best is None else _curve(best, study.direction)
    room = limit - (0 if best_curve is None else len(best_curve.steps))
    needed = sum(len(c.steps) + 1 for c in chosen)
    indices = range(len(chosen))
    if needed > room:
        keep = [i for i, t in enumerate(others) if t.number in records]
        indices = _fitting(chosen, room, keep)  # type: ignore[assignment]
    curves: dict[TrialState, list[Curve]] = {state: [] for state in STATES}
    for i in indices:
        curves[others[i].state].append(chosen[i])
    last = [v for t in with_reports if (v := values.finite(t.reports[-1].value)) is not None]
    reported = [r.value for t in with_reports for r in t.reports]
    view = values.value_range(reported, study.direction)
    return Info(
        metric=study.metric,
        direction=study.direction,
        curves=curves,
        best=best_curve,
        total=len(with_reports),
        view=view,
        outside=values.outside(last, view),
        by_step=_by_step(with_reports, study.direction),
    )


def _fewer(trials: Sequence[Trial], records: set[int]) -> list[Trial]:
    """Keep as many trials of each state as can be told apart."""
    chosen: list[Trial] = []
    for state in STATES:
        of_state = [t for t in trials if t.state is state]
        keep = [i for i, t in enumerate(of_state) if t.number in records]
        limit = MAX_FAILED if state is TrialState.FAILED else MAX_CURVES
        chosen += thin.evenly(of_state, limit, keep)
    return chosen


def _fitting(curves: Sequence[Curve], room: int, keep: Sequence[int]) -> list[int]:
    """Return the largest even choice of curves whose points and gaps fit into `room`."""
    low, high = 0, len(curves)
    while low < high:
        middle = (low + high + 1) // 2
        chosen = thin.indices(len(curves), middle, keep)
        if sum(len(curves[i].steps) + 1 for i in chosen) <= room:
            low = middle
        else:
            high = middle - 1
    return thin.indices(len(curves), low, keep)


def _curve(trial: Trial, direction: Direction) -> Curve:
    reports = trial.reports
    if len(reports) > MAX_CURVE:
        finite = [i for i, r in enumerate(reports) if math.isfinite(r.value)]
        sign = 1 if direction == "minimize" else -1
        keep = [min(finite, key=lambda i: sign * reports[i].value)] if finite else []
        reports = tuple(thin.evenly(reports, MAX_CURVE, keep))
    return Curve(
        trial.number,
        [r.step for r in reports],
        [values.finite(r.value) for r in reports],
    )


def _by_step(trials: Sequence[Trial], direction: Direction) -> list[tuple[int, int, float, float]]:
    values_at: dict[int, list[float]] = {}
    for trial in trials:
        for report in trial.reports:
            if math.isfinite(report.value):
                values_at.setdefault(report.step, []).append(report.value)
    best = max if direction == "maximize" else min
    steps = thin.evenly(sorted(values_at), TABLE_ROWS)
    return [
        (step, len(values_at[step]), median(values_at[step]), best(values_at[step]))
        for step in steps
    ]


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    traces: list[dict[str, Any]] = []
    for state in STATES:
        if info.curves[state]:
            traces.append(_lines(info, state, info.curves[state]))
            ends = _ends(info, state, info.curves[state])
            if ends is not None:
                traces.append(ends)
    if info.best is not None:
        traces.append(_best(info, info.best))
    layout: dict[str, Any] = {
        "height": 420,
        "xaxis": {"title": {"text": "epoch"}, "range": _x_range(info), **_ticks(info)},
        "yaxis": {"title": {"text": text.escape(info.metric, 40)}, "range": info.view},
    }
    if info.outside:
        layout["annotations"] = [theme.outside_note(info.outside, info.direction)]
    return theme.figure(traces, layout)


def _steps(info: Info) -> tuple[int, int]:
    curves = [c for part in info.curves.values() for c in part]
    steps = [s for c in (*curves, *([info.best] if info.best else [])) for s in c.steps]
    return min(steps), max(steps)


def _x_range(info: Info) -> list[float]:
    first, last = _steps(info)
    room = max((last - first) * 0.015, 0.4)
    return [first - room, last + room]


def _ticks(info: Info) -> dict[str, Any]:
    """One tick per epoch if there are few, for there is nothing between epochs."""
    first, last = _steps(info)
    return {"dtick": 1} if last - first <= 10 else {"nticks": 12, "tickformat": ",d"}


def _lines(info: Info, state: TrialState, curves: Sequence[Curve]) -> dict[str, Any]:
    """Return all curves of a state as one trace, separated by nulls."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for i, curve in enumerate(curves):
        if i:
            x.append(None)
            y.append(None)
            numbers.append(None)
        x += curve.steps
        y += curve.values
        numbers += [curve.number] * len(curve.steps)
    width, opacity, dash = _LINE_STYLES[state]
    many = len(curves) > 100
    return {
        "type": "scatter",
        "mode": "lines",
        "name": state.value,
        "legendgroup": state.value,
        "legendrank": LEGEND_RANK[state],
        "x": x,
        "y": y,
        "customdata": numbers,
        "connectgaps": False,
        "opacity": opacity * 0.6 if many else opacity,
        "line": {"color": theme.LIGHT.of(state), "width": 1.0 if many else width, "dash": dash},
        "hovertemplate": _hover(info, f"<b>trial %{{customdata}}</b> {state}"),
    }


def _ends(info: Info, state: TrialState, curves: Sequence[Curve]) -> dict[str, Any] | None:
    """Mark where trials stopped or paused, and curves of one point, which a line cannot show."""
    cut = state in (TrialState.PRUNED, TrialState.PAUSED, TrialState.FAILED)
    chosen = [c for c in curves if c.values[-1] is not None and (cut or len(c.steps) == 1)]
    if not chosen:
        return None
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{state} here",
        "legendgroup": state.value,
        "showlegend": False,
        "x": [c.steps[-1] for c in chosen],
        "y": [c.values[-1] for c in chosen],
        "customdata": [c.number for c in chosen],
        "opacity": 0.8 if len(chosen) <= 100 else 0.5,
        "marker": {
            "color": theme.LIGHT.of(state),
            "symbol": theme.SYMBOLS[state],
            "size": 6,
            "line": {"width": 1.5, "color": theme.LIGHT.of(state)},
        },
        "hovertemplate": _hover(info, f"<b>trial %{{customdata}}</b> {state} here"),
    }


def _best(info: Info, curve: Curve) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(curve.steps) > 1 else "markers",
        "name": f"best: trial {curve.number}",
        "legendrank": 1,
        "x": curve.steps,
        "y": curve.values,
        "line": {"color": theme.LIGHT.best, "width": 3.5},
        "marker": {"color": theme.LIGHT.best, "symbol": theme.BEST_SYMBOL, "size": 14},
        "hovertemplate": _hover(info, f"<b>trial {curve.number}</b> best"),
    }


def _hover(info: Info, first: str) -> str:
    metric = text.escape(info.metric, 40)
    return f"{first}<br>epoch %{{x}}<br>{metric}: <b>%{{y:.4~g}}</b><extra></extra>"


def table(info: Info) -> text.Table:
    """Return, per epoch, how many trials reached it, their median and their best."""
    metric = text.clean(info.metric)
    return text.Table(
        columns=("epoch", "trials", f"median {metric}", f"best {metric}"),
        rows=tuple(
            (str(step), str(n), text.number(middle), text.number(best))
            for step, n, middle, best in info.by_step
        ),
        note="All trials that reported at that epoch.",
    )
