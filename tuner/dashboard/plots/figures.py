"""A figure's name → the figure of a selection of trials, with its words and what a brush means.

Each function takes what it needs while nobody changes the columns, and returns what draws it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from tuner.dashboard.plots import selection
from tuner.database.engine import Database
from tuner.database.readers import columns, spending
from tuner.database.readers.columns import NEVER
from tuner.database.readers.live import STATES, LiveTrials, moment
from tuner.figures import (
    axes,
    burndown,
    captions,
    contour,
    curves,
    edf,
    heat,
    history,
    importance,
    parallel,
    pareto,
    rank,
    registry,
    slices,
    text,
    timeline,
)
from tuner.figures.figure import Drawing, Figure, InfoT, Sample
from tuner.search.effects import Effect
from tuner.search.importances import baselines, shares
from tuner.trials import Report, Study, Trial, TrialState

POINTS = 4_000  # of a scatter: more say nothing in a plot of this size, and weigh on every refresh
HISTORY = 2_000  # of what a page shows first
PLANE = 2_500
LINES = 1_200
BARS = 2_000
CURVES = 600  # trials whose reports are read


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at."""

    study: Study
    live: LiveTrials
    chosen: selection.Mask
    effects: Mapping[str, Effect] | None
    database: Database
    x: str | None = None  # parameters of a plane, objectives of a front
    y: str | None = None

    @property
    def importances(self) -> dict[str, float] | None:
        """Parameter → share, for the order of axes."""
        return shares(self.effects)

    @property
    def axes(self) -> dict[str, Any]:
        """How figures place parameters."""
        logs = frozenset(name for name, p in self.live.params.items() if p.log)
        return {"log_params": logs, "importances": self.importances}

    @property
    def grey(self) -> str:
        """What the caption says of complete trials that violate a constraint, if there are any."""
        found = self.chosen & self.live.complete & self.live.violated
        return " Hollow grey marks violate a constraint." if found.any() else ""

    def picked(self, limit: int, *states: TrialState) -> list[Trial]:
        """Few enough of the chosen trials, of these states if any are named."""
        chosen = self.chosen
        if states:
            chosen = chosen & np.isin(self.live.state, [STATES.index(s) for s in states])
        return self.live.trials(selection.pick(self.live, chosen, limit))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure for a page; without a drawing, the caption says why."""

    caption: str
    figure: Any = None
    table: text.Table | None = None
    # what a brush selects, an entry a subplot: {"x": {"column": …, "kind": …, "categories": …}, …}
    brush: Sequence[Mapping[str, Any]] = ()


Draw = Callable[[], Drawn]


def _drawn(
    info: InfoT,
    drawing: Drawing[InfoT],
    caption: str,
    brush: Sequence[Mapping[str, Any]] = (),
) -> Drawn:
    if info.nothing:
        return Drawn(info.nothing)
    return Drawn(caption, drawing.draw(info), drawing.table(info), brush)


def _column(name: str) -> dict[str, Any]:
    return {"column": name, "kind": "linear"}


def _axis(axis: axes.Axis, *, positions: bool = True) -> dict[str, Any]:
    """`positions`: whether the drawing has log10 where the axis is logarithmic."""
    kind = "linear" if axis.kind == "log" and not positions else axis.kind
    return {
        "column": f"params.{axis.name}",
        "kind": kind,
        "categories": list(axis.categories),
    }


def _history(look: Look) -> Draw:
    trials, total = look.picked(HISTORY), int(look.chosen.sum())
    grey = look.grey

    def draw() -> Drawn:
        found = history.info(trials, look.study)
        caption = captions.of_history(found) + _part(len(trials), total) + grey
        return _drawn(found, history, caption, [{"x": _column("number"), "y": _column("value")}])

    return draw


def _part(drawn: int, total: int) -> str:
    if drawn >= total:
        return ""
    return f" Shows {drawn:,} of {total:,} trials, with every improvement."


def _curves(look: Look) -> Draw:
    drawn = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAILED)
    trials = look.picked(CURVES, *drawn)
    total = int(look.chosen.sum())

    def draw() -> Drawn:
        with look.database.statement() as connection:
            reports = columns.reports_of(connection, look.study.id, [t.number for t in trials])
        found = curves.info(_with_reports(trials, reports), look.study)
        found = replace(found, total=max(total, found.total))
        return _drawn(found, curves, captions.of_curves(found))

    return draw


def _with_reports(trials: Sequence[Trial], reports: columns.Reports) -> list[Trial]:
    at = {t.number: [] for t in trials}  # type: dict[int, list[Report]]
    for number, step, value in zip(
        reports.numbers.tolist(), reports.steps.tolist(), reports.values.tolist(), strict=True
    ):
        at[number].append(Report(step, value))
    return [replace(t, reports=tuple(at[t.number])) for t in trials]


def _importance(look: Look) -> Draw:
    effects = look.effects
    ended = int(look.live.comparable.sum())

    def draw() -> Drawn:
        found = importance.info(
            shares(effects), baselines(effects), metric=look.study.metric, ended=ended
        )
        return _drawn(found, importance, captions.of_importance(found))

    return draw


def _burndown(look: Look) -> Draw:
    ended = look.live.finished[look.live.finished != NEVER]
    moments = [at for micros in ended.tolist() if (at := moment(micros)) is not None]

    def draw() -> Drawn:
        found = burndown.info(moments, look.study)
        return _drawn(found, burndown, captions.of_burndown(found))

    return draw


def _parallel(look: Look) -> Draw:
    trials = look.picked(LINES, TrialState.COMPLETE)
    total = int((look.chosen & look.live.complete).sum())

    def draw() -> Drawn:
        found = parallel.info(trials, look.study, **look.axes)
        found = replace(found, total=total)
        by_name = {a.name: a for a in axes.axes(found.trials, look.study, **look.axes)}
        brush = [_axis(by_name[d.name]) for d in found.dimensions] + [_column("value")]
        return _drawn(found, parallel, captions.of_parallel(found), [{"dimensions": brush}])

    return draw


def _slices(look: Look) -> Draw:
    trials = look.picked(POINTS, TrialState.COMPLETE)
    total = int((look.chosen & look.live.complete).sum())
    grey = look.grey

    def draw() -> Drawn:
        found = slices.info(trials, look.study, limit=3 * POINTS // 2, **look.axes)
        found = replace(found, total=total)
        brush = [
            {"x": _axis(panel.axis, positions=False), "y": _column("value")}
            for panel in found.panels
        ]
        return _drawn(found, slices, captions.of_slices(found) + grey, brush)

    return draw


def _plane(
    look: Look, drawing: Drawing[contour.Info], caption: Callable[[contour.Info], str]
) -> Draw:
    trials = look.picked(PLANE, TrialState.COMPLETE)

    def draw() -> Drawn:
        found = contour.info(trials, look.study, x=look.x, y=look.y, **look.axes)
        brush = []
        if found.axes is not None:
            brush = [{"x": _axis(found.axes[0]), "y": _axis(found.axes[1])}]
        return _drawn(found, drawing, caption(found), brush)

    return draw


def _edf(look: Look) -> Draw:
    reached = look.live.values[look.chosen & look.live.complete, 0].tolist()

    def draw() -> Drawn:
        found = edf.info({look.study.name: reached}, look.study)
        return _drawn(found, edf, captions.of_edf(found), [{"x": _column("value")}])

    return draw


def _pareto(look: Look) -> Draw:
    trials = look.picked(POINTS, TrialState.COMPLETE)
    x, y = _objective(look, look.x, 0), _objective(look, look.y, 1)
    grey = look.grey

    def draw() -> Drawn:
        found = pareto.info(trials, look.study, x, y)
        brush = [{"x": _column(f"value.{x}"), "y": _column(f"value.{y}")}]
        return _drawn(found, pareto, captions.of_pareto(found) + grey, brush)

    return draw


def _objective(look: Look, wanted: str | None, default: int) -> int:
    known = wanted is not None and wanted.isascii() and wanted.isdigit()
    index = int(wanted or 0) if known else default
    return index if index < len(look.study.directions) else default


def _timeline(look: Look) -> Draw:
    trials, now = look.picked(BARS, *timeline.STATES), datetime.now(UTC)
    total = int(look.chosen.sum())

    def draw() -> Drawn:
        with look.database.statement() as connection:
            devices = spending.devices(connection, look.study.id, [t.number for t in trials])
        found = replace(timeline.info(trials, now, devices=devices), total=total)
        return _drawn(found, timeline, captions.of_timeline(found))

    return draw


def _registered(look: Look, figure: Figure[Any]) -> Draw:
    """A figure without more to it here than its trials."""
    trials, now = look.picked(POINTS), datetime.now(UTC)
    total = int(look.chosen.sum())

    def draw() -> Drawn:
        sample = Sample(look.study, trials, now=now, baselines=baselines(look.effects), **look.axes)
        found = figure.info(sample)
        return _drawn(found, figure.module, figure.caption(found) + _part(len(trials), total))

    return draw


# figures that read more than trials, or that show a choice of trials when they are brushed
_PREPARED: Mapping[str, Callable[[Look], Draw]] = MappingProxyType(
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
        "timeline": _timeline,
    }
)


def prepare(name: str, look: Look) -> Draw:
    """Take what a registered figure needs; the result draws it."""
    prepared = _PREPARED.get(name)
    if prepared is not None:
        return prepared(look)
    return _registered(look, registry.FIGURES[name])


def unplaced() -> list[Figure[Any]]:
    """Registered figures that no template places: the Analyse tab shows them at its end."""
    return [figure for name, figure in registry.FIGURES.items() if name not in _PREPARED]
