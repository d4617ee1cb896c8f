"""The Pareto front: the trials that no other trial beats in every objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Study, Trial, TrialState, pareto_front


@dataclass(frozen=True, slots=True)
class Info:
    """Two of the objectives; the front is the one of all objectives."""

    metrics: tuple[str, str]
    x: int  # indices of the objectives
    y: int
    front: list[Trial]  # by the first of the two
    others: list[Trial]
    objectives: int

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        if self.objectives < 2:
            return "The study has one objective, so its best trial is the front."
        return None if self.front or self.others else "No trial is complete yet."


def info(
    trials: Sequence[Trial],
    study: Study,
    x: int = 0,
    y: int = 1,
    limit: int = thin.MAX_POINTS,
) -> Info:
    """Take complete trials with finite values of all objectives; the front is never thinned.

    A trial that violates a constraint is not on the front and beats no other.
    """
    objectives = len(study.directions)
    metrics = [*study.metrics, *(f"value {i}" for i in range(len(study.metrics), objectives))]
    if objectives < 2:
        return Info((study.metric, ""), 0, 0, [], [], objectives)
    complete = [
        t
        for t in trials
        if t.state is TrialState.COMPLETE
        and t.values is not None
        and len(t.values) == objectives
        and all(values.finite(v) is not None for v in t.values)
    ]
    best = pareto_front(complete, study.directions)
    numbers = {t.number for t in best}
    others = [t for t in complete if t.number not in numbers]
    return Info(
        (metrics[x], metrics[y]),
        x,
        y,
        sorted(best, key=lambda t: (_at(t, x), _at(t, y))),
        thin.evenly(others, max(limit - len(best), 0)),
        objectives,
    )


def _at(trial: Trial, objective: int) -> float:
    assert trial.values is not None
    return trial.values[objective]


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    few = len(info.others) <= 300
    beside = [t for t in info.others if t.violates_constraint]
    others = _points(info, [t for t in info.others if not t.violates_constraint], "dominated") | {
        "marker": {
            "color": theme.LIGHT.complete,
            "size": 8 if few else 5,
            "opacity": 0.7 if few else 0.4,
        }
    }
    best = _points(info, info.front, "Pareto front") | {
        # with more than two objectives, a line would invent points between these
        "mode": "lines+markers" if info.objectives == 2 else "markers",
        "line": {"color": theme.LIGHT.best, "width": 1.5, "dash": "dot"},
        "marker": {
            "color": theme.LIGHT.best,
            "symbol": theme.BEST_SYMBOL,
            "size": 12,
            "line": {"width": 1, "color": theme.LIGHT.surface},
        },
    }
    violating = _points(info, beside, theme.INFEASIBLE) | {"marker": theme.infeasible(len(beside))}
    return theme.figure(
        [*([violating] if beside else []), others, best],
        {
            "xaxis": {"title": {"text": text.escape(info.metrics[0], 40)}},
            "yaxis": {"title": {"text": text.escape(info.metrics[1], 40)}},
        },
    )


def _points(info: Info, trials: Sequence[Trial], name: str) -> dict[str, Any]:
    x, y = (text.escape(metric, 40) for metric in info.metrics)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_at(t, info.x) for t in trials],
        "y": [_at(t, info.y) for t in trials],
        "customdata": [t.number for t in trials],
        "hovertemplate": f"<b>trial %{{customdata}}</b><br>{x}: <b>%{{x:.4~g}}</b>"
        f"<br>{y}: <b>%{{y:.4~g}}</b><extra></extra>",
    }


def table(info: Info) -> text.Table:
    """Return the front."""
    return text.Table(
        columns=("trial", *map(text.clean, info.metrics)),
        rows=tuple(
            (str(t.number), text.number(_at(t, info.x)), text.number(_at(t, info.y)))
            for t in info.front
        ),
        note="Trials that no other trial beats in every objective.",
    )
