"""Ends what will not become the best, by where its learning curve would end."""

from collections.abc import Iterable, Sequence

import numpy as np

from tuner.database.readers.columns import Reports
from tuner.search.learning_curves import LearningCurves
from tuner.search.pruners.pruner import NoPruner, ReportPoint
from tuner.study_file.messages import counted
from tuner.trials import Direction

DOUBT = 1.645  # standard deviations: the best value is out of reach with a probability of 95 %


class CurvePruner(NoPruner):
    """Ends a trial whose extrapolated value is worse than the best one, with a probability of 95 %.

    Its final value and the uncertainty follow from the curves of the trials that ran on
    (`search/learning_curves.py`), so what is slow, but may still arrive, goes on.
    """

    def __init__(
        self,
        direction: Direction,
        *,
        min_epochs: int,
        startup_trials: int,
        by_level: bool = False,
    ) -> None:
        """At least `startup_trials` must be complete before any trial is ended."""
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._min_epochs = min_epochs
        self._startup_trials = startup_trials
        self._curves = LearningCurves(by_level=by_level)
        self._reports: dict[
            int, dict[int, float]
        ] = {}  # of trials that are not known to have ended
        self._complete: set[int] = set()

    def observe(
        self,
        number: int,
        step: int,
        value: float,
        others: Sequence[float] = (),
        violation: float = 0.0,
    ) -> None:
        """Take note of a report."""
        if number in self._complete:  # read back from the database
            return
        self._reports.setdefault(number, {})[step] = value
        self._set(number)

    def complete(self, number: int, reports: Iterable[ReportPoint] = ()) -> None:
        """Take note that a trial ran to its end."""
        if number in self._complete:
            return
        for report in reports:
            self._reports.setdefault(number, {})[report.step] = report.value
        if self._reports.get(number):
            self._complete.add(number)
            self._set(number)
        self._reports.pop(number, None)

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many finished trials."""
        numbers = np.unique(reports.numbers)
        if not len(numbers):
            return
        for number in numbers.tolist() if self._reports else ():
            self._reports.pop(number, None)
        self._curves.reserve(int(numbers[-1]) + 1)
        signed = Reports(reports.numbers, reports.steps, self._sign * reports.values)
        self._curves.set(numbers, signed, np.full(len(numbers), np.nan))
        if complete:
            self._complete.update(numbers.tolist())
            self._curves.final[numbers] = self._curves.last[numbers]

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        if step < self._min_epochs or number in self._complete:
            return False
        if len(self._complete) < max(1, self._startup_trials):
            return False
        expected, deviation, best = self._expect(number)
        return expected - DOUBT * deviation > best

    def explain(self, number: int, step: int, value: float) -> str:
        """Return what the trial was expected to reach."""
        expected, deviation, best = self._expect(number)
        least = self._sign * (expected - DOUBT * deviation)
        basis = counted(len(self._complete), "complete trial")
        return (
            f"expected to end at {self._sign * expected:.4g}, at best at {least:.4g} (95 %), by "
            f"the curves of {basis}; the best is {self._sign * best:.4g}"
        )

    def _set(self, number: int) -> None:
        if number >= len(self._curves.last):
            self._curves.reserve(2 * number + 1)
        steps, values = zip(*sorted(self._reports[number].items()), strict=True)
        reports = Reports(
            np.full(len(steps), number), np.array(steps), self._sign * np.array(values, np.float64)
        )
        self._curves.set(np.array([number]), reports, np.array([np.nan]))
        if number in self._complete:
            self._curves.final[number] = self._curves.last[number]

    def _expect(self, number: int) -> tuple[float, float, float]:
        """Return the trial's expected value, its deviation, and the best; smaller is better."""
        known = np.flatnonzero(~np.isnan(self._curves.last))
        expected = self._curves.extrapolate(known)
        place = int(np.searchsorted(known, number))
        best = float(self._curves.last[known].min())
        return float(expected.values[place]), float(expected.deviations[place]), best
