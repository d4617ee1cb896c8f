"""Slices: the value against each parameter, one subplot per parameter.

An axis is logarithmic if the search is. Categories are strips, sorted, with their points spread
a little so that they can be counted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import plotly.graph_objects as go

from tuner.figures import axes, text, theme, thin, values
from tuner.trials import Direction, ParamValue, Study, Trial, best_trial, better

MAX_PANELS = 18
HOVER_PARAMS_UP_TO = 1_000  # trials; beyond, hover texts would outweigh the page
COLUMNS = 3
ROW_HEIGHT = 250  # pixels
GAP = 0.035  # between columns, share of the width
TITLE = 62  # pixels below a row, for ticks and the parameter's name
SPREAD = 0.5  # share of a category's width


@dataclass(frozen=True, slots=True)
class Point:
    """One trial in one subplot."""

    x: float  # the value itself; for categories its position, spread
    value: float
    trial: Trial


@dataclass(frozen=True, slots=True)
class Panel:
    """One parameter's subplot."""

    axis: axes.Axis
    points: list[Point]


@dataclass(frozen=True, slots=True)
class Info:
    """What the slices show."""

    metric: str
    direction: Direction
    panels: list[Panel]
    best: Trial | None
    left_out: int  # parameters beyond `MAX_PANELS`
    count: int  # trials in the figure
    total: int  # complete trials with a finite value
    view: tuple[float, float] | None
    outside: int

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        if not self.total:
            return "No trial is complete yet."
        return None if self.panels else "The complete trials have no parameters."


def info(
    trials: Sequence[Trial],
    study: Study,
    *,
    log_params: Collection[str] = frozenset(),
    importances: Mapping[str, float] | None = None,
    limit: int = thin.MAX_POINTS,
) -> Info:
    """Place complete trials with a finite value, at most `limit` points over all panels."""
    complete = values.complete(trials)
    reached = [v for _, v in complete]
    candidates = axes.axes([t for t, _ in complete], study, log_params, importances)
    panels = candidates[:MAX_PANELS]
    chosen = thin.evenly(
        complete, limit // max(len(panels), 1), values.records(reached, study.direction)
    )
    view = values.value_range(reached, study.direction)
    return Info(
        metric=study.metric,
        direction=study.direction,
        panels=[Panel(axis, _points(axis, chosen)) for axis in panels],
        best=best_trial((t for t, _ in complete), study.direction),
        left_out=len(candidates) - len(panels),
        count=len(chosen),
        total=len(complete),
        view=view,
        outside=values.outside(reached, view),
    )


def _points(axis: axes.Axis, chosen: Sequence[tuple[Trial, float]]) -> list[Point]:
    points = []
    for trial, value in chosen:
        param = trial.params.get(axis.name)
        position = axis.position(param) if axis.name in trial.params else None
        if position is None:
            continue
        x = position
        if axis.kind == "categories":
            x += SPREAD * ((trial.number * values.GOLDEN) % 1.0 - 0.5)
        elif isinstance(param, int | float):
            x = float(param)
        points.append(Point(x, value, trial))
    return points


def draw(info: Info) -> go.Figure:
    """Return the drawing, in `COLUMNS` columns.

    `layout.meta["grids"]` maps 1 to `COLUMNS` to the changes of the layout that show it in as many
    columns: a phone has room for one.
    """
    if info.nothing:
        return theme.empty(info.nothing)
    layout: dict[str, Any] = {"showlegend": False, "margin": {"l": 56, "r": 16, "t": 24, "b": 8}}
    traces: list[dict[str, Any]] = []
    for i, panel in enumerate(info.panels):
        traces += _traces(info, panel, _suffix(i))
        layout[f"xaxis{_suffix(i)}"] = {**_x_axis(panel), "anchor": f"y{_suffix(i)}"}
        layout[f"yaxis{_suffix(i)}"] = {
            "anchor": f"x{_suffix(i)}",
            "range": info.view,
            "nticks": 6,
            **({"matches": "y"} if i else {}),
        }
    if info.outside:
        layout["annotations"] = [theme.outside_note(info.outside, info.direction)]
    count = len(info.panels)
    grids = {str(n): grid(count, n, info.metric) for n in range(1, COLUMNS + 1)}
    layout["meta"] = {"grids": grids}
    for key, value in grids[str(COLUMNS)].items():
        axis, _, attribute = key.rpartition(".")
        if axis:
            layout[axis][attribute] = value
        else:
            layout[key] = value
    return theme.figure(traces, layout)


