"""When to end a trial early: decided from reports that the worker already holds, without a query.

A pruner is fed every report of the study that this worker learns of, its own at once and those of
other workers as it reads them. Values are on the objective's own scale; NaN is always worst.
"""

import math
from collections.abc import Iterable
from statistics import median

from tuner.spec.study import Pruner as PrunerSpec
from tuner.trials import Direction


class NoPruner:
    """Every trial runs to its end."""

    def observe(self, number: int, step: int, value: float) -> None:
        """Take note of a report."""

    def complete(self, number: int) -> None:
        """Take note that a trial ran to its end."""

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial ends here."""
        return False


class RungPruner(NoPruner):
    """Asynchronous successive halving, stopping variant (ASHA; Li et al., MLSys 2020).

    Rungs lie at min_epochs · reduction^k. A trial that reaches a rung goes on if it is among the
    best 1/reduction of all trials that have reached it so far, itself included.
    """

    def __init__(
        self, direction: Direction, *, min_epochs: int, reduction: int, startup_trials: int
    ) -> None:
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._min_epochs = min_epochs
        self._reduction = reduction
        self._startup_trials = startup_trials
        self._rungs: dict[int, dict[int, float]] = {}

    def observe(self, number: int, step: int, value: float) -> None:
        """Take note of a report: it counts at its rung, and for rungs that were stepped over."""
        rung = self._min_epochs
        while rung <= step:
            self._rungs.setdefault(rung, {}).setdefault(number, self._score(value))
            rung *= self._reduction

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        scores = self._rungs.get(step)
        if scores is None or number not in scores or not self._is_rung(step):
            return False
        if len(scores) < self._startup_trials:
            return False
        own = scores[number]
        if own == -math.inf:
            return True
        better = sum(score > own for score in scores.values())
        return better >= max(1, len(scores) // self._reduction)

    def _is_rung(self, step: int) -> bool:
        rung = self._min_epochs
        while rung < step:
            rung *= self._reduction
        return rung == step

    def _score(self, value: float) -> float:
        return -math.inf if math.isnan(value) else self._sign * value


class MedianPruner(NoPruner):
    """Ends a trial whose best report so far is worse than the median of complete trials' reports at
    the same epoch (the median stopping rule of Vizier; Golovin et al., KDD 2017).
    """

    def __init__(self, direction: Direction, *, min_epochs: int, startup_trials: int) -> None:
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._min_epochs = min_epochs
        self._startup_trials = startup_trials
        self._best: dict[int, float] = {}
        self._by_step: dict[int, dict[int, float]] = {}
        self._complete: set[int] = set()

    def observe(self, number: int, step: int, value: float) -> None:
        """Take note of a report."""
        score = -math.inf if math.isnan(value) else self._sign * value
        self._best[number] = max(score, self._best.get(number, -math.inf))
        self._by_step.setdefault(step, {})[number] = score

    def complete(self, number: int) -> None:
        """Take note that a trial ran to its end."""
        self._complete.add(number)

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        if step < self._min_epochs:
            return False
        peers = _of(self._by_step.get(step, {}), self._complete - {number})
        if len(peers) < self._startup_trials:
            return False
        return self._best[number] < median(peers)


def _of(scores: dict[int, float], numbers: Iterable[int]) -> list[float]:
    return [scores[number] for number in numbers if number in scores]


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
