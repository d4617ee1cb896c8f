"""Rungs that are chosen from what trials have shown."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tuner.database.readers.columns import NEVER, Columns, Reports
from tuner.search.learning_curves import LearningCurves
from tuner.search.pruners.hyperband import GOLDEN
from tuner.search.pruners.ladder import Ladder
from tuner.search.pruners.rungs import RungPruner
from tuner.search.pruners.yields import Evidence, Yields, candidates, correlations, startup_steps
from tuner.search.record import Record, Space
from tuner.study_file.messages import counted
from tuner.trials import Direction, TrialState

FIRST = 10  # ended trials, before which the rungs are those of the ladder
GROWTH = 1.25  # of the number of ended trials from one decision to the next
EXPLORED = 0.3  # of the trials that pass a rung: those that do whatever their value, to judge it
TURN = 0.31  # between the trials that pass one rung so and those that pass the next
MAX_RUNGS = 8  # all subsets of them are compared


class EndedCurves:
    """The curves of ended trials in the order of their ends; a watcher of the study's history."""

    def __init__(self, direction: Direction, steps: Sequence[int]) -> None:
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._steps = np.array(steps)
        self.curves = LearningCurves(steps=self._steps)
        self._ended = np.empty(0, np.int64)  # µs since 1970, NEVER while a trial is open
        self._seconds = np.empty(0)

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of trials that have ended."""
        if finished.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return
        numbers = finished.numbers
        if not len(numbers):
            return
        self._reserve(int(numbers[-1]) + 1)
        final = np.full(len(numbers), np.nan)
        if finished.state == TrialState.COMPLETE and finished.values is not None:
            final = self._sign * finished.values[:, 0]
        signed = Reports(reports.numbers, reports.steps, self._sign * reports.values)
        self.curves.set(numbers, signed, final)
        self._ended[numbers] = finished.finished
        has_times = (finished.started != NEVER) & (finished.finished != NEVER)
        seconds = (finished.finished - finished.started) / 1e6
        self._seconds[numbers] = np.where(has_times, seconds, np.nan)

    def note(self, record: Record) -> None:
        """Take note of a trial; it may have ended."""
        row = record.row
        if row.state not in (TrialState.COMPLETE, TrialState.PRUNED) or row.finished_at is None:
            return
        number = row.number
        self._reserve(number + 1)
        steps = np.asarray(row.steps or (), np.int64)
        values = self._sign * np.asarray(row.report_values or (), np.float64)
        is_complete = row.state == TrialState.COMPLETE and row.values
        final = self._sign * row.values[0] if is_complete and row.values else np.nan
        reports = Reports(np.full(len(steps), number), steps, values)
        self.curves.set(np.array([number]), reports, np.array([final]))
        self._ended[number] = int(row.finished_at.timestamp() * 1e6)
        if row.started_at is not None:
            self._seconds[number] = (row.finished_at - row.started_at).total_seconds()

    def _reserve(self, size: int) -> None:
        more = max(size, 2 * len(self._ended)) - len(self._ended) if size > len(self._ended) else 0
        if more:
            self._ended = np.pad(self._ended, (0, more), constant_values=NEVER)
            self._seconds = np.pad(self._seconds, (0, more), constant_values=np.nan)
            self.curves.reserve(len(self._ended))

    def __len__(self) -> int:
        """The number of ended trials."""
        return int((self._ended != NEVER).sum())

    def first(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the numbers of the trials that ended first."""
        ended = np.flatnonzero(self._ended != NEVER)
        order = np.argsort(self._ended[ended], kind="stable")
        return np.sort(ended[order[:count]])

    def evidence(self, numbers: np.ndarray[Any, np.dtype[np.int64]], rungs: int) -> Evidence | None:
        """Return what these trials say of the first `rungs` rungs; None before one is complete."""
        last_steps, final = self.curves.last_step[numbers], self.curves.final[numbers]
        if np.isnan(final).all():
            return None
        last = int(last_steps[~np.isnan(final)].max())
        steps = self._steps[:rungs][self._steps[:rungs] < last]
        if not len(steps):
            return None
        levels = np.vstack([self.curves.at_levels(numbers)[: len(steps)], final])
        return Evidence(
            tuple(steps.tolist()),
            last,
            correlations(levels),
            startup_steps(last_steps, self._seconds[numbers]),
        )


