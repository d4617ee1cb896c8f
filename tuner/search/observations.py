"""What a model learns from: every trial with a report, in any state, by the value it would reach.

The final value of a trial that was pruned or still runs is extrapolated (`learning_curves.py`). The
further it is from its end, the less certain that value is. Further objectives are extrapolated
alike, from their latest values; a trial that has not reported all of them teaches once it is
complete.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.database.readers.columns import NEVER, Columns, Floats, Integers, Reports
from tuner.search.constraint_values import ConstraintValues
from tuner.search.learning_curves import LearningCurves, finite
from tuner.search.record import Record, Space
from tuner.search.tried import Tried
from tuner.trials import Cause, Direction, TrialState

WORSE = 0.1  # of the spread of values, by which a trial that failed is worse than the worst

# numbers [N] and values [N, objectives] of trials → places of those that are chosen
Choose = Callable[[Integers, Floats], Integers]

_WAITING, _PENDING, _OBSERVED, _HOPELESS = range(4)


@dataclass(frozen=True, slots=True)
class Observations:
    """Trials with a value.

    Args:
        numbers: Their numbers [N], ascending.
        params: Their parameters [N, p], in Optuna's internal representation.
        values: The values they have reached or would reach [N, objectives]; smaller is better.
        deviations: The standard deviation of each extrapolated value; 0 for complete trials
            [N, objectives].
        seconds: Seconds per step of a trial that has ended, of a whole one without reports [N];
            NaN where that is not known.

    """

    numbers: Integers
    params: Floats
    values: Floats
    deviations: Floats
    seconds: Floats


class Observer:
    """Keeps what a model learns from; a watcher of the study's history."""

    def __init__(
        self,
        names: Sequence[str],
        directions: Sequence[Direction],
        tried: Tried,
        *,
        by_level: bool = False,
    ) -> None:
        """Observe nothing yet.

        Args:
            names: The searched parameters, NaN in trials that do not have them.
            directions: Of the objectives.
            tried: Knows which trials are of the study's space.
            by_level: Steps of reports are levels of fidelity.

        """
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
        # of each objective: only of the first is the best report what counts
        self._curves = [
            LearningCurves(counts_best=not k, by_level=by_level) for k in range(len(directions))
        ]
        self._final = np.empty((0, len(directions)))  # NaN unless the trial is complete
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
        self._final[numbers] = np.nan
        self._ended[numbers] = finished.finished
        has_times = (finished.started != NEVER) & (finished.finished != NEVER)
        if len(finished.attempts):  # the last one of several has not trained all epochs
            has_times &= finished.attempts == 1
        self._seconds[numbers] = np.where(
            has_times, (finished.finished - finished.started) / 1e6, np.nan
        )
        if finished.state == TrialState.COMPLETE and finished.values is not None:
            self._final[numbers] = finite(self.signs * finished.values)
        self._set_curves(numbers, reports)
        if finished.state == TrialState.FAILED:
            self._status[numbers] = _HOPELESS if finished.infeasible else _WAITING
            return
        known = ~np.isnan(self._final[numbers, 0]) | self._has_reports(numbers)
        self._status[numbers] = np.where(known, _OBSERVED, _WAITING)

    def _set_curves(self, numbers: Integers, reports: Reports) -> None:
        metrics = reports.metrics
        if metrics is None or not metrics.size:
            metrics = np.full((len(reports.numbers), len(self.signs)), np.nan)
        columns = [reports.values, *metrics.T[: len(self.signs) - 1]]
        for k, (curves, column) in enumerate(zip(self._curves, columns, strict=True)):
            known = slice(None) if not k else ~np.isnan(column)
            signed = self.signs[k] * column[known]
            own = Reports(reports.numbers[known], reports.steps[known], signed)
            curves.set(numbers, own, self._final[numbers, k])

    def _has_reports(self, numbers: Any) -> Any:
        """Whether trials have reported all objectives."""
        return np.all([~np.isnan(curves.last[numbers]) for curves in self._curves], axis=0)

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
        self._final[number] = np.nan
        self._ended[number] = (
            NEVER if row.finished_at is None else int(row.finished_at.timestamp() * 1e6)
        )
        self._seconds[number] = np.nan
        is_whole = row.attempt <= 1  # the last of several attempts has not trained all epochs
        if is_whole and row.started_at is not None and row.finished_at is not None:
            self._seconds[number] = (row.finished_at - row.started_at).total_seconds()
        if row.state == TrialState.COMPLETE and row.values:
            self._final[number] = finite(self.signs * np.asarray(row.values, np.float64))
        steps = np.asarray(row.steps or (), np.int64)
        values = np.asarray(row.report_values or (), np.float64)
        metrics = np.asarray(row.measured, np.float64) if row.measured else None
        reports = Reports(np.full(len(steps), number), steps, values, metrics)
        self._set_curves(np.array([number]), reports)
        self._status[number] = self._status_of(number, row.state, row.cause)

    def _status_of(self, number: int, state: str, cause: str | None) -> int:
        if state == TrialState.FAILED:
            return _HOPELESS if cause and Cause(cause).blames_parameters else _WAITING
        if self._has_reports(number) or not np.isnan(self._final[number, 0]):
            return _OBSERVED
        return _PENDING if state == TrialState.RUNNING else _WAITING

    def _reserve(self, size: int) -> None:
        if size > len(self._status):
            more = max(size, 2 * len(self._status), 64) - len(self._status)
            self._params = np.pad(self._params, ((0, more), (0, 0)))
            self._status = np.pad(self._status, (0, more))
            self._final = np.pad(self._final, ((0, more), (0, 0)), constant_values=np.nan)
            for curves in self._curves:
                curves.reserve(len(self._status))
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

    def observations(self, choose: Choose | None = None) -> Observations:
        """Return the trials with a value: all, or those that are chosen by it."""
        return self._extrapolate(np.flatnonzero(self._status[: self._size] >= _OBSERVED), choose)

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

    def _extrapolate(self, numbers: Integers, choose: Choose | None = None) -> Observations:
        hopeless = self._status[numbers] == _HOPELESS
        values, deviations = self._extrapolate_reports(numbers)
        if hopeless.any():
            others = values[~hopeless] if not hopeless.all() else np.zeros((1, values.shape[1]))
            worst, spread = others.max(0), np.ptp(others, axis=0)
            values[hopeless] = worst + np.where(spread > 0, WORSE * spread, 1.0)
            deviations[hopeless] = 0.0
        if choose is not None:
            rows = choose(numbers, values)
            numbers, values, deviations = numbers[rows], values[rows], deviations[rows]
        seconds = self._seconds[numbers] / np.maximum(self._curves[0].last_step[numbers], 1)
        return Observations(numbers, self._params[numbers], values, deviations, seconds)

    def _extrapolate_reports(self, numbers: Integers) -> tuple[Floats, Floats]:
        """Return the expected values and their standard deviations [N, objectives]."""
        expected = [curves.extrapolate(numbers) for curves in self._curves]
        return (
            np.column_stack([e.values for e in expected]),
            np.column_stack([e.deviations for e in expected]),
        )
