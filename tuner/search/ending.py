"""Why a study ends before its budget is used: its target is reached or its patience is exhausted.

Updated as trials finish.
"""

import json
import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from tuner.database.attributes import has_constraints, violate_constraints
from tuner.database.readers.columns import NEVER, Columns, Reports
from tuner.search.record import Record, Space
from tuner.study_file.messages import counted
from tuner.study_file.study import Budget
from tuner.trials import Direction, Trial, TrialState


class Ending:
    """The best trial so far and how many have finished since."""

    def __init__(self, budget: Budget, direction: Direction) -> None:
        self._budget = budget
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._best: tuple[float, int, float] | None = None  # score, number, when it finished
        self._times: list[float] = []  # when trials finished, in seconds since 1970, sorted
        self._finished: dict[int, float] = {}

    @property
    def is_possible(self) -> bool:
        """Whether anything but its budget can end the study."""
        return self._budget.target is not None or self._budget.patience is not None

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many trials that have ended, or are paused: those have not improved."""
        times = np.where(finished.finished == NEVER, -math.inf, finished.finished / 1e6).tolist()
        numbers = finished.numbers.tolist()
        for number in numbers if self._finished else ():
            self._forget(number)
        self._finished.update(zip(numbers, times, strict=True))
        self._times = sorted([*self._times, *times])  # quick, for most of them are in order
        if finished.state == TrialState.COMPLETE and finished.values is not None:
            values = np.nan_to_num(self._sign * finished.values[:, 0], nan=math.inf)
            for number, stored in finished.system_attrs.items():
                if violate_constraints(stored):
                    values[np.searchsorted(finished.numbers, int(number))] = math.inf
            first = int(np.argmin(values))
            self._improve(float(values[first]), numbers[first], times[first])

    def note(self, record: Record) -> None:
        """Take note of a trial: it may have finished, or be retried."""
        row = record.row
        values = row.values
        if has_constraints(row.system_attrs) and violate_constraints(json.loads(row.system_attrs)):
            values = None
        self.take(record.number, TrialState(row.state), values, row.finished_at)

    def take(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        finished_at: datetime | None,
    ) -> None:
        """Take note of a trial, given by what counts of it: no values, if it is infeasible."""
        self._forget(number)
        if state.is_open:
            return
        time = -math.inf if finished_at is None else finished_at.timestamp()
        self._finished[number] = time
        insort(self._times, time)
        if state is TrialState.COMPLETE and values:
            score = self._sign * values[0]
            self._improve(math.inf if math.isnan(score) else score, number, time)

    def _forget(self, number: int) -> None:
        before = self._finished.pop(number, None)
        if before is not None:
            del self._times[bisect_right(self._times, before) - 1]

    def _improve(self, score: float, number: int, time: float) -> None:
        # its time may be read back from the database, so an equal trial replaces itself
        if self._best is None or (score, number) <= self._best[:2]:
            self._best = score, number, time

    def reason(self) -> str | None:
        """Return why the study is over, as far as is known; None if it is not."""
        if self._best is None or self._best[0] == math.inf:
            return None
        score, number, time = self._best
        target, patience = self._budget.target, self._budget.patience
        if target is not None and score <= self._sign * target:
            value = self._sign * score
            return f"trial {number} reached the target {target:g} with {value:.6g}"
        if patience is not None:
            later = len(self._times) - bisect_right(self._times, time)
            if later >= patience:
                have = "has" if later == 1 else "have"
                trials = f"{counted(later, 'trial')} {have} finished"
                return f"{trials} without an improvement on trial {number}"
        return None


def reason_among(trials: Iterable[Trial], budget: Budget, direction: Direction) -> str | None:
    """Return why a study with these trials is over before its budget is used; else None."""
    ending = Ending(budget, direction)
    for trial in trials:
        values = None if trial.violates_constraint else trial.values
        ending.take(trial.number, trial.state, values, trial.finished_at)
    return ending.reason()