def grid(panels: int, columns: int, metric: str) -> dict[str, Any]:
    """Return the changes of the layout, `axis.attribute` → value, for this many columns."""
    columns = min(columns, max(panels, 1))
    rows = -(-panels // columns)
    height = rows * ROW_HEIGHT + 32
    inner = height - 32
    width = (1 - GAP * (columns - 1)) / columns
    changes: dict[str, Any] = {"height": height}
    for i in range(panels):
        row, column = divmod(i, columns)
        start = column * (width + GAP)
        top = 1 - row * ROW_HEIGHT / inner
        first = column == 0
        changes[f"xaxis{_suffix(i)}.domain"] = [start, min(start + width, 1.0)]
        changes[f"yaxis{_suffix(i)}.domain"] = [
            max(top - (ROW_HEIGHT - TITLE) / inner, 0.0),
            min(top, 1.0),
        ]
        changes[f"yaxis{_suffix(i)}.showticklabels"] = first
        changes[f"yaxis{_suffix(i)}.title"] = {"text": text.escape(metric, 24) if first else ""}
    return changes


def _suffix(panel: int) -> str:
    return "" if panel == 0 else str(panel + 1)


def _x_axis(panel: Panel) -> dict[str, Any]:
    axis = panel.axis
    layout: dict[str, Any] = {
        "title": {
            "text": text.escape(axis.name, 32) + (" (log)" if axis.kind == "log" else ""),
            "font": {"color": theme.LIGHT.ink, "size": 12.5},
            "standoff": 6,
        },
        "automargin": False,
        "tickangle": 0,
    }
    if axis.kind == "categories":
        ticks, names = axis.ticks()
        room = max(42 // max(len(names), 1), 4)  # characters per label
        layout |= {
            "range": [axis.low, axis.high],
            "tickvals": ticks,
            "ticktext": [text.escape(name, room) for name in names],
            "showgrid": False,
        }
        return layout
    pad = values.PAD * (axis.high - axis.low)
    layout["range"] = [axis.low - pad, axis.high + pad]
    if axis.kind == "log":
        ticks, names = axis.ticks()
        layout |= {"type": "log", "tickvals": [10**t for t in ticks], "ticktext": names}
    else:
        layout["nticks"] = 6
    return layout


def _traces(info: Info, panel: Panel, suffix: str) -> list[dict[str, Any]]:
    best = info.best
    hover = (
        "<b>trial %{customdata[0]}</b><br>"
        f"{text.escape(panel.axis.name, 32)}: %{{customdata[1]}}<br>"
        f"{text.escape(info.metric, 40)}: <b>%{{customdata[2]}}</b><extra></extra>"
    )
    many = info.count > HOVER_PARAMS_UP_TO
    if many:  # only numbers: these are packed
        categories = panel.axis.kind == "categories"  # its marks are spread around their place
        param_line = "" if categories else f"{text.escape(panel.axis.name, 32)}: %{{x:.4~g}}<br>"
        hover = (
            f"<b>trial %{{customdata}}</b><br>{param_line}"
            f"{text.escape(info.metric, 40)}: <b>%{{y:.4~g}}</b><extra></extra>"
        )

    def marks(name: str, points: Sequence[Point], marker: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "xaxis": f"x{suffix}",
            "yaxis": f"y{suffix}",
            "x": [p.x for p in points],
            "y": [p.value for p in points],
            "customdata": [p.trial.number if many else _about(panel, p) for p in points],
            "hovertemplate": hover,
            "marker": marker,
        }

    few = len(panel.points) <= 300
    feasible = [p for p in panel.points if not p.trial.violates_constraint]
    violating = [p for p in panel.points if p.trial.violates_constraint]
    star = [p for p in panel.points if best is not None and p.trial.number == best.number]
    colours = {
        "color": [p.trial.number for p in feasible],
        "colorscale": theme.scale(start=1),
        "size": 7 if few else 4,
        "opacity": 0.85 if few else 0.6,
        "line": {"width": 0.5, "color": theme.LIGHT.surface},
    }
    of_best = {
        "color": theme.LIGHT.best,
        "symbol": theme.BEST_SYMBOL,
        "size": 14,
        "line": {"width": 1.2, "color": theme.LIGHT.surface},
    }
    layers = [
        (theme.INFEASIBLE, violating, theme.infeasible(len(violating))),
        ("complete", feasible, colours),
        ("best", star, of_best),
    ]
    return [marks(*layer) for layer in layers if layer[1]]


def _about(panel: Panel, point: Point) -> list[Any]:
    param = point.trial.params[panel.axis.name]
    return [point.trial.number, text.escape(text.value(param), 40), text.number(point.value)]


def table(info: Info) -> text.Table:
    """Return, per parameter, where the better half of the trials lies, and the best trial."""
    rows = []
    for panel in info.panels:
        good = _better_half(panel.points, info.direction)
        best = info.best.params.get(panel.axis.name) if info.best is not None else None
        has_best = info.best is not None and panel.axis.name in info.best.params
        rows.append(
            (
                text.clean(panel.axis.name),
                _extent(panel.axis, [p.trial.params[panel.axis.name] for p in panel.points]),
                _extent(panel.axis, [p.trial.params[panel.axis.name] for p in good]),
                text.value(best) if has_best else "not set",
            )
        )
    return text.Table(
        columns=("parameter", "tried", "better half", "best trial"),
        rows=tuple(rows),
        note="The middle half of the values, or the categories by frequency.",
    )


def _better_half(points: Sequence[Point], direction: Direction) -> list[Point]:
    if not points:
        return []
    middle = median(p.value for p in points)
    return [p for p in points if not better(direction, middle, p.value)]


def _extent(axis: axes.Axis, params: Sequence[ParamValue]) -> str:
    if not params:
        return "–"
    if axis.kind != "categories":
        ordered = sorted(v for v in params if isinstance(v, int | float))
        low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4 - 1]
        low, high = min(low, high), max(low, high)
        return text.number(low) if low == high else f"{text.number(low)} … {text.number(high)}"
    counts = [
        (c, sum(axis.position(v) == i for v in params)) for i, c in enumerate(axis.categories)
    ]
    used = sorted((pair for pair in counts if pair[1]), key=lambda pair: -pair[1])
    listed = ", ".join(f"{text.value(c)} ({n})" for c, n in used[:6])
    return listed + (f" and {len(used) - 6} more" if len(used) > 6 else "")
