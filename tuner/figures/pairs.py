"""Trials in the plane of two parameters: what `rank`, `contour` and `heat` draw."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.figures import axes, text, theme, thin, values
from tuner.trials import Direction, Study, Trial

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


def points(found: Info, kept: Sequence[int]) -> dict[str, Any]:
    """Return a trace of these trials, by their index."""
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


def layout(both: tuple[axes.Axis, axes.Axis]) -> dict[str, Any]:
    """Return the plane's layout."""
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


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """Return the legend of a colour scale."""
    return {
        "title": {"text": title, "font": {"color": theme.LIGHT.muted, "size": 12}},
        "thickness": 10,
        "outlinewidth": 0,
        "tickfont": {"color": theme.LIGHT.muted, "size": 11},
        **more,
    }
