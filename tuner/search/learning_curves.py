"""Where the learning curves of unfinished trials would end, and how surely.

A trial that was pruned or still runs has reports up to some step only. Levels lie at 1, 3, 9, …
steps, and the last one at the end. How far values drop from one level to the next is a robust line
through the trials that went on: those that are worse have more to gain. Chained from a trial's best
value to the end, these lines give the value that it would reach; no shape of curves is assumed. The
variance is that around the lines, and of the lines where the trial is far from those that went on.
Sampler, pruner and forecast use this one extrapolation.
"""

import math
from dataclasses import dataclass

import numpy as np

from tuner.database.readers.columns import Floats, Integers, Reports

RATIO = 3  # of two levels
LEVELS = 24  # 3²³ steps are more than any trial has
PAIRS = 400  # newest trials that a line is fitted to
MIN_PAIRS = 2  # with fewer, no drop is known
PRIOR_PAIRS = 2.0  # trials that the variance at the level before counts as
PRIOR_SLOPE = 4.0  # trials that a horizontal line counts as
DECILES = 2.563  # standard deviations between the first and the last decile

_STEPS = np.array([RATIO**level for level in range(LEVELS)])
_LARGEST = np.finfo(np.float64).max / 4
_ROOT = 1e150  # its square, times the number of levels and of pairs, is finite


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """What trials have reached or would reach; smaller is better.

    Args:
        values: The final value of each trial, or the expected one [N].
        deviations: The standard deviation of each expected value; 0 for complete trials [N].

    """

    values: Floats
    deviations: Floats


