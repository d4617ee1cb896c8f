"""Several studies side by side: how fast each improves, what its values cost, which pays best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tuner.dashboard.context import Board
from tuner.dashboard.summaries import Facts
from tuner.database.readers import spending
from tuner.database.readers.progress import Series
from tuner.trials import LATENCY, PARAMETERS, TRAINING_SECONDS, Study, TrialState

MOST = 8  # studies at once: more lines nobody can tell apart
COSTS: Mapping[str, str] = MappingProxyType(  # name → what it is, for people
    {
        TRAINING_SECONDS: "seconds that the trial has trained",
        PARAMETERS: "parameters of the model",
        LATENCY: "milliseconds for one answer",
    }
)


@dataclass(frozen=True, slots=True)
class Improved:
    """The best value after some trials have ended."""

    ended: int  # trials
    trained: float  # seconds of all trials until then
    passed: float  # seconds since the first began
    best: float


@dataclass(frozen=True, slots=True)
class Paid:
    """The best value for a cost: no trial that costs less has reached it."""

    trial: int
    cost: float
    best: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A study beside others."""

    one: Facts
    median: float | None
    quarter: float | None  # of the complete trials, the best quarter reaches it
    pruned: float | None  # share of the trials that ended
    each: float | None  # seconds of a trial
    near: float | None  # seconds of training until 99 % of the way to the best of all
    improving: Sequence[Improved]
    values: NDArray[np.float64]  # of the complete trials, ascending
    paid: Mapping[str, Sequence[Paid]]  # by cost, those that were measured


def compared(board: Board, chosen: Sequence[Study]) -> list[Compared]:
    """All of them, in the order given."""
    progresses = board.progresses.of(*chosen)
    series = [board.progresses.series(study) for study in chosen]
    improving = [_improving(s, found) for s, found in zip(chosen, series, strict=True)]
    goal = _goal_value(chosen, improving)
    return [
        _compared(board, Facts(study, progresses[study.id]), of_trials, improved, goal)
        for study, of_trials, improved in zip(chosen, series, improving, strict=True)
    ]


def unlike(chosen: Sequence[Study]) -> str:
    """Why comparing these may mislead."""
    if len({(s.metric, s.direction) for s in chosen}) > 1:
        return "These studies have different objectives: their values cannot be compared."
    if len({s.data_fingerprint for s in chosen}) > 1:
        return "These studies saw different data: a better value need not be a better model."
    return ""


def _compared(
    board: Board, one: Facts, series: Series, improving: list[Improved], goal: float | None
) -> Compared:
    values = np.sort(series.values[series.feasible])
    maximize = one.study.direction == "maximize"
    sign = 1.0 if maximize else -1.0
    finished = one.progress.finished
    reached = [i.trained for i in improving if goal is not None and sign * i.best >= sign * goal]
    with board.database.statement() as connection:
        measured = spending.of_complete(connection, one.study.id, tuple(COSTS))
    return Compared(
        one,
        median=float(np.median(values)) if len(values) else None,
        quarter=float(sign * np.quantile(sign * values, 0.75)) if len(values) else None,
        pruned=one.progress.counts[TrialState.PRUNED] / finished if finished else None,
        each=one.progress.seconds / finished if finished else None,
        near=reached[0] if reached else None,
        improving=improving,
        values=values,
        paid={
            name: found
            for i, name in enumerate(COSTS)
            if (found := _paid(measured, i, series, maximize=maximize))
        },
    )


def _paid(
    measured: spending.TrialCosts, which: int, series: Series, *, maximize: bool
) -> list[Paid]:
    cost = measured.costs[:, which]
    feasible = np.isin(measured.numbers, series.numbers[series.feasible])
    known = np.flatnonzero(np.isfinite(cost) & feasible)
    score = measured.values[known] * (1.0 if maximize else -1.0)
    order = np.lexsort((-score, cost[known]))  # of equal costs the best first
    known, score = known[order], score[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(score)[:-1]])
    return [
        Paid(int(measured.numbers[i]), float(cost[i]), float(measured.values[i]))
        for i in known[score > before]
    ]


def _improving(study: Study, series: Series) -> list[Improved]:
    """Where the best so far changes, and where it ends."""
    over = np.flatnonzero(np.isfinite(series.finished))
    over = over[np.argsort(series.finished[over], kind="stable")]
    if not len(over):
        return []
    sign = 1.0 if study.direction == "maximize" else -1.0
    scores = np.where(series.feasible[over], sign * series.values[over], -np.inf)
    best: NDArray[np.float64] = np.maximum.accumulate(scores)
    trained = np.cumsum(np.nan_to_num(series.finished[over] - series.started[over]))
    begun = series.started[np.isfinite(series.started)]
    passed = series.finished[over] - (begun.min() if len(begun) else series.finished[over[0]])
    steps = np.flatnonzero(best > np.concatenate([[-np.inf], best[:-1]]))
    return [
        Improved(int(i) + 1, float(trained[i]), float(passed[i]), float(sign * best[i]))
        for i in (*steps, len(over) - 1)
        if np.isfinite(best[i])
    ]


def _goal_value(chosen: Sequence[Study], improving: Sequence[list[Improved]]) -> float | None:
    """99 % of the way from the worst first value to the best of all; None with several goals."""
    ends = [found for found in improving if found]
    if not ends or len({s.direction for s in chosen}) > 1:
        return None
    sign = 1.0 if chosen[0].direction == "maximize" else -1.0
    best = max(sign * found[-1].best for found in ends)
    worst = min(sign * found[0].best for found in ends)
    return sign * (worst + 0.99 * (best - worst))
