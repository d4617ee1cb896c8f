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
    curves,
    edf,
    history,
    importance,
    pairs,
    parallel,
    pareto,
    slices,
    text,
    timeline,
)
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


Drawing = Callable[[], Drawn]


def _drawn(found: Any, module: Any, caption: str, brush: Sequence[Mapping[str, Any]] = ()) -> Drawn:
    if found.nothing:
        return Drawn(found.nothing)
    return Drawn(caption, module.draw(found), module.table(found), brush)


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


def _history(look: Look) -> Drawing:
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
    return f" Drawn are {drawn:,} of {total:,}, with every improvement."


def _curves(look: Look) -> Drawing:
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


def _importance(look: Look) -> Drawing:
    effects = look.effects
    ended = int(look.live.comparable.sum())

    def draw() -> Drawn:
        if effects is None:
            return Drawn(captions.why_no_importance_of(ended))
        found = importance.info(shares(effects), baselines(effects))
        return _drawn(found, importance, captions.of_importance(look.study.metric, found))

    return draw


def _burndown(look: Look) -> Drawing:
    ended = look.live.finished[look.live.finished != NEVER]
    moments = [at for micros in ended.tolist() if (at := moment(micros)) is not None]

    def draw() -> Drawn:
        found = burndown.info(moments, look.study)
        return _drawn(found, burndown, captions.of_burndown(found))

    return draw


def _parallel(look: Look) -> Drawing:
    trials = look.picked(LINES, TrialState.COMPLETE)
    total = int((look.chosen & look.live.complete).sum())

    def draw() -> Drawn:
        found = parallel.info(trials, look.study, **look.axes)
        found = replace(found, total=total)
        by_name = {a.name: a for a in axes.axes(found.trials, look.study, **look.axes)}
        brush = [_axis(by_name[d.name]) for d in found.dimensions] + [_column("value")]
        return _drawn(found, parallel, captions.of_parallel(found), [{"dimensions": brush}])

    return draw


def _slices(look: Look) -> Drawing:
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


def _plane(look: Look, kind: str) -> Drawing:
    trials = look.picked(PLANE, TrialState.COMPLETE)

    def draw() -> Drawn:
        found = pairs.info(trials, look.study, x=look.x, y=look.y, **look.axes)
        if found.nothing or found.axes is None:
            return Drawn(found.nothing or "")
        drawing = getattr(pairs, f"draw_{kind}")(found)
        brush = [{"x": _axis(found.axes[0]), "y": _axis(found.axes[1])}]
        return Drawn(captions.OF_PAIRS[kind], drawing, pairs.table(found), brush)

    return draw


def _edf(look: Look) -> Drawing:
    reached = look.live.values[look.chosen & look.live.complete, 0].tolist()

    def draw() -> Drawn:
        found = edf.info({look.study.name: reached}, look.study)
        return _drawn(found, edf, captions.of_edf(look.study), [{"x": _column("value")}])

    return draw


def _pareto(look: Look) -> Drawing:
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


def _timeline(look: Look) -> Drawing:
    trials, now = look.picked(BARS, *timeline.DRAWN), datetime.now(UTC)
    total = int(look.chosen.sum())

    def draw() -> Drawn:
        with look.database.statement() as connection:
            devices = spending.devices(connection, look.study.id, [t.number for t in trials])
        found = timeline.info(trials, now, devices=devices)
        caption = captions.of_timeline(found, total)
        return _drawn(found, timeline, caption)

    return draw


FIGURES: Mapping[str, Callable[[Look], Drawing]] = MappingProxyType(
    {
        "history": _history,
        "curves": _curves,
        "importance": _importance,
        "burndown": _burndown,
        "parallel": _parallel,
        "slices": _slices,
        "rank": partial(_plane, kind="rank"),
        "contour": partial(_plane, kind="contour"),
        "heat": partial(_plane, kind="heat"),
        "edf": _edf,
        "pareto": _pareto,
        "timeline": _timeline,
    }
)
BY_IMPORTANCE = frozenset({"importance", "parallel", "slices", "rank", "contour", "heat"})
