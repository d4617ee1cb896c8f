"""Parallel coordinates: each complete trial is a line through its parameters to its value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from tuner.figures import axes, text, theme, thin, values
from tuner.trials import Direction, Study, Trial

MAX_AXES = 12  # parameters; with more, lines cannot be followed
MAX_LINES = 2_000  # more are a solid block, and take seconds without a GPU
NOT_SET = 0.12  # share of the range, below an axis, for trials without this parameter


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis: a position for each line, and its ticks."""

    name: str
    kind: axes.Kind
    positions: list[float]
    range: tuple[float, float]
    ticks: tuple[list[float], list[str]]  # positions, plain texts


@dataclass(frozen=True, slots=True)
class Info:
    """What the parallel coordinates show; lines are ordered from worst to best."""

    metric: str
    direction: Direction
    trials: list[Trial]  # one per line
    dimensions: list[Dimension]  # of the parameters
    objective: Dimension | None
    left_out: int  # parameters beyond `MAX_AXES`
    total: int  # complete trials with a finite value

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        if not self.trials:
            return "No trial is complete yet."
        return None if self.dimensions else "The complete trials have no parameters."


def info(
    trials: Sequence[Trial],
    study: Study,
    *,
    log_params: Collection[str] = frozenset(),
    importances: Mapping[str, float] | None = None,
) -> Info:
    """Place complete trials with a finite value on the axes, which are sorted by importance."""
    lines = values.complete(trials)
    sign = 1 if study.direction == "maximize" else -1
    lines.sort(key=lambda pair: (sign * pair[1], -pair[0].number))
    total = len(lines)
    lines = thin.evenly(lines, MAX_LINES)
    chosen = [trial for trial, _ in lines]
    candidates = axes.axes(chosen, study, log_params, importances)
    objective = _objective(study, [v for _, v in lines]) if lines else None
    return Info(
        metric=study.metric,
        direction=study.direction,
        trials=chosen,
        dimensions=[_dimension(axis, chosen) for axis in candidates[:MAX_AXES]],
        objective=objective,
        left_out=max(len(candidates) - MAX_AXES, 0),
        total=total,
    )


def _dimension(axis: axes.Axis, trials: Sequence[Trial]) -> Dimension:
    """Return a parameter's positions; trials without it lie below the axis at `not set`."""
    room = NOT_SET * (axis.high - axis.low)
    missing = axis.low - room
    known_positions = [
        axis.position(t.params[axis.name]) if axis.name in t.params else None for t in trials
    ]
    positions = [missing if p is None else p for p in known_positions]
    ticks, names = axis.ticks()
    low = axis.low
    if None in known_positions:
        low = missing - room / 2
        ticks, names = [missing, *ticks], ["not set", *names]
    return Dimension(axis.name, axis.kind, positions, (low, axis.high), (ticks, names))


def _objective(study: Study, reached: Sequence[float]) -> Dimension:
    """Return the value's axis; values outside the range worth showing lie at its ends."""
    full = axes.axis(study.metric, reached, categorical=False)
    view = values.value_range(reached, study.direction)
    low, high = (full.low, full.high) if view is None else view
    low, high = max(low, full.low), min(high, full.high)
    ticks = axes.nice_ticks(low, high)
    names = [text.number(t) for t in ticks]
    if low > full.low:
        ticks, names = [low, *ticks[1:]], [f"≤ {text.number(low)}", *names[1:]]
    if high < full.high:
        ticks, names = [*ticks[:-1], high], [*names[:-1], f"≥ {text.number(high)}"]
    positions = [min(max(v, low), high) for v in reached]
    return Dimension(study.metric, "linear", positions, (low, high), (ticks, names))


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing or info.objective is None:
        return theme.empty(info.nothing or "")
    low, high = info.objective.range
    trace = {
        "type": "parcoords",
        "dimensions": [
            {
                "label": text.escape(dimension.name, 18),
                "values": dimension.positions,
                "range": dimension.range,
                "tickvals": dimension.ticks[0],
                # plain text, not markup: escapes would be visible
                "ticktext": [text.short(name, 14) for name in dimension.ticks[1]],
            }
            for dimension in (*info.dimensions, info.objective)
        ],
        "labelfont": {"size": 12.5, "color": theme.LIGHT.ink},
        "tickfont": {"size": 11, "color": theme.LIGHT.muted},
        "rangefont": {"size": 11, "color": theme.CLEAR},
        "line": {
            "color": info.objective.positions,
            "colorscale": theme.scale(),
            "cmin": low,
            "cmax": high,
            "reversescale": info.direction == "minimize",
            "showscale": False,
        },
        "unselected": {"line": {"color": theme.LIGHT.grid, "opacity": 0.4}},
    }
    return theme.figure([trace], {"height": 420, "margin": {"l": 64, "r": 64, "t": 56, "b": 24}})


def min_width(info: Info) -> int:
    """Return the pixels below which the axes' names run into each other."""
    return 96 * (len(info.dimensions) + 1)


def table(info: Info, top: int = 10) -> text.Table:
    """Return the best lines with their values on every axis."""
    names = [dimension.name for dimension in info.dimensions]
    best = list(reversed(info.trials))[:top]
    return text.Table(
        columns=("trial", *map(text.clean, names), text.clean(info.metric)),
        rows=tuple(
            (
                str(t.number),
                *(text.value(t.params[n]) if n in t.params else "not set" for n in names),
                text.number(t.value),
            )
            for t in best
        ),
        note=f"The best {len(best)} of {text.count(info.total, 'complete trial')}."
        if info.total > len(best)
        else "",
    )
