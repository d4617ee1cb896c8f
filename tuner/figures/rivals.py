"""Several studies with the same objective: the best value so far of each."""

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
    """One study, with the name that distinguishes it."""

    name: str
    study: Study
    trials: Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Line:
    """The best so far of one study, as steps (x, value)."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Info:
    """The best so far of all studies."""

    metric: str
    direction: Direction
    by: By
    lines: list[Line]
    view: tuple[float, float] | None

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if any(line.points for line in self.lines) else "No trial is complete yet."


def info(rivals: Sequence[Rival], by: By) -> Info:
    """Compute the lines: by the number of trials that have ended, or by their total seconds."""
    direction = rivals[0].study.direction
    lines = [Line(rival.name, _best_so_far(rival, by)) for rival in rivals]
    reached = [value for line in lines for _, value in line.points]
    view = values.value_range(reached, direction)
    return Info(rivals[0].study.metric, direction, by, lines, view)


def _best_so_far(rival: Rival, by: By) -> list[tuple[float, float]]:
    ended = sorted(
        (t for t in rival.trials if not t.state.is_open),
        key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number),
    )
    steps = [1.0 if by == "trials" else trial.seconds or 0.0 for trial in ended]
    elapsed = dict(zip((t.number for t in ended), np.cumsum(steps).tolist(), strict=True))
    winning = values.feasible(ended)
    reached = [value for _, value in winning]
    points = [
        (float(elapsed[winning[i][0].number]), reached[i])
        for i in values.records(reached, rival.study.direction)
    ]
    last = float(sum(steps))
    if points and last > points[-1][0]:
        points.append((last, points[-1][1]))
    return thin.evenly(points, MAX_STEPS)


def colours() -> list[str]:
    """Return the colours of the first studies, as in the dashboard; then dashes tell them apart."""
    light = theme.LIGHT
    first = [light.complete, light.pruned, light.best, light.failed]
    return [*first, light.running, light.muted, light.ink, light.accent]


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    last = max(x for line in info.lines for x, _ in line.points)
    unit, size = next(((n, s) for n, s in UNITS if last >= 2 * s), UNITS[-1])
    if info.by == "trials":
        unit, size = "finished trials", 1.0
    metric = text.escape(info.metric, 40)
    palette = colours()
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
                "color": palette[i % len(palette)],
                "dash": DASHES[i // len(palette) % len(DASHES)],
            },
            "hovertemplate": f"<b>{text.escape(line.name, 32)}</b><br>{metric}: <b>%{{y:.4~g}}</b>"
            f"<br>after %{{x:,.4~g}} {unit}<extra></extra>",
        }
        for i, line in enumerate(info.lines)
        if line.points
    ]
    title = unit if info.by == "trials" else f"{unit} of trials"
    return theme.figure(
        traces,
        {
            "height": 340,
            "xaxis": {"title": {"text": title}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": f"best {metric} so far"}, "range": info.view},
        },
    )


def table(info: Info) -> text.Table:
    """Return each study's best value, and after how much it was reached."""
    return text.Table(
        columns=("study", f"best {text.clean(info.metric)}", "first reached after", "of"),
        rows=tuple(
            (
                text.clean(line.name),
                text.number(line.points[-1][1]),
                _after(info, next(x for x, y in line.points if y == line.points[-1][1])),
                _after(info, line.points[-1][0]),
            )
            for line in info.lines
            if line.points
        ),
    )


def _after(info: Info, x: float) -> str:
    return text.count(round(x), "trial") if info.by == "trials" else text.duration(x)
