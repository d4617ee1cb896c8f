"""What a study is worth, and how sure a comparison of methods is."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.search import tables
from benchmarks.search.simulation import Run, Table
from benchmarks.search.study import TARGETS, Study
from benchmarks.search.suites import Measure

BOOTSTRAP = 4_000
INTERVAL = (0.05, 0.95)

MIN_SEEDS = 5  # fewer give an interval that promises too much

Verdict = Literal["met", "not met", "not told apart", "too few seeds"]
Runs = Mapping[Study, Run]


@dataclass(frozen=True)
class Ratio:
    """A geometric mean of ratios with its 90 % interval, over whole seeds.

    A seed shares its random start across tables, so its studies are drawn together.
    """

    value: float
    low: float
    high: float
    is_bound: bool = False  # some studies did not reach the target: the ratio is at least this
    seeds: int = MIN_SEEDS

    def __str__(self) -> str:
        bound = "≥ " if self.is_bound else ""
        return f"{bound}{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"

    def against(self, goal: float) -> Verdict:
        """Whether a goal is met, as far as the interval tells."""
        if self.seeds < MIN_SEEDS:
            return "too few seeds"
        if self.low >= goal:
            return "met"
        return "not met" if self.high < goal and not self.is_bound else "not told apart"


def ratio(logs_by_seed: Mapping[int, list[float]], *, is_bound: bool = False) -> Ratio:
    """Return the geometric mean of ratios, whose logarithms are passed seed by seed."""
    seeds = [np.array(logs) for logs in logs_by_seed.values()]
    sums, counts = np.array([s.sum() for s in seeds]), np.array([len(s) for s in seeds])
    draws = np.random.default_rng(0).integers(len(seeds), size=(BOOTSTRAP, len(seeds)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.exp(np.quantile(means, INTERVAL))
    value = float(np.exp(sums.sum() / counts.sum()))
    return Ratio(value, float(low), float(high), is_bound, len(seeds))


def compare(runs: Runs, default: str, peer: str, measure: Measure) -> Ratio | None:
    """Return how many times as good the default is, over the studies that both have run."""
    logs: defaultdict[int, list[float]] = defaultdict(list)
    is_bound = False
    by_case = {(s.table, s.seed, s.workers): (s, r) for s, r in runs.items() if s.method == peer}
    for study, run in runs.items():
        pair = by_case.get((study.table, study.seed, study.workers))
        if study.method != default or pair is None:
            continue
        own, others = value(study, run, measure), value(*pair, measure)
        if " to " in measure:
            end, others_end = _end(study, run, measure), _end(*pair, measure)
            if own is None and others is None:
                continue
            if others_end < end and own is not None and own > others_end:
                own = None  # the peer had less time
            is_bound |= others is None
            logs[study.seed].append(np.log((others or others_end) / (own or min(end, others_end))))
        elif own is not None and others is not None:
            logs[study.seed].append(np.log(max(own, 1e-6) / max(others, 1e-6)))
    return ratio(logs, is_bound=is_bound) if logs else None


def _end(study: Study, run: Run, measure: Measure) -> float:
    """Return by when a target would have had to be reached."""
    return float(study.ending) if measure.startswith("trials") else run.horizon


def value(study: Study, run: Run, measure: Measure) -> float | None:
    """Return what a study has reached; None: the target was not."""
    task = task_of(study)
    if measure == "time to 1 %":
        return run.time_to(task.target(TARGETS[0]))
    if measure == "time to 0.1 %":
        return run.time_to(task.target(TARGETS[1]))
    if measure == "trials to 1 %":
        target = task.target(TARGETS[0])
        return next((count for _, count, best in run.improvements if best <= target), None)
    kind, _, count = measure.partition(" at ")
    if kind == "equivalents":
        return 1 / task.share_better(run.best_after(int(count)))
    return hypervolume_share(task, run.finished[: int(count)])


@cache
def _task(mode: str, table: str) -> Table:
    task = tables.load(table)
    return task if mode == "curves" else task.without_curves()


def task_of(study: Study) -> Table:
    return _task(study.mode, study.table)


def hypervolume_share(task: Table, finished: list[int]) -> float:
    """Return how much of what the table's front dominates the finished trials dominate.

    Both objectives by their rank among all configurations, up to the middle one: scales of seconds
    or bytes would let a single large value decide.
    """
    if not finished:
        return 0.0
    ranks = _ranks(task.name, len(task.rows))
    if ranks is None:
        raise ValueError(f"{task.name} has no second objective")
    return _hypervolume(ranks[finished]) / _whole(task.name, len(task.rows))


@cache
def _ranks(name: str, size: int) -> NDArray[np.float64] | None:
    task = tables.load(name)
    if task.second is None:
        return None
    objectives = (task.quality, task.second)
    return np.stack(
        [np.searchsorted(np.sort(values), values) / size for values in objectives], axis=1
    )


@cache
def _whole(name: str, size: int) -> float:
    ranks = _ranks(name, size)
    assert ranks is not None
    return _hypervolume(ranks)


def _hypervolume(points: NDArray[np.float64], reference: float = 0.5) -> float:
    """Return the area that the points dominate, below the reference in both directions."""
    area, height = 0.0, reference
    for x, y in sorted(map(tuple, points.tolist())):
        if x < reference and y < height:
            area += (reference - x) * (height - y)
            height = y
    return area
