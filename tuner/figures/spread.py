"""Several studies with the same objective: the spread of their trials' values, one box each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from tuner.figures import text, theme, values
from tuner.figures.rivals import Rival


@dataclass(frozen=True, slots=True)
class Box:
    """The values of one study's complete trials."""

    name: str
    trials: int
    quartiles: tuple[float, float, float]
    ends: tuple[float, float]  # smallest and largest
    best: float


@dataclass(frozen=True, slots=True)
class Info:
    """The values of all studies."""

    metric: str
    boxes: list[Box]
    view: tuple[float, float] | None

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.boxes else "No trial is complete yet."


def info(rivals: Sequence[Rival]) -> Info:
    """Compute the quartiles of complete trials' values."""
    boxes, pooled = [], []
    for rival in rivals:
        reached = [value for _, value in values.feasible(rival.trials)]
        if reached:
            pooled += reached
            q1, q2, q3 = np.quantile(reached, (0.25, 0.5, 0.75)).tolist()
            ends = min(reached), max(reached)
            best = ends[1] if rival.study.direction == "maximize" else ends[0]
            boxes.append(Box(rival.name, len(reached), (q1, q2, q3), ends, best))
    first = rivals[0].study
    return Info(first.metric, boxes, values.value_range(pooled, first.direction))


def draw(info: Info) -> go.Figure:
    """Return the drawing: one box per study, with a star on its best."""
    if info.nothing:
        return theme.empty(info.nothing)
    metric = text.escape(info.metric, 40)
    places = list(range(len(info.boxes)))
    boxes = {
        "type": "box",
        "orientation": "h",
        "y": places,
        "q1": [box.quartiles[0] for box in info.boxes],
        "median": [box.quartiles[1] for box in info.boxes],
        "q3": [box.quartiles[2] for box in info.boxes],
        "lowerfence": [box.ends[0] for box in info.boxes],
        "upperfence": [box.ends[1] for box in info.boxes],
        "line": {"color": theme.LIGHT.complete, "width": 1.6},
        "fillcolor": theme.LIGHT.grid,
        "hoverinfo": "x",
        "showlegend": False,
    }
    best = {
        "type": "scatter",
        "mode": "markers",
        "x": [box.best for box in info.boxes],
        "y": places,
        "customdata": [[text.escape(box.name, 32), f"{box.trials:,}"] for box in info.boxes],
        "hovertemplate": f"<b>%{{customdata[0]}}</b><br>best {metric}: <b>%{{x:.4~g}}</b>"
        "<br>%{customdata[1]} complete trials<extra></extra>",
        "marker": {
            "color": theme.LIGHT.best,
            "symbol": theme.BEST_SYMBOL,
            "size": 13,
            "line": {"width": 1, "color": theme.LIGHT.surface},
        },
        "showlegend": False,
    }
    layout: dict[str, Any] = {
        "height": 80 + 38 * len(places),
        "margin": {"l": 56, "r": 24, "t": 12, "b": 48},
        "xaxis": {"title": {"text": metric}, "range": info.view},
        "yaxis": {
            "tickvals": places,
            "ticktext": [text.escape(box.name, 24) + "  " for box in info.boxes],
            "range": [len(places) - 0.5, -0.5],
            "fixedrange": True,
        },
    }
    return theme.figure([boxes, best], layout)


def table(info: Info) -> text.Table:
    """Return the numbers of the boxes."""
    return text.Table(
        columns=("study", "complete", "best", "quartile", "median", "quartile", "range"),
        rows=tuple(
            (
                text.clean(box.name),
                f"{box.trials:,}",
                text.number(box.best),
                *map(text.number, box.quartiles),
                " … ".join(map(text.number, box.ends)),
            )
            for box in info.boxes
        ),
    )
