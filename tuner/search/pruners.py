"""When to end a trial early: decided from reports that the worker already holds, without a query.

A pruner is fed every report of the study that this worker learns of, its own at once and those of
other workers as it reads them. Values are on the objective's own scale; NaN is always worst. Scores
are kept sorted, so an answer does not take longer when the study is long.
"""

import math
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

import numpy as np

from tuner.database.readers.columns import Floats, Reports
from tuner.study_file.study import Pruner as PrunerSpec
from tuner.trials import Direction


class NoPruner:
    """Every trial runs to its end."""

    def observe(self, number: int, step: int, value: float) -> None:
        """Take note of a report."""

    def complete(self, number: int, reports: Iterable[tuple[int, float]] = ()) -> None:
        """Take note that a trial ran to its end.

        `reports`: those that were not observed, each a step and a value.
        """
        for step, value in reports:
            self.observe(number, step, value)

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of all reports of many finished trials; `complete`: they ran to their end."""

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial ends here."""
        return False


class RungPruner(NoPruner):
    """Asynchronous successive halving, stopping variant (ASHA; Li et al., MLSys 2020).

    Rungs lie at min_epochs · reduction^k. A trial that reaches a rung goes on if it is among the
    best 1/reduction of all trials that have reached it so far, itself included, and if no more than
    1/reduction of them have gone on before; the best so far always goes on. Without that cap, the
    trials of a sampler that learns would nearly all go on, since each is better than the random
    ones at the start. Code that reports at steps of its own reaches a rung with the first report at
    or after it.
    """

    def __init__(
        self, direction: Direction, *, min_epochs: int, reduction: int, startup_trials: int
    ) -> None:
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._min_epochs = min_epochs
        self._reduction = reduction
        self._startup_trials = startup_trials
        self._rungs: dict[int, dict[int, float]] = {}
        self._sorted: dict[int, list[float]] = {}  # the same scores
        self._reached: dict[int, int] = {}  # number → step of the report that reached a rung last
        self._passed: defaultdict[int, set[int]] = defaultdict(set)  # rung → trials that went on

    def observe(self, number: int, step: int, value: float) -> None:
        """Take note of a report: it counts at its rung, and for rungs that were stepped over."""
        last = self._reached.get(number)
        if last is not None and step > last:
            self._passed[self._last_rung(last)].add(number)
        rung = self._min_epochs
        while rung <= step:
            scores = self._rungs.setdefault(rung, {})
            if number not in scores:
                self._reached[number] = step
                scores[number] = _score(value, self._sign)
                insort(self._sorted.setdefault(rung, []), scores[number])
            rung *= self._reduction

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many finished trials."""
        rung, highest = self._min_epochs, int(reports.steps.max(initial=0))
        last = dict(zip(reports.numbers.tolist(), reports.steps.tolist(), strict=True))
        while rung <= highest:
            reached = reports.steps >= rung
            numbers, first = np.unique(reports.numbers[reached], return_index=True)
            ranked = _scores(reports.values[reached][first], self._sign).tolist()
            scores = self._rungs.setdefault(rung, {})
            pairs = zip(numbers.tolist(), ranked, strict=True)
            new = {number: score for number, score in pairs if number not in scores}
            scores.update(new)
            self._sorted[rung] = sorted([*self._sorted.get(rung, ()), *new.values()])
            decided = reports.steps[reached][first].tolist()  # the step at which each was decided
            self._passed[rung].update(
                number
                for number, step in zip(numbers.tolist(), decided, strict=True)
                if step < min(last[number], rung * self._reduction)
            )
            rung *= self._reduction

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        if step < self._min_epochs or self._reached.get(number) != step:
            return False
        rung = self._last_rung(step)
        scores = self._rungs[rung]
        if len(scores) < self._startup_trials:
            return False
        own = scores[number]
        if own == -math.inf:
            return True
        in_order = self._sorted[rung]
        better = len(in_order) - bisect_right(in_order, own)
        most = max(1, len(scores) // self._reduction)
        passed = self._passed[rung]
        if better >= most or (better and len(passed) >= most):
            return True
        passed.add(number)
        return False

    def _last_rung(self, step: int) -> int:
        rung = self._min_epochs
        while rung * self._reduction <= step:
            rung *= self._reduction
        return rung


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

    def observe(self, number: int, step: int, value: float) -> None:
        """Take note of a report."""
        if number in self._complete:  # read back from the database
            return
        score = _score(value, self._sign)
        self._best[number] = max(score, self._best.get(number, -math.inf))
        self._reports.setdefault(number, {})[step] = score

    def complete(self, number: int, reports: Iterable[tuple[int, float]] = ()) -> None:
        """Take note that a trial ran to its end."""
        if number in self._complete:
            return
        self._complete.add(number)
        self._best.pop(number, None)
        scores = self._reports.pop(number, {})
        for step, value in reports:
            scores[step] = _score(value, self._sign)
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
        scores = _scores(reports.values, self._sign)
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


def _score(value: float, sign: float) -> float:
    return -math.inf if math.isnan(value) else sign * value


def _scores(values: Floats, sign: float) -> Floats:
    return np.where(np.isnan(values), -math.inf, sign * values)


def make(spec: PrunerSpec, direction: Direction) -> NoPruner:
    """The pruner that a study asks for."""
    if spec.name == "rungs":
        return RungPruner(
            direction,
            min_epochs=spec.min_epochs,
            reduction=spec.reduction,
            startup_trials=spec.startup_trials,
        )
    if spec.name == "median":
        return MedianPruner(
            direction, min_epochs=spec.min_epochs, startup_trials=spec.startup_trials
        )
    return NoPruner()
