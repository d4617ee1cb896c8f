"""Asynchronous successive halving."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tuner.database.readers.columns import Floats, Integers, Reports
from tuner.search.pruners.ladder import Ladder
from tuner.search.pruners.pruner import NoPruner, as_score, as_scores
from tuner.search.pruners.ranking import ByFront, ByValue, Ranking, Standing
from tuner.study_file.messages import counted, ordinal
from tuner.trials import Direction


class RungPruner(NoPruner):
    """Asynchronous successive halving, stopping variant (ASHA; Li et al., MLSys 2020).

    A trial that reaches a rung goes on if it is among the best 1/reduction of all trials that have
    reached it so far, itself included, and if no more than 1/reduction of them have gone on before;
    the best so far always goes on. Without that cap, the trials of a sampler that learns would
    nearly all go on, since each is better than the random ones at the start. With several
    objectives, better fronts come first, and the best in any objective always goes on
    (`ranking.py`). Code that reports at steps of its own reaches a rung with the first report at or
    after it.
    """

    def __init__(
        self,
        direction: Direction,
        ladder: Ladder,
        *,
        reduction: int,
        startup_trials: int,
        others: Sequence[Direction] = (),
        unit: str = "epoch",
    ) -> None:
        """`others` are the directions of further objectives, `unit` is what a step is called."""
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._other_signs = [1.0 if other == "maximize" else -1.0 for other in others]
        self._ladder = ladder
        self._reduction = reduction
        self._startup_trials = startup_trials
        self._unit = unit
        self._rungs: dict[int, Ranking] = {}
        self._reached: dict[int, int] = {}  # number → step of the report that reached a rung last
        self._passed: defaultdict[int, set[int]] = defaultdict(set)  # rung → trials that went on

    def observe(
        self,
        number: int,
        step: int,
        value: float,
        others: Sequence[float] = (),
        violation: float = 0.0,
    ) -> None:
        """Take note of a report: it counts at its rung, and for rungs that were stepped over."""
        last = self._reached.get(number)
        if last is not None and step > last and (rung := self._ladder.below(last)) is not None:
            self._passed[rung].add(number)
        for rung in self._ladder.up_to(step, above=last or 0):
            ranking = self._ranking(rung)
            if number not in ranking:
                self._reached[number] = step
                ranking.add(number, self._standing(value, others, violation))

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many finished trials."""
        last = dict(zip(reports.numbers.tolist(), reports.steps.tolist(), strict=True))
        for rung in self._ladder.up_to(int(reports.steps.max(initial=0))):
            reached = reports.steps >= rung
            numbers, first = np.unique(reports.numbers[reached], return_index=True)
            ranking = self._ranking(rung)
            new = [row for row, n in enumerate(numbers.tolist()) if n not in ranking]
            rows = np.flatnonzero(reached)[first[new]]
            ranking.extend(numbers[new].tolist(), *self._standings(reports, rows))
            decided = reports.steps[reached][first].tolist()  # the step at which each was decided
            above = self._ladder.next(rung)
            self._passed[rung].update(
                number
                for number, step in zip(numbers.tolist(), decided, strict=True)
                if step < min(last[number], above)
            )

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        rung = self._ladder.below(step)
        if rung is None or self._reached.get(number) != step:
            return False
        return self._is_pruned_at(rung, number)

    def _is_pruned_at(self, rung: int, number: int) -> bool:
        ranking = self._rungs[rung]
        if len(ranking) < self._startup_trials:
            return False
        if ranking[number].score == -math.inf:
            return True
        if not ranking.is_leading(number) and (
            not self._has_room(rung) or ranking.count_ahead(number) >= self._most(rung)
        ):
            return True
        self._passed[rung].add(number)
        return False

    def explain(self, number: int, step: int, value: float) -> str:
        """Return where the trial stands at its rung, and how many go on from there."""
        rung = self._ladder.below(step)
        assert rung is not None
        return self._explain_at(rung, number, value)

    def _explain_at(self, rung: int, number: int, value: float) -> str:
        ranking = self._rungs[rung]
        place = f"rung at {self._unit} {rung}"
        if ranking[number].score == -math.inf:
            return f"{place}: its value is not a number"
        rank, most = int(ranking.count_ahead(number)) + 1, self._most(rung)
        subject = "it" if self._other_signs else f"{value:.4g}"
        if ranking[number].violation > 0:
            subject = "violating a constraint, it"
        standing = f"{place}: {subject} ranks {ordinal(rank)} of {len(ranking)}"
        if rank <= most:
            before = counted(len(self._passed[rung]), "trial")
            return f"{standing}, but {before} went on before it; at most {most} may"
        if most < 2:
            return f"{standing}; {'only the best' if most else 'none'} goes on"
        return f"{standing}; the best {most} go on"

    def _most(self, rung: int) -> int:
        """How many of a rung's trials go on, beside the best so far."""
        return max(1, len(self._rungs[rung]) // self._reduction)

    def _has_room(self, rung: int) -> bool:
        """Whether fewer have gone on from a rung than may."""
        return len(self._passed[rung]) < self._most(rung)

    def _ranking(self, rung: int) -> Ranking:
        if rung not in self._rungs:
            objectives = 1 + len(self._other_signs)
            self._rungs[rung] = ByValue() if objectives == 1 else ByFront(objectives)
        return self._rungs[rung]

    def _standing(self, value: float, others: Sequence[float], violation: float) -> Standing:
        scores = tuple(sign * v for sign, v in zip(self._other_signs, others, strict=False))
        return Standing(as_score(value, self._sign), scores, violation)

    def _standings(self, reports: Reports, rows: Integers) -> tuple[Floats, Floats]:
        """Return the violations [N] and scores [N, objectives] of these reports."""
        first = as_scores(reports.values[rows], self._sign)[:, None]
        metrics = np.empty((len(rows), 0)) if reports.metrics is None else reports.metrics[rows]
        count = len(self._other_signs)
        violations = np.nan_to_num(metrics[:, count:].sum(1))  # at most one column
        if not metrics.shape[1]:
            return violations, np.pad(first, ((0, 0), (0, count)), constant_values=np.nan)
        return violations, np.column_stack([first, metrics[:, :count] * self._other_signs])
