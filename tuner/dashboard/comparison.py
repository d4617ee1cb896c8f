"""Several studies side by side: how fast each improves, and what its values cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tuner.dashboard.board import Board
from tuner.dashboard.summaries import StudySummary
from tuner.database.readers import spending
from tuner.database.readers.progress import Series
from tuner.trials import LATENCY, PARAMETERS, TRAINING_SECONDS, Study, TrialState

MAX_STUDIES = 8  # studies at once: more lines cannot be told apart
COSTS: Mapping[str, str] = MappingProxyType(  # name → description
    {
        TRAINING_SECONDS: "training time of a trial, in seconds",
        PARAMETERS: "parameters of the model",
        LATENCY: "milliseconds per prediction",
    }
)


@dataclass(frozen=True, slots=True)
class Improvement:
    """The best value after some trials have ended."""

    ended: int  # trials
    trained: float  # seconds of all trials until then
    passed: float  # seconds since the first trial started
    best: float


@dataclass(frozen=True, slots=True)
class CostPoint:
    """The best value for a cost: no cheaper trial has reached it."""

    trial: int
    cost: float
    best: float


@dataclass(frozen=True, slots=True)
class ComparedStudy:
    """A study beside others."""

    summary: StudySummary
    median: float | None
    best_quarter: float | None  # the best quarter of the complete trials reaches it
    pruned: float | None  # share of the finished trials
    seconds_per_trial: float | None
    seconds_to_99_percent: float | None  # of training, until 99 % of the way to the best of all
    improvements: Sequence[Improvement]
    values: NDArray[np.float64]  # of the complete trials, ascending
    cost_fronts: Mapping[str, Sequence[CostPoint]]  # by cost, those that were measured


def compare(board: Board, studies: Sequence[Study]) -> list[ComparedStudy]:
    """Compare the studies; the result has their order."""
    progress = board.progress.of(*studies)
    series = [board.progress.series(study) for study in studies]
    improvements = [_improvements(*pair) for pair in zip(studies, series, strict=True)]
    goal = _goal_value(studies, improvements)
    return [
        _compare_one(board, StudySummary(study, progress[study.id]), own_series, own, goal)
        for study, own_series, own in zip(studies, series, improvements, strict=True)
    ]


def comparability_warning(studies: Sequence[Study]) -> str:
    """Why comparing these may mislead; empty if it does not."""
    if len({(s.metric, s.direction) for s in studies}) > 1:
        return "These studies have different objectives: their values cannot be compared."
    if len({s.data_fingerprint for s in studies}) > 1:
        return "These studies used different data: a better value may not mean a better model."
    return ""


def _compare_one(
    board: Board,
    summary: StudySummary,
    series: Series,
    improvements: list[Improvement],
    goal: float | None,
) -> ComparedStudy:
    study, progress = summary.study, summary.progress
    values = np.sort(series.values[series.feasible])
    maximize = study.direction == "maximize"
    sign = 1.0 if maximize else -1.0
    finished = progress.finished
    reached = [i.trained for i in improvements if goal is not None and sign * i.best >= sign * goal]
    with board.database.statement() as connection:
        measured = spending.of_complete(connection, study.id, tuple(COSTS))
    return ComparedStudy(
        summary,
        median=float(np.median(values)) if len(values) else None,
        best_quarter=float(sign * np.quantile(sign * values, 0.75)) if len(values) else None,
        pruned=progress.counts[TrialState.PRUNED] / finished if finished else None,
        seconds_per_trial=progress.seconds / finished if finished else None,
        seconds_to_99_percent=reached[0] if reached else None,
        improvements=improvements,
        values=values,
        cost_fronts={
            name: front
            for i, name in enumerate(COSTS)
            if (front := _cost_front(measured, i, series, maximize=maximize))
        },
    )


def _cost_front(
    measured: spending.TrialCosts, which: int, series: Series, *, maximize: bool
) -> list[CostPoint]:
    cost = measured.costs[:, which]
    feasible = np.isin(measured.numbers, series.numbers[series.feasible])
    rows = np.flatnonzero(np.isfinite(cost) & feasible)
    score = measured.values[rows] * (1.0 if maximize else -1.0)
    order = np.lexsort((-score, cost[rows]))  # of equal costs the best first
    rows, score = rows[order], score[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(score)[:-1]])
    return [
        CostPoint(int(measured.numbers[i]), float(cost[i]), float(measured.values[i]))
        for i in rows[score > best_before]
    ]


def _improvements(study: Study, series: Series) -> list[Improvement]:
    """Where the best so far changes, and where it ends."""
    ended = np.flatnonzero(np.isfinite(series.finished))
    ended = ended[np.argsort(series.finished[ended], kind="stable")]
    if not len(ended):
        return []
    sign = 1.0 if study.direction == "maximize" else -1.0
    scores = np.where(series.feasible[ended], sign * series.values[ended], -np.inf)
    best: NDArray[np.float64] = np.maximum.accumulate(scores)
    trained = np.cumsum(np.nan_to_num(series.finished[ended] - series.started[ended]))
    starts = series.started[np.isfinite(series.started)]
    passed = series.finished[ended] - (starts.min() if len(starts) else series.finished[ended[0]])
    steps = np.flatnonzero(best > np.concatenate([[-np.inf], best[:-1]]))
    return [
        Improvement(int(i) + 1, float(trained[i]), float(passed[i]), float(sign * best[i]))
        for i in (*steps, len(ended) - 1)
        if np.isfinite(best[i])
    ]


def _goal_value(
    studies: Sequence[Study], improvements: Sequence[list[Improvement]]
) -> float | None:
    """99 % of the way from the worst first value to the best of all.

    None without values, or if the studies have different directions.
    """
    courses = [course for course in improvements if course]
    if not courses or len({s.direction for s in studies}) > 1:
        return None
    sign = 1.0 if studies[0].direction == "maximize" else -1.0
    best = max(sign * course[-1].best for course in courses)
    worst = min(sign * course[0].best for course in courses)
    return sign * (worst + 0.99 * (best - worst))
