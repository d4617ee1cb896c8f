"""Several studies for the same goal: the best value so far of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from tuner.figures import text, theme, thin, values
from tuner.trials import Direction, Study, Trial

By = Literal["trials", "time"]

MAX_STEPS = 400  # of a line
DASHES = ("solid", "dash", "dot")
UNITS = (("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True, slots=True)
class Rival:
    """One study, under the name that tells it from the others."""

    name: str
    study: Study
    trials: Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Line:
    """The best so far of one study: x, value; it holds until the next."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Info:
    """The best so far of all of them."""

    metric: str
    direction: Direction
    by: By
    lines: list[Line]
    shown: tuple[float, float] | None

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if any(line.points for line in self.lines) else "No trial is complete yet."


def info(rivals: Sequence[Rival], by: By) -> Info:
    """By trials: how many have ended; by time: seconds that these have taken together."""
    direction = rivals[0].study.direction
    lines = [Line(rival.name, _best_so_far(rival, by)) for rival in rivals]
    reached = [value for line in lines for _, value in line.points]
    shown = values.value_range(reached, direction)
    return Info(rivals[0].study.metric, direction, by, lines, shown)


def _best_so_far(rival: Rival, by: By) -> list[tuple[float, float]]:
    ended = sorted(
        (t for t in rival.trials if t.state.is_finished),
        key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number),
    )
    steps = [1.0 if by == "trials" else trial.seconds or 0.0 for trial in ended]
    at = dict(zip((t.number for t in ended), np.cumsum(steps).tolist(), strict=True))
    winning = values.feasible(ended)
    reached = [value for _, value in winning]
    points = [
        (float(at[winning[i][0].number]), reached[i])
        for i in values.records(reached, rival.study.direction)
    ]
    last = float(sum(steps))
    if points and last > points[-1][0]:
        points.append((last, points[-1][1]))
    return thin.evenly(points, MAX_STEPS)


def colours() -> list[str]:
    """Of the first studies, as the dashboard has them; then the same with dashes."""
    light = theme.LIGHT
    first = [light.complete, light.pruned, light.best, light.failed]
    return [*first, light.running, light.muted, light.ink, light.accent]


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    last = max(x for line in found.lines for x, _ in line.points)
    unit, size = next(((n, s) for n, s in UNITS if last >= 2 * s), UNITS[-1])
    if found.by == "trials":
        unit, size = "trials that have ended", 1.0
    metric = text.escape(found.metric, 40)
    every = colours()
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(line.points) == 1 else "lines",
            "name": text.escape(line.name, 32),
            "x": [x / size for x, _ in line.points],
            "y": [y for _, y in line.points],
            "line": {
                "shape": "hv",
                "width": 2.4,
                "color": every[i % len(every)],
                "dash": DASHES[i // len(every) % len(DASHES)],
            },
            "hovertemplate": f"<b>{text.escape(line.name, 32)}</b><br>{metric}: <b>%{{y:.4~g}}</b>"
            f"<br>after %{{x:,.4~g}} {unit}<extra></extra>",
        }
        for i, line in enumerate(found.lines)
        if line.points
    ]
    title = unit if found.by == "trials" else f"{unit} of trials"
    return theme.figure(
        traces,
        {
            "height": 340,
            "xaxis": {"title": {"text": title}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": f"best {metric} so far"}, "range": found.shown},
        },
    )


def table(found: Info) -> text.Table:
    """When each study came near its end, and where that is."""
    return text.Table(
        columns=("study", f"best {text.clean(found.metric)}", "first reached after", "of"),
        rows=tuple(
            (
                text.clean(line.name),
                text.number(line.points[-1][1]),
                _after(found, next(x for x, y in line.points if y == line.points[-1][1])),
                _after(found, line.points[-1][0]),
            )
            for line in found.lines
            if line.points
        ),
    )


def _after(found: Info, x: float) -> str:
    return text.count(round(x), "trial") if found.by == "trials" else text.duration(x)