class LearningCurves:
    """The curves of a study's trials by number; values are such that smaller is better.

    Attributes:
        last: The value of each trial so far: of its best report, or of its last one; NaN without
            a report [capacity].
        last_step: The step of its last report; 0 without one [capacity].
        final: The value of a complete trial, else NaN [capacity].

    """

    def __init__(
        self,
        *,
        counts_best: bool = True,
        by_level: bool = False,
        steps: Integers | None = None,
    ) -> None:
        """Create no curves.

        Args:
            counts_best: A trial is worth its best report; otherwise its last one.
            by_level: Each step is a level of fidelity, whose values differ in more than time: a
                trial is worth its last report.
            steps: Where the levels lie, ascending; by default at 1, 3, 9, …, or at each step.

        """
        self._counts_best = counts_best and not by_level
        self._is_proportional = not counts_best
        usual = np.arange(1, LEVELS + 1) if by_level else _STEPS
        self._steps = usual if steps is None else steps
        self.last = np.empty(0)
        self.last_step = np.empty(0, np.int64)
        self.final = np.empty(0)
        self._levels = np.empty(
            (len(self._steps), 0)
        )  # value up to each level; NaN where not reached

    def reserve(self, capacity: int) -> None:
        """Make room for trials below this number."""
        more = capacity - len(self.last)
        if more > 0:
            self.last = np.pad(self.last, (0, more), constant_values=np.nan)
            self.last_step = np.pad(self.last_step, (0, more))
            self.final = np.pad(self.final, (0, more), constant_values=np.nan)
            self._levels = np.pad(self._levels, ((0, 0), (0, more)), constant_values=np.nan)

    def set(self, numbers: Integers, reports: Reports, final: Floats) -> None:
        """Replace what is known of trials.

        Args:
            numbers: The trials [N], ascending.
            reports: All their reports, by number and step.
            final: The values of complete trials, NaN for the others [N].

        """
        self.final[numbers] = final
        self.last[numbers], self.last_step[numbers] = np.nan, 0
        self._levels[:, numbers] = np.nan
        if not len(reports.numbers):
            return
        trial = np.searchsorted(numbers, reports.numbers)
        is_first = np.diff(reports.numbers, prepend=-1) != 0
        first, last = np.flatnonzero(is_first), np.flatnonzero(np.roll(is_first, -1))
        chosen = numbers[trial[first]]
        values = finite(reports.values)
        levels = np.full((len(self._steps), len(numbers)), np.nan)
        # a report counts at its level and those above, up to the last that the trial has reached
        level = np.minimum(np.searchsorted(self._steps, reports.steps), len(self._steps) - 1)
        if self._counts_best:
            np.fmin.at(levels, (level, trial), values)
            levels = np.fmin.accumulate(levels[:, trial[first]])
        else:
            levels[level, trial] = values  # of several reports, the last one
            levels = _carry(levels[:, trial[first]])
        self.last_step[chosen] = reports.steps[last]
        self.last[chosen] = levels[-1]
        # levels that were stepped over count with the first report
        levels = np.where(np.isnan(levels), values[first], levels)
        levels[self._steps[:, None] > reports.steps[last]] = np.nan
        self._levels[:, chosen] = levels

    def at_levels(self, numbers: Integers) -> Floats:
        """Return the values of trials at each level, NaN where one was not reached [L, N]."""
        levels: Floats = self._levels[:, numbers]
        return levels

    def extrapolate(self, numbers: Integers) -> Extrapolation:
        """Return what these trials have reached or would reach, as if there were no others."""
        scale = self._scale(numbers)
        final, last_step = scale.apply(self.final[numbers]), self.last_step[numbers]
        is_complete = ~np.isnan(final)
        # the top level is the last that complete trials reach before their end
        end = int(last_step[is_complete].max()) if is_complete.any() else 0
        reached = int(last_step.max(initial=0))
        top = int(
            np.searchsorted(self._steps, end)
            if end
            else np.searchsorted(self._steps, reached, "right")
        )
        steps = np.append(self._steps[:top], end or self._steps[min(top, len(self._steps) - 1)])
        open_rows, variance = np.flatnonzero(~is_complete), None
        step, variances = last_step[open_rows], np.zeros(len(open_rows))
        value = scale.apply(self.last[numbers[open_rows]])
        for level in range(top):
            before, after = self._newest_pairs(numbers, level, is_last=level + 1 == top)
            line = _Line.fit(scale.apply(before), scale.apply(after), variance)
            variance = line.variance
            # part of the way to the next level may lie behind, or all of it
            is_between = step > steps[level]
            is_over = (step >= steps[level + 1]) & (level + 1 < top)
            ahead = np.where(is_over, 0.0, 1.0)
            between = np.flatnonzero(is_between & ~is_over)
            length = math.log(steps[level + 1] / steps[level])
            ahead[between] -= np.minimum(np.log(step[between] / steps[level]) / length, 1.0)
            smallest = 0.0 if self._counts_best else -_LARGEST
            value, variances = line.continue_(value, variances, ahead, smallest)
        values, deviations = self.final[numbers], np.zeros(len(numbers))
        values[open_rows], deviations[open_rows] = scale.restore(value, np.sqrt(variances))
        return Extrapolation(values, deviations)

    def _scale(self, numbers: Integers) -> "_Scale":
        """Return how values are compared: costs, of one sign, grow or stay in proportion."""
        if not self._is_proportional:
            return _Scale(0.0)
        known = np.append(self.last[numbers], self.final[numbers])
        known = known[~np.isnan(known)]
        sign = float(np.sign(known[0])) if len(known) else 0.0
        return _Scale(sign if (known * sign > 0).all() else 0.0)

    def _newest_pairs(
        self, numbers: Integers, level: int, *, is_last: bool
    ) -> tuple[Floats, Floats]:
        """Return the values of the newest trials at a level, and at the next or the end."""
        size = 2 * PAIRS
        while True:
            newest = numbers[-size:]
            before, final = self._levels[level, newest], self.final[newest]
            after = final if is_last else self._levels[level + 1, newest]
            after = np.where(np.isnan(after), final, after)
            if size >= len(numbers) or (~np.isnan(before + after)).sum() >= PAIRS:
                return before, after
            size *= 4


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values themselves (`sign` 0), or the logarithms of values of that sign."""

    sign: float

    def apply(self, values: Floats) -> Floats:
        """Return values on this scale."""
        return (
            values if not self.sign else self.sign * np.log(np.maximum(np.abs(values), 1 / _ROOT))
        )

    def restore(self, values: Floats, deviations: Floats) -> tuple[Floats, Floats]:
        """Return values and standard deviations in their own units."""
        if not self.sign:
            return finite(values), deviations
        with np.errstate(over="ignore"):
            own = finite(self.sign * np.exp(self.sign * values))
            return own, np.minimum(np.abs(own) * deviations, _ROOT)


@dataclass(frozen=True, slots=True)
class _Line:
    """How far values drop from one level to the next.

    Args:
        middle: The median value of those that went on.
        drop: Their median drop.
        slope: By how much more a worse value drops, from 0 to 1, so that the order stays.
        variance: Of a trial's drop around the line.
        slope_variance: Of the slope.

    """

    middle: float
    drop: float
    slope: float
    variance: float
    slope_variance: float

    @classmethod
    def fit(cls, before: Floats, after: Floats, prior: float | None) -> "_Line":
        """Fit the line through the trials that have reached both levels.

        `prior` is the variance at the level before; None at the first, where the spread of the
        values themselves is all that is known. The slope joins the medians of the lower and of the
        upper third (Tukey's resistant line).
        """
        # what was no number, or nearly infinite, says nothing of how others go on
        before = np.where(np.abs(before) < _ROOT, before, np.nan)
        after = np.where(np.abs(after) < _ROOT, after, np.nan)
        if prior is None:
            values = before[~np.isnan(before)][-PAIRS:]
            low, high = np.quantile(values, [0.1, 0.9]) if len(values) else (0.0, 0.0)
            prior = min((high - low) / DECILES, _ROOT) ** 2
        both = np.flatnonzero(~np.isnan(before) & ~np.isnan(after))[-PAIRS:]
        if len(both) < MIN_PAIRS:
            return cls(0.0, 0.0, 0.0, prior, 0.0)
        values, count = before[both], len(both)
        drops = values - after[both]
        middle, drop, slope, run = float(np.median(values)), float(np.median(drops)), 0.0, 0.0
        order, third = np.argsort(values, kind="stable"), count // 3
        if third > 1:
            lower, upper = order[:third], order[-third:]
            run = float(np.median(values[upper]) - np.median(values[lower]))
            rise = float(np.median(drops[upper]) - np.median(drops[lower]))
            if 0 < run < _ROOT:
                slope = min(max(rise / run, 0.0), 1.0) * count / (count + PRIOR_SLOPE)
        around = np.clip(drops - drop - slope * (values - middle), -_ROOT, _ROOT)
        variance = (float((around**2).sum()) + PRIOR_PAIRS * prior) / (count + PRIOR_PAIRS)
        # of the difference of two medians of a third each
        of_slope = 4 * variance / third / run**2 if 1 / _ROOT < run < _ROOT else 0.0
        return cls(middle, drop, slope, variance, of_slope)

    def continue_(
        self, values: Floats, variances: Floats, ahead: Floats, smallest: float
    ) -> tuple[Floats, Floats]:
        """Return values and variances at the next level.

        `ahead` is the part still to go [N], `smallest` the smallest possible drop.
        """
        distance = np.clip(values - self.middle, -_ROOT, _ROOT)
        drops = np.maximum(self.drop + self.slope * distance, smallest) * ahead
        with np.errstate(over="ignore"):
            new = (self.variance + self.slope_variance * distance**2) * ahead**2
            variances = np.minimum(variances * (1 - self.slope * ahead) ** 2 + new, _ROOT**2)
        return finite(values - drops), variances


def _carry(levels: Floats) -> Floats:
    """Return levels [L, N] where what is missing has the value of the level before."""
    places = np.where(np.isnan(levels), 0, np.arange(len(levels))[:, None])
    return np.take_along_axis(levels, np.maximum.accumulate(places), axis=0)


def finite(values: Floats) -> Floats:
    """Return values with NaN, and infinities beyond any other, as the largest float."""
    return np.clip(np.nan_to_num(values, nan=_LARGEST), -_LARGEST, _LARGEST)