class AdaptiveRungPruner(RungPruner):
    """Successive halving at those rungs that pay, by what the trials that ended first have shown.

    Rungs are a selection of the ladder's, and from one to the next as many go on as keep their
    costs equal. The selection changes when the number of ended trials has grown by a quarter, and
    only follows from these trials: all workers agree on it. A few trials pass each rung whatever
    their value; without them, what a rung wrongly ends would never show.
    """

    def __init__(
        self,
        direction: Direction,
        ladder: Ladder,
        *,
        first_is_fixed: bool,
        ratio_is_fixed: bool,
        last_step: int | None,
        **options: Any,
    ) -> None:
        """`last_step` is that of a trial's reports, if it is known."""
        super().__init__(direction, ladder, reduction=ladder.ratio or 1, **options)
        self._fixed = {"first_is_fixed": first_is_fixed, "ratio_is_fixed": ratio_is_fixed}
        steps = ladder.up_to(math.inf if last_step is None else last_step - 1, at_most=MAX_RUNGS)
        self._rungs_now = tuple(steps) or (ladder.first,)
        self._ends = EndedCurves(direction, steps or [ladder.first])
        self.watcher = self._ends
        self._count = 0  # ended trials that the latest decision is of
        self._before: dict[int, tuple[int, int]] = {}  # rung → trials that had reached, passed it
        self._end = last_step
        self._last: dict[int, int] = {}  # step of each trial's latest report
        self._came_from: dict[int, int] = {}  # step of the report before it

    def observe(
        self,
        number: int,
        step: int,
        value: float,
        others: Sequence[float] = (),
        violation: float = 0.0,
    ) -> None:
        """Take note of a report; all rungs before it are behind the trial."""
        before = self._last.get(number, 0)
        if step > before:
            for rung in self._ladder.up_to(before):
                self._passed[rung].add(number)
            self._last[number], self._came_from[number] = step, before
        super().observe(number, step, value, others, violation)

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, ends here."""
        self._decide()
        before = self._came_from.get(number, 0)
        reached = [rung for rung in self._rungs_now if before < rung <= step]
        if not reached or self._last.get(number) != step:
            return False
        if self._is_explored(number, reached[-1]):
            return False
        return self._is_pruned_at(reached[-1], number)

    def explain(self, number: int, step: int, value: float) -> str:
        """Return where the trial stands at its rung, and what the choice of rungs is based on."""
        rung = max(rung for rung in self._rungs_now if rung <= step)
        basis = "to begin with"
        if self._count:
            basis = f"by {counted(self._count, 'ended trial')}"
        places = ", ".join(map(str, self._rungs_now))
        return f"{self._explain_at(rung, number, value)} (rungs at {places}, {basis})"

    def _decide(self) -> None:
        ended = len(self._ends)
        while ended >= (count := max(FIRST, math.ceil(GROWTH * self._count))):
            numbers = self._ends.first(count)
            self._count = count
            evidence = self._ends.evidence(numbers, MAX_RUNGS)
            if evidence is None:
                continue
            self._end = max(self._end or 0, evidence.last)
            possible = candidates(evidence.rungs, **self._fixed)
            present = tuple(r for r in self._rungs_now if r < evidence.last) or possible[0]
            rungs = Yields(evidence).best_of(possible, present)
            if rungs != self._rungs_now:
                # before, others went on by other rules
                last = self._ends.curves.last_step[numbers]
                self._before = {
                    rung: (int((last >= rung).sum()), int((last > rung).sum())) for rung in rungs
                }
                self._rungs_now = rungs

    def _is_explored(self, number: int, rung: int) -> bool:
        turn = TURN * self._rungs_now.index(rung)
        return (number * GOLDEN + turn) % 1.0 < EXPLORED / self._reduction_at(rung)

    def _most(self, rung: int) -> int:
        return max(1, len(self._rungs[rung]) // self._reduction_at(rung))

    def _has_room(self, rung: int) -> bool:
        reached, passed = self._before.get(rung, (0, 0))
        new = max(0, len(self._rungs[rung]) - reached)
        return len(self._passed[rung]) - passed < max(1, new // self._reduction_at(rung))

    def _reduction_at(self, rung: int) -> int:
        """Return such a reduction that the steps up to the next rung cost as much as up to here."""
        higher = [other for other in self._rungs_now if other > rung]
        if higher:
            return higher[0] // rung
        above = self._ladder.next(rung)
        while self._end is not None and self._ladder.next(above) <= self._end:
            above = self._ladder.next(above)
        return above // rung
