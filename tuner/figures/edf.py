"""The share of trials that are at least so good: one curve a study, the empirical distribution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Direction, Study

MAX_STEPS = 400  # of a curve: more than it has pixels between them


@dataclass(frozen=True, slots=True)
class Curve:
    """One study's: values in order, and the share of its trials that are at most that."""

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
    shown: tuple[float, float] | None

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if self.curves else "No trial is complete yet."


def info(reached: Mapping[str, Sequence[float]], study: Study) -> Info:
    """From the values of complete trials by the name of their study."""
    curves = []
    every: list[float] = []
    for name, given in reached.items():
        ordered = np.sort(np.array([v for v in given if values.finite(v) is not None]))
        if len(ordered):
            kept = thin.indices(len(ordered), MAX_STEPS)
            shares = [(i + 1) / len(ordered) for i in kept]
            curves.append(Curve(name, ordered[kept].tolist(), shares, len(ordered)))
            every += curves[-1].values
    return Info(study.metric, study.direction, curves, values.value_range(every, study.direction))


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    colours = [theme.LIGHT.complete, theme.LIGHT.pruned, theme.LIGHT.running, theme.LIGHT.best]
    metric = text.escape(found.metric, 40)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": text.escape(curve.name, 32),
            "showlegend": len(found.curves) > 1,
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
        for i, curve in enumerate(found.curves)
    ]
    return theme.figure(
        traces,
        {
            "xaxis": {"title": {"text": metric}, "range": found.shown},
            "yaxis": {
                "title": {"text": "share of complete trials"},
                "range": [0, 1.02],
                "tickformat": ".0%",
            },
        },
    )


def table(found: Info) -> text.Table:
    """Quantiles of each study."""
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
            for curve in found.curves
        ),
        note=f"So many trials have at most this {text.clean(found.metric)}.",
    )
