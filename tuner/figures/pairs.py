"""Trials in the plane of two parameters: what `rank`, `contour` and `heat` draw."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.figures import axes, text, theme, thin, values
from tuner.trials import Direction, Study, Trial

HOVER_PARAMS_UP_TO = 1_000  # points; beyond, hover texts would outweigh the page
SPREAD = 0.4  # share of a category's width that its points take


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
    total: int  # the trials may be a part of these

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        if self.axes is None:
            return "This figure needs complete trials with two parameters."
        return None if len(self.trials) > 1 else "This figure needs two complete trials."


def choose(
    trials: Sequence[Trial],
    study: Study,
    log_params: Collection[str],
    importances: Mapping[str, float] | None,
    requested: tuple[str | None, str | None],
) -> tuple[axes.Axis, axes.Axis] | None:
    """Return the axes of the requested parameters, or else of the most important ones."""
    by_name = {axis.name: axis for axis in axes.axes(trials, study, log_params, importances)}
    # a parameter with a single value says nothing on an axis
    names = [n for n, axis in by_name.items() if len(axis.categories) != 1] or list(by_name)
    first = (
        requested[0]
        if requested[0] in by_name
        else next((n for n in names if n != requested[1]), None)
    )
    second = (
        requested[1] if requested[1] in by_name else next((n for n in names if n != first), None)
    )
    if first is None or second is None or first == second:
        return None
    return by_name[first], by_name[second]


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
    complete = values.complete(trials)
    plane = choose([t for t, _ in complete], study, log_params, importances, (x, y))
    if plane is None:
        return Info(study.metric, study.direction, None, [], [], [], [], 0)
    placed = []
    for trial, value in complete:
        params = [trial.params.get(axis.name) for axis in plane]
        if all(axis.name in trial.params for axis in plane):
            positions = [axis.position(v) for axis, v in zip(plane, params, strict=True)]
            if positions[0] is not None and positions[1] is not None:
                placed.append((trial, positions[0], positions[1], value))
    reached = [value for *_, value in placed]
    thinned = thin.evenly(placed, limit, values.records(reached, study.direction))
    return Info(
        study.metric,
        study.direction,
        plane,
        [p[0] for p in thinned],
        [p[1] for p in thinned],
        [p[2] for p in thinned],
        [p[3] for p in thinned],
        len(placed),
    )


def points(info: Info, indices: Sequence[int]) -> dict[str, Any]:
    """Return a trace of these trials, by their index."""
    assert info.axes is not None
    names = [text.escape(axis.name, 32) for axis in info.axes]
    if len(indices) > HOVER_PARAMS_UP_TO:  # only numbers: these are packed
        return _at(info, indices) | {
            "customdata": [info.trials[i].number for i in indices],
            "hovertemplate": "<b>trial %{customdata}</b><extra></extra>",
        }
    hover = [
        [
            info.trials[i].number,
            *(text.escape(text.value(info.trials[i].params[axis.name]), 40) for axis in info.axes),
            text.number(info.reached[i]),
        ]
        for i in indices
    ]
    return _at(info, indices) | {
        "customdata": hover,
        "hovertemplate": f"<b>trial %{{customdata[0]}}</b><br>{names[0]}: %{{customdata[1]}}<br>"
        f"{names[1]}: %{{customdata[2]}}<br>{text.escape(info.metric, 40)}: "
        "<b>%{customdata[3]}</b><extra></extra>",
    }


def _at(info: Info, indices: Sequence[int]) -> dict[str, Any]:
    assert info.axes is not None
    return {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [_spread(info.axes[0], info.x[i], info.trials[i], 1) for i in indices],
        "y": [_spread(info.axes[1], info.y[i], info.trials[i], 7) for i in indices],
    }


def _spread(axis: axes.Axis, position: float, trial: Trial, stride: int) -> float:
    """Spread a category's points; equal strides on both axes would put them on a line."""
    if axis.kind != "categories":
        return position
    return position + SPREAD * ((trial.number * stride * values.GOLDEN) % 1.0 - 0.5)


def layout(plane: tuple[axes.Axis, axes.Axis]) -> dict[str, Any]:
    """Return the plane's layout."""
    layout: dict[str, Any] = {"height": 440, "margin": {"l": 72, "r": 16, "t": 24, "b": 56}}
    for key, axis in zip(("xaxis", "yaxis"), plane, strict=True):
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
