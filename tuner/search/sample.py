"""What a sampler reads of a long history: the best trials and the newest ones.

Optuna's TPE divides the trials into the best, 25 once there are 250, and the others, and compares
the densities of the two. The best are always given, so the first density is exactly that of the
whole history; the second is estimated from the newest trials, whose weights TPE lets rise with
their number anyway. So an ask costs the same after 1,000 trials and after 100,000.
"""

import json
import math
from bisect import insort
from collections.abc import Mapping, Sequence, Set

import numpy as np

from tuner.database import attributes
from tuner.database.readers.columns import Columns, Integers, Reports
from tuner.search.history import History
from tuner.search.leading_fronts import KEPT, LeadingFronts
from tuner.search.record import Record, Space
from tuner.search.tried import Tried
from tuner.study_file.constraints import sum_violations
from tuner.trials import Cause, Direction, TrialState

NEWEST = 1_000  # trials
BEST = 25  # what TPE's default gamma divides off at most

_Score = tuple[float, ...]  # smaller is better


class Sample:
    """The trials of a study that its sampler is shown."""

    def __init__(self, history: History, directions: Sequence[Direction], tried: Tried) -> None:
        """`tried` knows which distributions are the study's; other trials are not shown."""
        self._history = history
        self._sign = [1.0 if direction == "minimize" else -1.0 for direction in directions]
        self._fits = tried.fits
        self._ended: list[int] = []  # complete, pruned and paused ones, by number
        self._known: set[int] = set()  # the same
        self._paused: set[int] = set()  # shown as pruned ones until they go on
        self._running: set[int] = set()
        self.infeasible: set[int] = set()  # failed because of their parameters
        self._best: list[tuple[_Score, int]] = []  # complete, at most BEST
        self._best_pruned: list[tuple[_Score, int]] = []
        self._fronts = LeadingFronts(self._sign)  # used with several objectives
        self.spaces: dict[tuple[str, ...], Space] = {}  # of the ended ones, by parameters

    def __len__(self) -> int:
        """The number of trials that have ended with something to learn from."""
        return len(self._ended) + len(self.infeasible)

    def numbers(self) -> list[int]:
        """The numbers of the trials, in order."""
        if len(self._ended) <= NEWEST:
            numbers = {*self._ended, *self._running}
        elif len(self._sign) > 1:
            best = self._fronts.best(KEPT)
            numbers = {*best, *self._ended[-NEWEST:], *self._running}
        else:
            best = [n for _, n in self._best]
            # where too few are complete, TPE fills up with the pruned ones that came farthest
            best += [n for _, n in self._best_pruned[: BEST - len(best)]]
            numbers = {*best, *self._ended[-NEWEST:], *self._running}
        return sorted({*numbers, *sorted(self.infeasible)[-NEWEST:]})

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many finished trials."""
        all_numbers = finished.numbers.tolist()
        self._running.difference_update(all_numbers)
        self.infeasible.difference_update(all_numbers)
        self._forget(self._paused.intersection(all_numbers))
        if not self._fits(space):
            return
        if finished.infeasible:
            self.infeasible.update(all_numbers)
        if finished.state == TrialState.FAILED:
            return
        self.spaces[tuple(space)] = space
        new = [row for row, number in enumerate(all_numbers) if number not in self._known]
        numbers = finished.numbers[new]
        self._known.update(numbers.tolist())
        self._ended = sorted([*self._ended, *numbers.tolist()])  # quick: most are in order
        if finished.state == TrialState.PAUSED:
            self._paused.update(numbers.tolist())
        if finished.state in (TrialState.PRUNED, TrialState.PAUSED):
            scores = _last_reports(numbers, reports, self._sign[0])
            self._best_pruned = sorted([*self._best_pruned, *scores])[:BEST]
        elif finished.values is not None:
            values = np.nan_to_num(self._sign[0] * finished.values[new, 0], nan=math.inf)
            violations = np.zeros(len(finished.numbers))
            for number, stored in finished.system_attrs.items():
                row = int(np.searchsorted(finished.numbers, int(number)))
                violations[row] = _violation(stored)
            violations = violations[new]
            if len(self._sign) > 1 and finished.values.shape[1] == len(self._sign):
                self._fronts.extend(numbers.tolist(), violations, finished.values[new])
            best = np.lexsort((values, violations))[:BEST].tolist()
            scored: list[tuple[_Score, int]] = [
                ((float(violations[i]), float(values[i])), int(numbers[i])) for i in best
            ]
            self._best = sorted([*self._best, *scored])[:BEST]

    def note(self, record: Record) -> None:
        """Take note of a trial."""
        number, state = record.number, record.row.state
        self._running.discard(number)
        self.infeasible.discard(number)
        if number in self._paused:
            self._forget({number})
        if not self._fits(record.space):
            return
        if (
            state == TrialState.FAILED
            and record.row.cause is not None
            and Cause(record.row.cause).blames_parameters
        ):
            self.infeasible.add(number)
        if state == TrialState.RUNNING:
            self._running.add(number)
        ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED)
        if state not in ended or number in self._known:
            return
        self.spaces[tuple(record.space)] = record.space
        self._known.add(number)
        insort(self._ended, number)
        if state == TrialState.PAUSED:
            self._paused.add(number)
        if state in (TrialState.PRUNED, TrialState.PAUSED):
            insort(self._best_pruned, (_pruned_score(record, self._sign[0]), number))
            del self._best_pruned[BEST:]
        elif record.row.values:
            value = self._sign[0] * record.row.values[0]
            violation = _violation(json.loads(record.row.system_attrs))
            if len(self._sign) > 1 and len(record.row.values) == len(self._sign):
                values = np.array([record.row.values], np.float64)
                self._fronts.extend([number], np.array([violation]), values)
            insort(self._best, ((violation, math.inf if math.isnan(value) else value), number))
            del self._best[BEST:]

    def _forget(self, paused: Set[int]) -> None:
        """Forget paused trials, which go on or have ended."""
        if paused:
            self._paused -= paused
            self._known -= paused
            self._ended = [number for number in self._ended if number not in paused]
            self._best_pruned = [pair for pair in self._best_pruned if pair[1] not in paused]


def _violation(stored: Mapping[str, str]) -> float:
    """Return by how much a trial violates its constraints, from its system attributes."""
    return sum_violations(attributes.decode_constraints(stored).values())


def _pruned_score(record: Record, sign: float) -> _Score:
    """As TPE orders pruned trials: who came farther, then who was better there."""
    if not record.row.steps or not record.row.report_values:
        return (1.0, 0.0)
    value = sign * record.row.report_values[-1]
    return (-float(record.row.steps[-1]), math.inf if math.isnan(value) else value)


def _last_reports(numbers: Integers, reports: Reports, sign: float) -> list[tuple[_Score, int]]:
    end = np.searchsorted(reports.numbers, numbers, "right")
    has = end > np.searchsorted(reports.numbers, numbers, "left")
    last = np.maximum(end - 1, 0)
    steps = np.where(has, -reports.steps[last], 1.0) if len(reports.steps) else np.ones(len(has))
    values = (
        np.where(has, np.nan_to_num(sign * reports.values[last], nan=math.inf), 0.0)
        if len(reports.steps)
        else np.zeros(len(has))
    )
    order = np.lexsort((numbers, values, steps))[:BEST]
    return [((float(steps[i]), float(values[i])), int(numbers[i])) for i in order.tolist()]
