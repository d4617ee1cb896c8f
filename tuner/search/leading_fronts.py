"""The trials of the best fronts, of a long study with several objectives."""

from collections.abc import Sequence

import moocore
import numpy as np

from tuner.database.readers.columns import Floats, Integers

KEPT = 200  # trials


class LeadingFronts:
    """Keeps the trials that few others beat; feasible ones come first."""

    def __init__(self, signs: Sequence[float]) -> None:
        """`signs` are 1 for an objective that is minimized and -1 for one that is maximized."""
        self._signs = np.array(signs)
        self._numbers = np.empty(0, np.int64)
        self._points = np.empty((0, 1 + len(signs)))  # violation, then the objectives

    def extend(self, numbers: Sequence[int], violations: Floats, values: Floats) -> None:
        """Add complete trials: violations [N] and values [N, objectives]."""
        points = np.column_stack([violations, self._signs * values])
        largest = np.finfo(np.float64).max
        points = np.clip(np.nan_to_num(points, nan=largest), -largest, largest)
        self._numbers = np.append(self._numbers, numbers)
        self._points = np.concatenate([self._points, points])
        if len(self._numbers) > 2 * KEPT:
            self._keep(KEPT)

    def best(self, count: int) -> list[int]:
        """Return the numbers of so many trials, those of better fronts first."""
        order = self._order()[:count]
        return [int(number) for number in self._numbers[order]]

    def _keep(self, count: int) -> None:
        order = self._order()[:count]
        self._numbers, self._points = self._numbers[order], self._points[order]

    def _order(self) -> Integers:
        violations, objectives = self._points[:, 0], self._points[:, 1:]
        is_feasible = violations <= 0
        ranks = np.zeros(len(violations))
        if is_feasible.any():
            ranks[is_feasible] = moocore.pareto_rank(objectives[is_feasible])
        return np.asarray(np.lexsort((self._numbers, ranks, violations)), np.int64)
