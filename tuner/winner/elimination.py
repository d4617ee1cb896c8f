"""Which of several configurations is best, judged by trainings with the same fresh seeds.

The best of many noisy results is partly luck (the winner's curse): its value overstates it. So the
leading configurations are trained again, all with the same seeds, which influenced no choice.

* The best mean wins. Two configurations that a test does not tell apart are not thereby equal.
* A cheaper one replaces it only if it is shown *not inferior*: with 95 % confidence, none of the
  remaining configurations is better than it by more than the margin.
* A configuration drops out early only if it is shown worse than the best mean so far, by more than
  the margin.
* Only configurations that keep the study's constraints on average over the fresh seeds can win; one
  drops out early only if it is shown to violate one. If none keeps them, the nearest wins.

All comparisons are paired over the seeds, one-sided, by Student's t, and share one error rate
(Bonferroni), so the statement "none of them is better than the winner by more than this" is wrong
in at most 5 % of confirmations, as far as differences between trainings are normal. It does *not*
promise that the winner is the best: no rule can order two configurations that differ by about a
standard error. `benchmarks/confirmation.py` measures both.

If two configurations differ equally with each of three seeds, there is no spread and Student's t
would be certain. But an effect of every second training is missing from one of eight such samples.
So if all differences are the same, they are assumed to be different in as many trainings as so few
seeds cannot exclude, by the typical step between the values of all candidates.

Pure functions over values: how trials are run does not matter here.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median
from typing import Literal

from tuner.study_file.constraints import sum_violations
from tuner.trials import Direction, ParamValue
from tuner.winner.confirmations import ENOUGH, within_range
from tuner.winner.expense import UNKNOWN, Expense, is_cheaper

ALPHA = 0.05  # probability that the stated bound is wrong, over all rounds and comparisons
EARLY = 0.2  # share of it that is spent on dropping out early
LEVEL = 0.95  # of the reported intervals
ROUNDING = 1e-6  # relative: smaller differences come from rounding (float32)

Standing = Literal[
    "wins", "best mean", "not inferior", "not told apart", "worse", "infeasible", "failed"
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that led the search, and its trainings with fresh seeds."""

    number: int  # of its trial in the search
    params: Mapping[str, ParamValue]
    searched: float  # its value in the search, by which it was chosen
    by_seed: Mapping[int, float]  # index of the shared seed → value
    failed: int = 0  # trainings that gave no value
    expense: Expense = UNKNOWN
    constraints: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # with fresh seeds

    @property
    def values(self) -> tuple[float, ...]:
        """The values with fresh seeds, in order of the seeds."""
        return tuple(self.by_seed[seed] for seed in sorted(self.by_seed))

    @property
    def mean(self) -> float:
        """Mean of the fresh values; NaN without any."""
        return mean(self.values) if self.by_seed else math.nan

    @property
    def standard_error(self) -> float:
        """Standard error of that mean; needs two values."""
        return spread(self.values) / math.sqrt(len(self.by_seed))

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of the mean over all seeds, by Student's t, within the metric's range.

        None with fewer than three values.
        """
        if len(self.by_seed) < ENOUGH:
            return None
        reach = quantile((1 + LEVEL) / 2, len(self.by_seed) - 1) * self.standard_error
        return within_range((self.mean - reach, self.mean + reach), metric, self.values)

    @property
    def violation(self) -> float:
        """By how much constraints are violated on average over the seeds; 0 if none is."""
        return sum_violations(mean(values) for values in self.constraints.values() if values)

    def constraint_interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval of a constraint's mean; None with fewer than three finite values."""
        values = self.constraints[name]
        if len(values) < ENOUGH or not all(map(math.isfinite, values)):
            return None
        error = spread(values) / math.sqrt(len(values))
        reach = quantile((1 + LEVEL) / 2, len(values) - 1) * error
        return mean(values) - reach, mean(values) + reach

    @property
    def is_shown_infeasible(self) -> bool:
        """Whether a constraint is violated with 95 % confidence."""
        intervals = [self.constraint_interval(name) for name in self.constraints]
        return any(interval is not None and interval[0] > 0 for interval in intervals)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a round."""

    winner: Candidate
    leader: Candidate  # the best mean; the winner, unless a cheaper one is not inferior to it
    ranked: tuple[Candidate, ...]  # remaining candidates, by their mean
    infeasible: tuple[Candidate, ...]  # so far, on average; more seeds may show otherwise
    dropped: tuple[Candidate, ...]  # failed, or shown worse or infeasible in this round or earlier
    standings: Mapping[int, Standing]  # of all candidates, by number
    margin: float | None  # within which a candidate is not inferior; None: too few seeds
    bound: float | None  # no candidate is better than the winner by more than this (95 %)
    seeds: int  # with which the winner was trained
    overstated_by: float  # by how much the search overstated its best; negative: understated


def judge(
    candidates: Sequence[Candidate],
    direction: Direction,
    *,
    rounds: int,
    margin: float | None = None,
    dropped: Collection[int] = (),
) -> Verdict | None:
    """Judge which candidates drop out and which one wins; None if no candidate has two values.

    `rounds` is the number planned in all; `margin` is in units of the metric, by default one
    standard error of the best mean; `dropped` are the numbers of candidates that earlier rounds
    dropped. A candidate with failed trainings drops out as soon as another one has none.
    """
    eligible = [c for c in candidates if c.number not in dropped and len(c.by_seed) > 1]
    if not eligible:
        return None
    sound = [c for c in eligible if not c.failed] or eligible
    feasible = [c for c in sound if not c.violation]
    contenders = feasible or [min(sound, key=lambda c: (c.violation, c.number))]
    infeasible = [
        c
        for c in sound
        if c not in contenders and not (contenders[0] in feasible and c.is_shown_infeasible)
    ]
    sign = 1.0 if direction == "maximize" else -1.0
    comparisons = max(len(candidates) - 1, 1)
    dropping = ALPHA * EARLY / max(rounds - 1, 1) / comparisons
    judging = ALPHA * (1 - EARLY) / comparisons
    step = _step([c for c in candidates if c.by_seed])
    ranked = sorted(contenders, key=lambda c: (-sign * c.mean, -sign * c.searched, c.number))
    leader = ranked[0]
    within: float | None = None
    if len(leader.by_seed) >= ENOUGH:
        within = leader.standard_error if margin is None else margin
    # a candidate that is worse by less may still win by being cheaper
    remaining = [
        c
        for c in ranked
        if c is leader or within is None or _upper(leader, c, sign, dropping, step) >= -within
    ]
    bounds = {c.number: _shortfall(c, remaining, sign, judging, step) for c in remaining}
    not_inferior = [c for c in remaining if within is not None and bounds[c.number] <= within]
    winner = leader
    for candidate in not_inferior:  # of equally cheap ones the first, which has the better mean
        if is_cheaper(candidate.expense, winner.expense):
            winner = candidate
    worse = [c for c in remaining if c is not leader and _upper(leader, c, sign, judging, step) < 0]
    first = max(candidates, key=lambda c: (sign * c.searched, -c.number))
    bound = bounds[winner.number]
    return Verdict(
        winner=winner,
        leader=leader,
        ranked=tuple(remaining),
        infeasible=tuple(infeasible),
        dropped=tuple(c for c in candidates if c not in remaining and c not in infeasible),
        standings=_standings(candidates, remaining, winner, leader, not_inferior, worse),
        margin=within,
        bound=bound if within is not None and math.isfinite(bound) else None,
        seeds=len(winner.by_seed),
        overstated_by=sign * (first.searched - first.mean),
    )


def _standings(
    candidates: Sequence[Candidate],
    remaining: Collection[Candidate],
    winner: Candidate,
    leader: Candidate,
    not_inferior: Collection[Candidate],
    worse: Collection[Candidate],
) -> dict[int, Standing]:
    standings: dict[int, Standing] = {}
    for candidate in candidates:
        if candidate is winner:
            standing: Standing = "wins"
        elif candidate is leader:
            standing = "best mean"
        elif candidate not in remaining:
            lacks_values = candidate.failed or len(candidate.by_seed) < 2
            if lacks_values:
                standing = "failed"
            else:
                standing = "infeasible" if candidate.violation else "worse"
        elif candidate in not_inferior:
            standing = "not inferior"
        else:
            standing = "worse" if candidate in worse else "not told apart"
        standings[candidate.number] = standing
    return standings


def _shortfall(
    candidate: Candidate, others: Sequence[Candidate], sign: float, alpha: float, step: float
) -> float:
    """The most by which the best of the others may be better."""
    uppers = [
        _upper(candidate, other, sign, alpha, step) for other in others if other is not candidate
    ]
    return max(0.0, *uppers) if uppers else 0.0


def _upper(candidate: Candidate, other: Candidate, sign: float, alpha: float, step: float) -> float:
    """The upper confidence limit of how much better the other one is, paired over the seeds.

    It is wrong with probability `alpha` at most; infinite if there are too few seeds.
    """
    seeds = sorted(candidate.by_seed.keys() & other.by_seed.keys())
    n = len(seeds)
    if n < ENOUGH:
        return math.inf
    differences = [sign * (other.by_seed[s] - candidate.by_seed[s]) for s in seeds]
    scale = max(abs(candidate.by_seed[s]) for s in seeds)
    if max(differences) - min(differences) <= ROUNDING * scale:
        # an effect in a larger share of trainings would show in `n` of them
        unseen: float = 1 - alpha ** (1 / n)
        return mean(differences) + unseen * step
    return mean(differences) + quantile(1 - alpha, n - 1) * spread(differences) / math.sqrt(n)


def _step(candidates: Collection[Candidate]) -> float:
    """The typical distance between neighbouring values: of an accuracy, one example or more.

    0 if seeds change nothing: each configuration repeats its value of the search with every seed,
    and the configurations differ. Infinite if all values are the same.
    """
    values = sorted({v for c in candidates for v in (c.searched, *c.values)})
    rounding = ROUNDING * max(map(abs, values))
    gaps = [high - low for low, high in pairwise(values) if high - low > rounding]
    if not gaps:
        return math.inf
    if all(set(c.values) == {c.searched} for c in candidates):
        return 0.0
    return median(gaps)


def rounds(seeds: int) -> range:
    """The number of trainings per remaining configuration after each round."""
    return range(min(ENOUGH, seeds), seeds + 1)


def mean(values: Sequence[float]) -> float:
    """The mean; of equal values exactly that value, as rounding would look like a difference."""
    return values[0] if min(values) == max(values) else fmean(values)


def spread(values: Sequence[float]) -> float:
    """The standard deviation; `statistics.stdev` takes ten times as long."""
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - 1))


@lru_cache(maxsize=1024)
def quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.stats import t  # takes a second to import

    return float(t.ppf(probability, freedom))
