"""Which of several configurations is the best, judged by trainings with fresh seeds.

The best of many noisy results is partly luck (the winner's curse): its value overstates it. So the
leading configurations are trained again, with seeds that no choice was made by, and those that are
clearly worse drop out round by round (Maron & Moore, NIPS 1993). What is left is tied: of tied ones
the cheapest is chosen. Pure functions over values; how trials are run is somebody else's business.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from tuner.trials import Direction, ParamValue

ALPHA = 0.05  # that any configuration is dropped or told apart by chance alone, all rounds together
EARLY = 0.2  # the share of it that the rounds before the last one have
LEVEL = 0.95  # of the intervals that are shown
ALIKE = 1.1  # costs that differ by less than this factor are the same


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that led the search, and what fresh seeds have made of it."""

    number: int  # of the trial that found it
    params: Mapping[str, ParamValue]
    searched: float  # its value in the search, by which it was chosen
    values: tuple[float, ...] = ()  # of fresh seeds
    failed: int = 0  # trainings that gave no value
    seconds: float = 0.0  # that a training took, on average

    @property
    def mean(self) -> float:
        """Of the fresh values; NaN without any."""
        return fmean(self.values) if self.values else math.nan

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the mean of all seeds lies with 95 %, by Student's t; None with one value."""
        if len(self.values) < 2:
            return None
        reach = _quantile(LEVEL, len(self.values) - 1) * stdev(self.values)
        reach /= math.sqrt(len(self.values))
        return self.mean - reach, self.mean + reach


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a round has shown."""

    leader: Candidate  # the best mean
    tied: tuple[Candidate, ...]  # not told apart from it, the leader among them
    dropped: tuple[Candidate, ...]
    winner: Candidate  # the cheapest of the tied ones
    gap: float  # by how much the search overstated the trial that led it; negative: it did not


def judged(
    candidates: Sequence[Candidate],
    direction: Direction,
    *,
    rounds: int,
    is_last: bool,
    out: Collection[int] = (),
) -> Verdict | None:
    """Who is out, who is tied, who wins; None where no candidate has two values.

    `rounds` are those planned in all, `out` the numbers of candidates that earlier ones have
    dropped. A candidate of which trainings have failed is out as soon as another one has none.
    """
    left = [c for c in candidates if c.number not in out and len(c.values) > 1]
    if not left:
        return None
    sound = [c for c in left if not c.failed] or left
    sign = 1.0 if direction == "maximize" else -1.0
    leader = max(sound, key=lambda c: (sign * c.mean, -c.number))
    alpha = ALPHA if rounds == 1 else ALPHA * ((1 - EARLY) if is_last else EARLY / (rounds - 1))
    # any pair may turn out to be the leader and another one (Bonferroni)
    level = 1 - alpha / max(math.comb(len(candidates), 2), 1)
    tied = tuple(c for c in sound if c is leader or not _differ(leader, c, level))
    cheapest = min(c.seconds for c in tied)
    winner = max(
        (c for c in tied if c.seconds <= ALIKE * cheapest), key=lambda c: (sign * c.mean, -c.number)
    )
    first = max(candidates, key=lambda c: (sign * c.searched, -c.number))
    return Verdict(
        leader=leader,
        tied=tied,
        dropped=tuple(c for c in candidates if c not in tied),
        winner=winner,
        gap=sign * (first.searched - first.mean),
    )


def _differ(a: Candidate, b: Candidate, level: float) -> bool:
    """Whether the interval of the difference of two means excludes 0 (Welch, 1947)."""
    parts = [stdev(c.values) ** 2 / len(c.values) for c in (a, b)]
    variance = sum(parts)
    difference = abs(a.mean - b.mean)
    if variance == 0:
        return difference > 0
    freedom = variance**2 / sum(
        part**2 / (len(c.values) - 1) for part, c in zip(parts, (a, b), strict=True)
    )
    return difference > _quantile(level, freedom) * math.sqrt(variance)


def _quantile(level: float, freedom: float) -> float:
    """How far Student's t reaches to both sides with this probability."""
    from scipy.stats import t  # a second to import, for this command alone

    return float(t.ppf((1 + level) / 2, freedom))
