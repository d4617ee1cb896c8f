"""Which rungs pay: how likely a very good trial passes them all, per epoch that the others cost.

Low rungs are cheap and lose some of the best trials; high rungs lose few and are expensive. How
much a rung loses follows from how ranks at neighbouring levels correlate. With scores that are
normal, a chain of such correlations is simulated for each set of rungs, with fixed random numbers.
What a trial costs before its first epoch counts too: it makes low rungs save less.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from tuner.database.readers.columns import Floats, Integers

SOUGHT = 0.01  # share of the trials that is not to be lost
SIMULATED = 2_000  # trials, and as many of the best
PRIOR, PRIOR_PAIRS = 0.8, 4.0  # rank correlation of two levels before trials tell, and its weight
MIN_PAIRS = 4
LARGEST = 0.99  # correlation: Fisher's transformation of 1 is infinite
GAIN = 1.15  # by which other rungs must be better than the present ones


@dataclass(frozen=True, slots=True)
class Evidence:
    """What ended trials say of the possible rungs.

    Args:
        rungs: The possible rungs, ascending [L].
        last: The last step of a trial.
        correlations: Of the ranks at each of them with those at the next, or at the end [L].
        startup: What a trial costs before its first step, in steps.

    """

    rungs: tuple[int, ...]
    last: int
    correlations: tuple[float, ...]
    startup: float


class Yields:
    """The yields of sets of rungs, by one evidence."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        rng = np.random.default_rng(0)
        quantiles = (np.arange(SIMULATED) + 0.5) / SIMULATED
        self._others = self._simulate(ndtri(quantiles), rng)
        self._best = self._simulate(ndtri(1 - SOUGHT * quantiles), rng)

    def _simulate(self, scores: Floats, rng: np.random.Generator) -> dict[int, Floats]:
        """Return scores at each rung of trials that have these at the end."""
        out: dict[int, Floats] = {}
        pairs = zip(self._evidence.rungs, self._evidence.correlations, strict=True)
        for rung, correlation in reversed(list(pairs)):
            noise = rng.standard_normal(len(scores))
            scores = correlation * scores + math.sqrt(1 - correlation**2) * noise
            out[rung] = scores
        return out

    def of(self, rungs: Sequence[int]) -> float:
        """Return the share of the best trials that pass all of these rungs, by the mean cost.

        At each rung, such a share passes that the steps up to the next one cost as much as those up
        to this one.
        """
        last = self._evidence.last
        others, best = np.arange(SIMULATED), np.arange(SIMULATED)
        cost = self._evidence.startup + rungs[0]
        for rung, above in itertools.pairwise([*rungs, last]):
            scores = self._others[rung]
            in_order = others[np.argsort(-scores[others], kind="stable")]
            others = in_order[: max(1, round(len(others) * rung / above))]
            best = best[self._best[rung][best] >= scores[others[-1]]]
            cost += len(others) / SIMULATED * (above - rung)
        return len(best) / SIMULATED / cost

    def best_of(
        self, candidates: Sequence[tuple[int, ...]], present: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the best of the candidates, or the present rungs if none is clearly better."""
        best = max(candidates, key=self.of)
        return best if self.of(best) > GAIN * self.of(present) else present


def candidates(
    rungs: Sequence[int], *, first_is_fixed: bool, ratio_is_fixed: bool
) -> list[tuple[int, ...]]:
    """Return the sets of rungs to choose from, given all possible ones, ascending."""
    starts = range(1 if first_is_fixed else len(rungs))
    if ratio_is_fixed:
        return [tuple(rungs[start:]) for start in starts]
    return [
        (rungs[start], *above)
        for start in starts
        for size in range(len(rungs) - start)
        for above in itertools.combinations(rungs[start + 1 :], size)
    ]


def correlations(levels: Floats) -> tuple[float, ...]:
    """Return the rank correlation of each level with the next.

    `levels` [L + 1, N] are the values of trials at each level and at the end, NaN where a trial did
    not come so far. Those that went on are a selection, so each correlation is corrected for the
    range that they cover (Thorndike's case 2), and shrunk towards `PRIOR`.
    """
    return tuple(_correlation(before, after) for before, after in itertools.pairwise(levels))


def _correlation(before: Floats, after: Floats) -> float:
    before, after = before[~np.isnan(before)], after[~np.isnan(before)]
    both = ~np.isnan(after)
    count = int(both.sum())
    if count < MIN_PAIRS:
        return PRIOR
    scores, later = _normal_scores(before), _normal_scores(after[both])
    spread = float(scores[both].std())
    if spread < 1e-9 or later.std() < 1e-9:
        return PRIOR
    r = float(np.corrcoef(scores[both], later)[0, 1])
    wider = max(1.0, float(scores.std()) / spread)
    r = r * wider / math.sqrt(1 + r * r * (wider * wider - 1))
    z = math.atanh(min(max(r, -LARGEST), LARGEST))
    prior = PRIOR_PAIRS * math.atanh(PRIOR)
    return math.tanh(((count - 3) * z + prior) / (count - 3 + PRIOR_PAIRS))


def _normal_scores(values: Floats) -> Floats:
    return np.asarray(ndtri((rankdata(values) - 0.5) / len(values)))


def startup_steps(last_steps: Integers, seconds: Floats) -> float:
    """Return what a trial costs before its first step, in steps: the line through the medians.

    `last_steps` and `seconds` are those of ended trials [N]; NaN seconds are not known.
    """
    groups = [
        (step, float(np.median(own)), len(own))
        for step in np.unique(last_steps[last_steps > 0]).tolist()
        if len(own := seconds[(last_steps == step) & (seconds > 0)]) > 2
    ]
    if len(groups) < 2:
        return 0.0
    steps, medians, count = (np.array(column, np.float64) for column in zip(*groups, strict=True))
    slope, intercept = np.polyfit(steps, medians, 1, w=np.sqrt(count) / medians)
    return float(np.clip(intercept / slope, 0.0, steps.max())) if slope > 0 else 0.0
