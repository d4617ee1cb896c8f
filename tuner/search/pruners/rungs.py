"""Asynchronous successive halving."""

import math
from bisect import bisect_right, insort
from collections import defaultdict

import numpy as np

from tuner.database.readers.columns import Reports
from tuner.search.pruners.pruner import NoPruner, as_score, as_scores
from tuner.trials import Direction


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
                scores[number] = as_score(value, self._sign)
                insort(self._sorted.setdefault(rung, []), scores[number])
            rung *= self._reduction

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many finished trials."""
        rung, highest = self._min_epochs, int(reports.steps.max(initial=0))
        last = dict(zip(reports.numbers.tolist(), reports.steps.tolist(), strict=True))
        while rung <= highest:
            reached = reports.steps >= rung
            numbers, first = np.unique(reports.numbers[reached], return_index=True)
            ranked = as_scores(reports.values[reached][first], self._sign).tolist()
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
