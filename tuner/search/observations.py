"""What a model learns from: every trial with a report, in any state, by the value it would reach.

A trial that was pruned or still runs has reports up to some epoch only. Its final value is
extrapolated: its best value so far, less the drop that other trials have shown from one rung to
the next, up to the end. The further it is from its end, the noisier that value is. Further
objectives are extrapolated alike, from their latest values; a trial that has not reported all of
them teaches once it is complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.database.readers.columns import NEVER, Columns, Floats, Integers, Reports
from tuner.search.feasibility import ConstraintValues
from tuner.search.record import Record, Space
from tuner.search.tried import Tried
from tuner.trials import Cause, Direction, TrialState

REDUCTION = 3  # ratio of two rungs
RUNGS = 24  # 3²³ epochs are more than any trial has
PAIRS = 400  # newest trials that a drop is the median of
MIN_PAIRS = 2  # with fewer, no drop is known

WORSE = 0.1  # of the spread of values, by which a trial that failed is worse than the worst

_WAITING, _PENDING, _OBSERVED, _HOPELESS = range(4)
_STEPS = REDUCTION ** np.arange(RUNGS)


@dataclass(frozen=True, slots=True)
class Observations:
    """Trials with a value.

    Args:
        numbers: Their numbers [N], ascending.
        params: Their parameters [N, p], in Optuna's internal representation.
        values: The values they have reached or would reach [N, objectives]; smaller is better.
        missing: How many rungs were extrapolated [N].
        seconds: Seconds per step of a trial that has ended, of a whole one without reports [N];
            NaN where that is not known.

    """

    numbers: Integers
    params: Floats
    values: Floats
    missing: Integers
    seconds: Floats

    def take(self, rows: NDArray[Any]) -> "Observations":
        """Select some of them."""
        return Observations(
            self.numbers[rows],
            self.params[rows],
            self.values[rows],
            self.missing[rows],
            self.seconds[rows],
        )


class Observer:
    """Keeps what a model learns from; a watcher of the study's history."""

    def __init__(self, names: Sequence[str], directions: Sequence[Direction], tried: Tried) -> None:
        """`names` are the searched parameters, NaN in trials that do not have them."""
        self._names = list(names)
        # 1 for an objective that is minimized, -1 for one that is maximized
        self.signs = np.array([1.0 if d == "minimize" else -1.0 for d in directions])
        self._fits = tried.fits
        self.constraints = ConstraintValues()
        self.fitted: tuple[int, Any] | None = None  # what a model has fitted to so many trials
        self._size = 0
        self._columns: dict[int, NDArray[np.int64] | None] = {}  # by a space's identity
        self._params = np.empty((0, len(self._names)))
        self._status = np.empty(0, np.int8)
        self._best = np.empty(0)  # of all reports
        self._final = np.empty((0, len(directions)))  # NaN unless the trial is complete
        self._last_step = np.empty(0, np.int64)  # of the reports; 0 without one
        self._rungs = np.empty((0, RUNGS))  # best value up to each rung; NaN where not reached
        # latest values of the other objectives at each rung, and of all reports
        self._other_rungs = np.empty((0, RUNGS, len(directions) - 1))
        self._latest = np.empty((0, len(directions) - 1))
        self._ended = np.empty(0, np.int64)  # µs since 1970, NEVER while it runs
        self._seconds = np.empty(0)  # from its start to its end

    def __len__(self) -> int:
        """The number of trials with a value."""
        return int((self._status[: self._size] >= _OBSERVED).sum())

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many finished trials."""
        self.constraints.load(finished)
        order = self._order(space)
        numbers = finished.numbers
        if order is None or not len(numbers):
            return
        self._reserve(int(numbers[-1]) + 1)
        self._params[numbers] = np.nan
        self._params[np.ix_(numbers, order)] = finished.params
        self._rungs[numbers], self._last_step[numbers] = np.nan, 0
        self._best[numbers], self._final[numbers] = np.nan, np.nan
        self._other_rungs[numbers], self._latest[numbers] = np.nan, np.nan
        self._ended[numbers] = finished.finished
        has_times = (finished.started != NEVER) & (finished.finished != NEVER)
        self._seconds[numbers] = np.where(
            has_times, (finished.finished - finished.started) / 1e6, np.nan
        )
        if len(reports.numbers):
            self._load_reports(numbers, reports)
        if finished.state == TrialState.COMPLETE and finished.values is not None:
            self._final[numbers] = _finite(self.signs * finished.values)
        if finished.state == TrialState.FAILED:
            self._status[numbers] = _HOPELESS if finished.infeasible else _WAITING
            return
        known = ~np.isnan(self._final[numbers, 0]) | self._has_reports(numbers)
        self._status[numbers] = np.where(known, _OBSERVED, _WAITING)

    def _load_reports(self, numbers: Integers, reports: Reports) -> None:
        values, others = _finite(self.signs[0] * reports.values), self._others(reports.metrics)
        first = np.searchsorted(reports.numbers, numbers, "left")
        last = np.searchsorted(reports.numbers, numbers, "right")
        for number, a, b in zip(numbers.tolist(), first.tolist(), last.tolist(), strict=True):
            if b > a:
                latest = None if others is None else others[a:b]
                self._set_reports(number, reports.steps[a:b], values[a:b], latest)

    def _others(self, metrics: Floats | None) -> Floats | None:
        """Return the other objectives [reports, objectives - 1]; None if there are none to read."""
        count = len(self.signs) - 1
        if not count or metrics is None or not metrics.size:
            return None
        return self.signs[1:] * metrics[:, :count]

    def _has_reports(self, numbers: Any) -> Any:
        """Whether trials have reported all objectives."""
        return ~np.isnan(self._best[numbers]) & ~np.isnan(self._latest[numbers]).any(-1)

    def note(self, record: Record) -> None:
        """Take note of a trial's parameters, reports and state."""
        self.constraints.note(record)
        order, row = self._order(record.space), record.row
        if order is None:
            return
        number = record.number
        self._reserve(number + 1)
        self._params[number] = np.nan
        self._params[number, order] = row.params
        self._best[number], self._final[number] = np.nan, np.nan
        self._rungs[number], self._last_step[number] = np.nan, 0
        self._other_rungs[number], self._latest[number] = np.nan, np.nan
        self._ended[number] = (
            NEVER if row.finished_at is None else int(row.finished_at.timestamp() * 1e6)
        )
        self._seconds[number] = np.nan
        if row.started_at is not None and row.finished_at is not None:
            self._seconds[number] = (row.finished_at - row.started_at).total_seconds()
        if row.steps and row.report_values:
            values = _finite(self.signs[0] * np.asarray(row.report_values, np.float64))
            others = self._others(np.asarray(row.measured, np.float64) if row.measured else None)
            self._set_reports(number, np.asarray(row.steps, np.int64), values, others)
        if row.state == TrialState.COMPLETE and row.values:
            self._final[number] = _finite(self.signs * np.asarray(row.values, np.float64))
        self._status[number] = self._status_of(number, row.state, row.cause)

    def _status_of(self, number: int, state: str, cause: str | None) -> int:
        if state == TrialState.FAILED:
            return _HOPELESS if cause and Cause(cause).blames_parameters else _WAITING
        if self._has_reports(number) or not np.isnan(self._final[number, 0]):
            return _OBSERVED
        return _PENDING if state == TrialState.RUNNING else _WAITING

    def _set_reports(
        self, number: int, steps: Integers, values: Floats, others: Floats | None
    ) -> None:
        running = np.minimum.accumulate(values)
        self._best[number], self._last_step[number] = running[-1], steps[-1]
        reached = int(np.searchsorted(_STEPS, steps[-1], "right"))
        if reached:
            places = np.searchsorted(steps, _STEPS[:reached], "right") - 1
            self._rungs[number, :reached] = np.where(
                places >= 0, running[np.maximum(places, 0)], running[0]
            )
            if others is not None:
                self._other_rungs[number, :reached] = others[np.maximum(places, 0)]
        if others is not None:
            self._latest[number] = others[-1]

    def _reserve(self, size: int) -> None:
        if size > len(self._status):
            more = max(size, 2 * len(self._status), 64) - len(self._status)
            self._params = np.pad(self._params, ((0, more), (0, 0)))
            self._status = np.pad(self._status, (0, more))
            self._best = np.pad(self._best, (0, more), constant_values=np.nan)
            self._final = np.pad(self._final, ((0, more), (0, 0)), constant_values=np.nan)
            self._last_step = np.pad(self._last_step, (0, more))
            self._rungs = np.pad(self._rungs, ((0, more), (0, 0)), constant_values=np.nan)
            self._other_rungs = np.pad(
                self._other_rungs, ((0, more), (0, 0), (0, 0)), constant_values=np.nan
            )
            self._latest = np.pad(self._latest, ((0, more), (0, 0)), constant_values=np.nan)
            self._ended = np.pad(self._ended, (0, more), constant_values=NEVER)
            self._seconds = np.pad(self._seconds, (0, more), constant_values=np.nan)
        self._size = max(self._size, size)

    def _order(self, space: Space) -> NDArray[np.int64] | None:
        """Return the columns of a space's parameters; None if it is not the study's."""
        if id(space) not in self._columns:
            fits = self._fits(space)
            order = [self._names.index(name) for name in space] if fits else []
            self._columns[id(space)] = np.array(order, np.int64) if fits else None
        return self._columns[id(space)]

    def pending(self) -> Floats:
        """Return the parameters [M, p] of running trials without a report."""
        rows: Floats = self._params[: self._size][self._status[: self._size] == _PENDING]
        return rows

    @property
    def running(self) -> int:
        """The number of running trials."""
        status, ended = self._status[: self._size], self._ended[: self._size]
        return int(((status >= _PENDING) & (status != _HOPELESS) & (ended == NEVER)).sum())

    def observations(self) -> Observations:
        """Return all trials with a value."""
        return self._extrapolate(np.flatnonzero(self._status[: self._size] >= _OBSERVED))

    def first_ended(self, count: int) -> Observations:
        """Return the `count` trials that ended first, with values as if there were no others.

        What follows from these does not change while the study goes on.
        """
        ended = self._ended_numbers()
        order = np.argsort(self._ended[ended], kind="stable")
        return self._extrapolate(np.sort(ended[order[:count]]))

    def ended(self) -> int:
        """Return the number of ended trials with a value."""
        return len(self._ended_numbers())

    def _ended_numbers(self) -> Integers:
        status, ended = self._status[: self._size], self._ended[: self._size]
        return np.flatnonzero((status >= _OBSERVED) & (ended != NEVER))

    def _extrapolate(self, numbers: Integers) -> Observations:
        hopeless = self._status[numbers] == _HOPELESS
        values, missing = self._extrapolate_reports(numbers)
        if hopeless.any():
            others = values[~hopeless] if not hopeless.all() else np.zeros((1, values.shape[1]))
            worst, spread = others.max(0), np.ptp(others, axis=0)
            values[hopeless] = worst + np.where(spread > 0, WORSE * spread, 1.0)
            missing[hopeless] = 0
        seconds = self._seconds[numbers] / np.maximum(self._last_step[numbers], 1)
        return Observations(numbers, self._params[numbers], values, missing, seconds)

    def _extrapolate_reports(self, numbers: Integers) -> tuple[Floats, Integers]:
        rungs, final = self._rungs[numbers], self._final[numbers]
        is_complete = ~np.isnan(final[:, 0])
        reached = (~np.isnan(rungs)).sum(1)
        # the last rung is the last that complete trials reach before their end
        before_end = np.searchsorted(_STEPS, self._last_step[numbers[is_complete]], "left")
        top = int(before_end.max()) if is_complete.any() else int(reached.max(initial=0))
        reached = np.minimum(reached, top)
        level = np.clip(reached - 1, 0, max(top - 1, 0))
        values = final.copy()
        to_come = _drops(rungs[:, :top], final[:, 0])[level]
        values[:, 0] = np.where(is_complete, final[:, 0], self._best[numbers] - to_come)
        for k in range(1, values.shape[1]):
            at_rungs, latest = self._other_rungs[numbers, :top, k - 1], self._latest[numbers, k - 1]
            # costs grow or stay in proportion, whatever their unit
            known = self.signs[k] * np.append(latest, final[:, k])
            is_proportional = bool((known[~np.isnan(known)] > 0).all())
            if is_proportional:
                at_rungs, end = np.log(np.abs(at_rungs)), np.log(np.abs(final[:, k]))
                extrapolated = latest * np.exp(-_drops(at_rungs, end)[level])
            else:
                extrapolated = latest - _drops(at_rungs, final[:, k])[level]
            values[:, k] = np.where(is_complete, final[:, k], extrapolated)
        return values, np.where(is_complete, 0, top - level)


def _drops(rungs: Floats, final: Floats) -> Floats:
    """Return by how much values drop from each rung [N, rungs] to the end: medians [rungs + 1]."""
    top = rungs.shape[1]
    levels = np.column_stack([rungs, final])
    drops = np.zeros(top)
    for level in range(top):
        after = levels[:, level + 1]
        after = np.where(np.isnan(after), final, after)
        both = np.flatnonzero(~np.isnan(levels[:, level]) & ~np.isnan(after))[-PAIRS:]
        if len(both) >= MIN_PAIRS:
            drops[level] = float(np.median(levels[both, level] - after[both]))
    return np.append(np.cumsum(drops[::-1])[::-1], 0.0)


def _finite(values: Floats) -> Floats:
    """Return values with NaN, and infinities beyond any other, as the largest float."""
    largest = np.finfo(np.float64).max / 4
    return np.clip(np.nan_to_num(values, nan=largest), -largest, largest)
