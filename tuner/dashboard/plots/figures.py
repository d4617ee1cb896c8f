"""A figure's name → the figure of a selection of trials, with its caption and brush axes.

Drawing has two steps: each function reads what it needs while the study is locked, and returns a
function that draws without the lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from tuner.dashboard.plots.page_figure import Draw, FigureRequest, PageFigure
from tuner.database.readers import columns, spending
from tuner.database.readers.columns import NEVER
from tuner.database.readers.live import moment
from tuner.figures import (
    axes,
    burndown,
    captions,
    contour,
    curves,
    edf,
    heat,
    history,
    hypervolume,
    importance,
    parallel,
    pareto,
    rank,
    registry,
    slices,
    timeline,
)
from tuner.figures.figure import Drawing, Figure, InfoT, Sample
from tuner.search.importances import baselines, shares
from tuner.trials import Report, Trial, TrialState
from tuner.winner.hypervolume import CompleteTrials

POINTS = 4_000  # of a scatter plot: more cannot be told apart, and slow down every refresh
HISTORY = 2_000  # points of the figure that a page shows first
PLANE = 2_500
LINES = 1_200
BARS = 2_000
CURVES = 600  # trials whose reports are read


def _page_figure(
    info: InfoT,
    drawing: Drawing[InfoT],
    caption: str,
    brush: Sequence[Mapping[str, Any]] = (),
) -> PageFigure:
    if info.nothing:
        return PageFigure(info.nothing)
    return PageFigure(caption, drawing.draw(info), drawing.table(info), brush)


def _column(name: str) -> dict[str, Any]:
    return {"column": name, "kind": "linear"}


def _axis(axis: axes.Axis, *, positions: bool = True) -> dict[str, Any]:
    """What a brush on this axis selects; `positions`: the drawing has log10 of a log axis."""
    kind = "linear" if axis.kind == "log" and not positions else axis.kind
    return {
        "column": f"params.{axis.name}",
        "kind": kind,
        "categories": list(axis.categories),
    }


def _history(request: FigureRequest) -> Draw:
    trials, total = request.load_trials(HISTORY), int(request.mask.sum())
    violations_note = request.violations_note

    def draw() -> PageFigure:
        info = history.info(trials, request.study)
        caption = captions.of_history(info) + _count_note(len(trials), total) + violations_note
        return _page_figure(
            info, history, caption, [{"x": _column("number"), "y": _column("value")}]
        )

    return draw


def _count_note(count: int, total: int) -> str:
    if count >= total:
        return ""
    return f" Shows {count:,} of {total:,} trials, with every improvement."


def _curves(request: FigureRequest) -> Draw:
    trials = request.load_trials(CURVES, *curves.STATES)
    total = int(request.mask.sum())

    def draw() -> PageFigure:
        info = curves.info(_with_reports(trials, request), request.study)
        info = replace(info, total=max(total, info.total))
        return _page_figure(info, curves, captions.of_curves(info))

    return draw


def _with_reports(trials: Sequence[Trial], request: FigureRequest) -> list[Trial]:
    with request.database.statement() as connection:
        reports = columns.reports_of(connection, request.study.id, [t.number for t in trials])
    by_number: dict[int, list[Report]] = {t.number: [] for t in trials}
    for number, step, value in zip(
        reports.numbers.tolist(), reports.steps.tolist(), reports.values.tolist(), strict=True
    ):
        by_number[number].append(Report(step, value))
    return [replace(t, reports=tuple(by_number[t.number])) for t in trials]


def _importance(request: FigureRequest) -> Draw:
    effects = request.effects
    ended = int(request.live.comparable.sum())

    def draw() -> PageFigure:
        info = importance.info(
            shares(effects), baselines(effects), metric=request.study.metric, ended=ended
        )
        return _page_figure(info, importance, captions.of_importance(info))

    return draw


def _burndown(request: FigureRequest) -> Draw:
    ended = request.live.finished[request.live.finished != NEVER]
    times = [time for micros in ended.tolist() if (time := moment(micros)) is not None]

    def draw() -> PageFigure:
        info = burndown.info(times, request.study)
        return _page_figure(info, burndown, captions.of_burndown(info))

    return draw


def _parallel(request: FigureRequest) -> Draw:
    trials = request.load_trials(LINES, TrialState.COMPLETE)
    total = int((request.mask & request.live.complete).sum())

    def draw() -> PageFigure:
        info = parallel.info(trials, request.study, **request.axes)
        info = replace(info, total=total)
        by_name = {a.name: a for a in axes.axes(info.trials, request.study, **request.axes)}
        brush = [_axis(by_name[d.name]) for d in info.dimensions] + [_column("value")]
        return _page_figure(info, parallel, captions.of_parallel(info), [{"dimensions": brush}])

    return draw


def _slices(request: FigureRequest) -> Draw:
    trials = request.load_trials(POINTS, TrialState.COMPLETE)
    total = int((request.mask & request.live.complete).sum())
    violations_note = request.violations_note

    def draw() -> PageFigure:
        info = slices.info(trials, request.study, limit=3 * POINTS // 2, **request.axes)
        info = replace(info, total=total)
        brush = [
            {"x": _axis(panel.axis, positions=False), "y": _column("value")}
            for panel in info.panels
        ]
        return _page_figure(info, slices, captions.of_slices(info) + violations_note, brush)

    return draw


def _plane(
    request: FigureRequest, drawing: Drawing[contour.Info], caption: Callable[[contour.Info], str]
) -> Draw:
    trials = request.load_trials(PLANE, TrialState.COMPLETE)

    def draw() -> PageFigure:
        info = contour.info(trials, request.study, x=request.x, y=request.y, **request.axes)
        brush = []
        if info.axes is not None:
            brush = [{"x": _axis(info.axes[0]), "y": _axis(info.axes[1])}]
        return _page_figure(info, drawing, caption(info), brush)

    return draw


def _edf(request: FigureRequest) -> Draw:
    values = request.live.values[request.mask & request.live.complete, 0].tolist()

    def draw() -> PageFigure:
        info = edf.info({request.study.name: values}, request.study)
        return _page_figure(info, edf, captions.of_edf(info), [{"x": _column("value")}])

    return draw


def _pareto(request: FigureRequest) -> Draw:
    trials = request.load_trials(POINTS, TrialState.COMPLETE)
    x, y = _objective(request, request.x, 0), _objective(request, request.y, 1)
    violations_note = request.violations_note

    def draw() -> PageFigure:
        info = pareto.info(trials, request.study, x, y)
        brush = [{"x": _column(f"value.{x}"), "y": _column(f"value.{y}")}]
        return _page_figure(info, pareto, captions.of_pareto(info) + violations_note, brush)

    return draw


def _hypervolume(request: FigureRequest) -> Draw:
    complete = np.flatnonzero(request.live.complete)
    complete = complete[np.argsort(request.live.finished[complete], kind="stable")]
    trials = CompleteTrials(
        complete, request.live.values[complete], ~request.live.violated[complete]
    )
    mask = request.mask[complete]

    def draw() -> PageFigure:
        info = hypervolume.info_of(trials, request.study, mask)
        return _page_figure(info, hypervolume, captions.of_hypervolume(info))

    return draw


def _objective(request: FigureRequest, text: str | None, default: int) -> int:
    is_index = text is not None and text.isascii() and text.isdigit()
    index = int(text or 0) if is_index else default
    return index if index < len(request.study.directions) else default


def _timeline(request: FigureRequest) -> Draw:
    trials, now = request.load_trials(BARS, *timeline.STATES), datetime.now(UTC)
    total = int(request.mask.sum())

    def draw() -> PageFigure:
        with request.database.statement() as connection:
            devices = spending.devices(connection, request.study.id, [t.number for t in trials])
        info = replace(timeline.info(trials, now, devices=devices), total=total)
        return _page_figure(info, timeline, captions.of_timeline(info))

    return draw


def _prepare_registered(request: FigureRequest, figure: Figure[Any]) -> Draw:
    """Prepare a figure that is drawn from trials alone, and from their reports if it says so."""
    trials = request.load_trials(CURVES if figure.by_reports else POINTS)
    now = datetime.now(UTC)
    total = int(request.mask.sum())

    def draw() -> PageFigure:
        sample = Sample(
            request.study,
            _with_reports(trials, request) if figure.by_reports else trials,
            now=now,
            baselines=baselines(request.effects),
            **request.axes,
        )
        info = figure.info(sample)
        return _page_figure(
            info, figure.module, figure.caption(info) + _count_note(len(trials), total)
        )

    return draw


# figures that read more than trials, or that can be brushed
_PREPARED: Mapping[str, Callable[[FigureRequest], Draw]] = MappingProxyType(
    {
        "history": _history,
        "curves": _curves,
        "importance": _importance,
        "burndown": _burndown,
        "parallel": _parallel,
        "slices": _slices,
        "rank": partial(_plane, drawing=rank, caption=captions.of_rank),
        "contour": partial(_plane, drawing=contour, caption=captions.of_contour),
        "heat": partial(_plane, drawing=heat, caption=captions.of_heat),
        "edf": _edf,
        "pareto": _pareto,
        "hypervolume": _hypervolume,
        "timeline": _timeline,
    }
)


def prepare(name: str, request: FigureRequest) -> Draw:
    """Read what a registered figure needs; the result draws it."""
    prepare_own = _PREPARED.get(name)
    if prepare_own is not None:
        return prepare_own(request)
    return _prepare_registered(request, registry.FIGURES[name])


def unplaced() -> list[Figure[Any]]:
    """Registered figures without a place in a template; the tab Analyse shows them at its end."""
    return [figure for name, figure in registry.FIGURES.items() if name not in _PREPARED]
