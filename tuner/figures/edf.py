"""The empirical distribution of values: the share of trials up to each, one curve per study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Direction, Study

MAX_STEPS = 400  # of a curve; more are closer than a pixel


@dataclass(frozen=True, slots=True)
class Curve:
    """One study: its values in order, and the share of its trials with at most each value."""

    name: str
    values: list[float]
    shares: list[float]
    trials: int


@dataclass(frozen=True, slots=True)
class Info:
    """What the distributions show."""

    metric: str
    direction: Direction
    curves: list[Curve]
    view: tuple[float, float] | None

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.curves else "No trial is complete yet."


def info(reached: Mapping[str, Sequence[float]], study: Study) -> Info:
    """Compute the distributions from complete trials' values, by the name of their study."""
    curves = []
    pooled: list[float] = []
    for name, values_of_study in reached.items():
        ordered = np.sort(np.array([v for v in values_of_study if values.finite(v) is not None]))
        if len(ordered):
            indices = thin.indices(len(ordered), MAX_STEPS)
            shares = [(i + 1) / len(ordered) for i in indices]
            curves.append(Curve(name, ordered[indices].tolist(), shares, len(ordered)))
            pooled += curves[-1].values
    return Info(study.metric, study.direction, curves, values.value_range(pooled, study.direction))


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    colours = [theme.LIGHT.complete, theme.LIGHT.pruned, theme.LIGHT.running, theme.LIGHT.best]
    metric = text.escape(info.metric, 40)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": text.escape(curve.name, 32),
            "showlegend": len(info.curves) > 1,
            "x": curve.values,
            "y": curve.shares,
            "line": {
                "shape": "hv",
                "width": 2.2,
                "color": colours[i % len(colours)],
                "dash": ("solid", "dash", "dot", "dashdot")[i // len(colours) % 4],
            },
            "hovertemplate": f"<b>%{{y:.0%}}</b> of {text.count(curve.trials, 'trial')}: "
            f"{metric} ≤ <b>%{{x:.4~g}}</b><extra></extra>",
        }
        for i, curve in enumerate(info.curves)
    ]
    return theme.figure(
        traces,
        {
            "xaxis": {"title": {"text": metric}, "range": info.view},
            "yaxis": {
                "title": {"text": "share of complete trials"},
                "range": [0, 1.02],
                "tickformat": ".0%",
            },
        },
    )


def table(info: Info) -> text.Table:
    """Return each study's quantiles."""
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    return text.Table(
        columns=("study", "trials", *(f"{q:.0%}" for q in quantiles)),
        rows=tuple(
            (
                text.clean(curve.name),
                f"{curve.trials:,}",
                *(
                    text.number(curve.values[int(np.searchsorted(curve.shares, q))])
                    for q in quantiles
                ),
            )
            for curve in info.curves
        ),
        note=f"This share of the trials has at most this {text.clean(info.metric)}.",
    )
