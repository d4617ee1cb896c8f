"""Learning curves: the metric by epoch, one trace a state.

The curves of a state are one line with gaps between them: a trace a trial would cost seconds and a
legend nobody reads. Pruned ones are faint and end in a mark; the best one stands out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Direction, Study, Trial, TrialState, best_trial

MAX_CURVE = 120  # points of one curve: more than it has pixels between them
MAX_CURVES = 200  # of a state: more are a solid block
MAX_FAILED = 40
TABLE_ROWS = 25
DRAWN = (TrialState.FAILED, TrialState.PRUNED, TrialState.COMPLETE, TrialState.RUNNING)
LEGEND_RANK = {state: 10 + i for i, state in enumerate(theme.SYMBOLS)}
_LOOK: dict[TrialState, tuple[float, float, str]] = {  # width, opacity, dash
    TrialState.FAILED: (1.2, 0.5, "dot"),
    TrialState.PRUNED: (1.0, 0.45, "solid"),
    TrialState.COMPLETE: (1.5, 0.75, "solid"),
    TrialState.RUNNING: (1.8, 0.9, "dash"),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial's reports, thinned out."""

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
    total: int  # trials with reports, of which the curves may be a part
    shown: tuple[float, float] | None  # range of values to show first; None: all
    outside: int  # trials that leave that range with their last report
    by_step: list[tuple[int, int, float, float]]  # epoch, reports, median, best of them

    @property
    def drawn(self) -> int:
        """How many curves are drawn."""
        return sum(map(len, self.curves.values())) + (self.best is not None)

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if self.drawn else "No trial has reported an epoch yet."


def info(trials: Sequence[Trial], study: Study, limit: int = thin.MAX_POINTS) -> Info:
    """Pick the curves: at most `limit` points with the gaps between them.

    Each curve is thinned first; where that is not enough, or a state has too many, whole trials are
    left out evenly, never the best one nor those that set a new best.
    """
    with_reports = [t for t in trials if t.state in DRAWN and t.reports]
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
    kept = range(len(chosen))
    if needed > room:
        keep = [i for i, t in enumerate(others) if t.number in records]
        kept = _fitting(chosen, room, keep)  # type: ignore[assignment]
    curves: dict[TrialState, list[Curve]] = {state: [] for state in DRAWN}
    for i in kept:
        curves[others[i].state].append(chosen[i])
    last = [v for t in with_reports if (v := values.finite(t.reports[-1].value)) is not None]
    every = [r.value for t in with_reports for r in t.reports]
    shown = values.value_range(every, study.direction)
    return Info(
        metric=study.metric,
        direction=study.direction,
        curves=curves,
        best=best_curve,
        total=len(with_reports),
        shown=shown,
        outside=values.outside(last, shown),
        by_step=_by_step(with_reports, study.direction),
    )


def _fewer(trials: Sequence[Trial], records: set[int]) -> list[Trial]:
    """At most so many of each state as can be told apart."""
    chosen: list[Trial] = []
    for state in DRAWN:
        of_state = [t for t in trials if t.state is state]
        keep = [i for i, t in enumerate(of_state) if t.number in records]
        limit = MAX_FAILED if state is TrialState.FAILED else MAX_CURVES
        chosen += thin.evenly(of_state, limit, keep)
    return chosen


def _fitting(curves: Sequence[Curve], room: int, keep: Sequence[int]) -> list[int]:
    """The largest even choice of curves whose points and gaps fit into `room`."""
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
    at: dict[int, list[float]] = {}
    for trial in trials:
        for report in trial.reports:
            if math.isfinite(report.value):
                at.setdefault(report.step, []).append(report.value)
    best = max if direction == "maximize" else min
    steps = thin.evenly(sorted(at), TABLE_ROWS)
    return [(step, len(at[step]), median(at[step]), best(at[step])) for step in steps]


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    traces: list[dict[str, Any]] = []
    for state in DRAWN:
        if found.curves[state]:
            traces.append(_lines(found, state, found.curves[state]))
            ends = _ends(found, state, found.curves[state])
            if ends is not None:
                traces.append(ends)
    if found.best is not None:
        traces.append(_best(found, found.best))
    layout: dict[str, Any] = {
        "height": 420,
        "xaxis": {"title": {"text": "epoch"}, "range": _x_range(found), **_ticks(found)},
        "yaxis": {"title": {"text": text.escape(found.metric, 40)}, "range": found.shown},
    }
    if found.outside:
        layout["annotations"] = [theme.outside_note(found.outside, found.direction)]
    return theme.figure(traces, layout)


def _steps(found: Info) -> tuple[int, int]:
    curves = [c for part in found.curves.values() for c in part]
    steps = [s for c in (*curves, *([found.best] if found.best else [])) for s in c.steps]
    return min(steps), max(steps)


def _x_range(found: Info) -> list[float]:
    first, last = _steps(found)
    room = max((last - first) * 0.015, 0.4)
    return [first - room, last + room]


def _ticks(found: Info) -> dict[str, Any]:
    """A tick an epoch where there are few: there is none between them."""
    first, last = _steps(found)
    return {"dtick": 1} if last - first <= 10 else {"nticks": 12, "tickformat": ",d"}


def _lines(found: Info, state: TrialState, curves: Sequence[Curve]) -> dict[str, Any]:
    """All curves of a state as one trace, with a null after each but the last."""
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
    width, opacity, dash = _LOOK[state]
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
        "hovertemplate": _hover(found, f"<b>trial %{{customdata}}</b> {state}"),
    }


def _ends(found: Info, state: TrialState, curves: Sequence[Curve]) -> dict[str, Any] | None:
    """Where trials were cut, and curves of one point, of which a line shows nothing."""
    cut = state in (TrialState.PRUNED, TrialState.FAILED)
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
        "hovertemplate": _hover(found, f"<b>trial %{{customdata}}</b> {state} here"),
    }


def _best(found: Info, curve: Curve) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(curve.steps) > 1 else "markers",
        "name": f"best: trial {curve.number}",
        "legendrank": 1,
        "x": curve.steps,
        "y": curve.values,
        "line": {"color": theme.LIGHT.best, "width": 3.5},
        "marker": {"color": theme.LIGHT.best, "symbol": theme.BEST_SYMBOL, "size": 14},
        "hovertemplate": _hover(found, f"<b>trial {curve.number}</b> best"),
    }


def _hover(found: Info, first: str) -> str:
    metric = text.escape(found.metric, 40)
    return f"{first}<br>epoch %{{x}}<br>{metric}: <b>%{{y:.4~g}}</b><extra></extra>"


def table(found: Info) -> text.Table:
    """By epoch: how many trials got there, their median and their best."""
    metric = text.clean(found.metric)
    return text.Table(
        columns=("epoch", "trials", f"median {metric}", f"best {metric}"),
        rows=tuple(
            (str(step), str(n), text.number(middle), text.number(best))
            for step, n, middle, best in found.by_step
        ),
        note="All trials that reported at that epoch.",
    )
