"""The median stopping rule."""

import math
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np

from tuner.database.readers.columns import Reports
from tuner.search.pruners.pruner import NoPruner, ReportPoint, as_score, as_scores
from tuner.study_file.messages import counted
from tuner.trials import Direction


class MedianPruner(NoPruner):
    """Ends a trial whose best report so far is worse than the median of complete trials' reports at
    the same epoch (the median stopping rule of Vizier; Golovin et al., KDD 2017).
    """

    def __init__(self, direction: Direction, *, min_epochs: int, startup_trials: int) -> None:
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._min_epochs = min_epochs
        self._startup_trials = startup_trials
        self._best: dict[int, float] = {}  # of trials that are not known to be complete
        self._reports: dict[int, dict[int, float]] = {}  # the same trials', by step
        self._complete: set[int] = set()
        self._peers: dict[int, list[float]] = {}  # complete trials' scores by step, sorted
        self._arrived: dict[int, list[float]] = {}  # those that are not among them yet

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
        score = as_score(value, self._sign)
        self._best[number] = max(score, self._best.get(number, -math.inf))
        self._reports.setdefault(number, {})[step] = score

    def complete(self, number: int, reports: Iterable[ReportPoint] = ()) -> None:
        """Take note that a trial ran to its end."""
        if number in self._complete:
            return
        self._complete.add(number)
        self._best.pop(number, None)
        scores = self._reports.pop(number, {})
        for report in reports:
            scores[report.step] = as_score(report.value, self._sign)
        for step, score in scores.items():
            self._arrived.setdefault(step, []).append(score)

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many finished trials."""
        if not complete:
            return
        numbers = np.unique(reports.numbers).tolist()
        if values := [number for number in numbers if number in self._complete]:  # read back
            reports = reports.of(np.setdiff1d(reports.numbers, values))
        self._complete.update(numbers)
        for number in numbers if self._reports else ():
            self._best.pop(number, None)
            self._reports.pop(number, None)
        scores = as_scores(reports.values, self._sign)
        for step in np.unique(reports.steps).tolist():
            self._arrived.setdefault(step, []).extend(scores[reports.steps == step].tolist())

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        if step < self._min_epochs or number in self._complete:
            return False
        peers = self._in_order(step)
        if len(peers) < max(1, self._startup_trials):
            return False
        return self._best[number] < median(_middle(peers))

    def explain(self, number: int, step: int, value: float) -> str:
        """Return the trial's best report and the median that it is compared with."""
        peers = self._in_order(step)
        if self._best[number] == -math.inf:
            return f"median rule: it has no value up to epoch {step} that is a number"
        best, middle = self._sign * self._best[number], self._sign * median(_middle(peers))
        side = "below" if self._sign > 0 else "above"
        return (
            f"median rule: best {best:.4g} up to epoch {step} is {side} the median {middle:.4g} of "
            f"{counted(len(peers), 'complete trial')} there"
        )

    def _in_order(self, step: int) -> list[float]:
        peers = self._peers.setdefault(step, [])
        if arrived := self._arrived.pop(step, None):
            peers += arrived
            peers.sort()  # quick, for most of them are in order
        return peers


def _middle(in_order: list[float]) -> list[float]:
    """What the median is taken of, without the tails: `median` sorts."""
    half = len(in_order) // 2
    return in_order[half : half + 1] if len(in_order) % 2 else in_order[half - 1 : half + 1]
