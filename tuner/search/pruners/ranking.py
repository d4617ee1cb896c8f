"""How the trials at a rung are ranked: by their value, or by the fronts of several objectives.

Scores are such that larger is better. A trial that is known to violate a constraint ranks behind
all others, the more the further it is from the constraint.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import moocore
import numpy as np

from tuner.database.readers.columns import Floats

WINDOW = 1_000  # newest trials that fronts are made of, beside the best: an answer takes a few ms
NET = 200  # trials of a front that are put in order; of a longer one, as many are drawn
_UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a trial at a rung.

    Args:
        score: Of the first objective; -inf if it is NaN.
        others: Scores of the other objectives; NaN where a value is not known yet.
        violation: By how much it violates its constraints; 0 if it violates none.

    """

    score: float
    others: tuple[float, ...] = ()
    violation: float = 0.0


class Ranking(Protocol):
    """The trials that have reached a rung."""

    def __len__(self) -> int:
        """The number of trials."""
        ...

    def __contains__(self, number: int) -> bool:
        """Whether it holds a trial."""
        ...

    def __getitem__(self, number: int) -> Standing:
        """The standing of a trial."""
        ...

    def add(self, number: int, standing: Standing) -> None:
        """Add a trial that it does not hold."""
        ...

    def extend(self, numbers: Sequence[int], violations: Floats, scores: Floats) -> None:
        """Add many trials that it does not hold: violations [N] and scores [N, objectives]."""
        ...

    def count_ahead(self, number: int) -> float:
        """How many trials rank ahead of this one; estimated where there are very many."""
        ...

    def is_leading(self, number: int) -> bool:
        """Whether the trial may not be lost, whatever the others are: no other is better."""
        ...


class ByValue:
    """The order of one objective's values."""

    def __init__(self) -> None:
        self._keys: dict[int, tuple[float, float]] = {}  # violation, negated, and score
        self._in_order: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, number: int) -> bool:
        return number in self._keys

    def __getitem__(self, number: int) -> Standing:
        violation, score = self._keys[number]
        return Standing(score, violation=-violation)

    def add(self, number: int, standing: Standing) -> None:
        """Add a trial that it does not hold."""
        self._keys[number] = key = -standing.violation, standing.score
        insort(self._in_order, key)

    def extend(self, numbers: Sequence[int], violations: Floats, scores: Floats) -> None:
        """Add many trials that it does not hold."""
        keys = list(zip((-violations).tolist(), scores[:, 0].tolist(), strict=True))
        self._keys.update(zip(numbers, keys, strict=True))
        self._in_order = sorted([*self._in_order, *keys])  # quick, for most of them are in order

    def count_ahead(self, number: int) -> int:
        """How many trials rank ahead of this one."""
        return len(self._in_order) - bisect_right(self._in_order, self._keys[number])

    def is_leading(self, number: int) -> bool:
        """Whether no other is better."""
        return self.count_ahead(number) == 0


class ByFront:
    """Non-dominated sorting; within a front, an ε-net (MO-ASHA; Schmucker et al., 2021).

    The trials of a front are ordered such that each next one is farthest from those before it,
    beginning with the best in each objective. So whatever share of a front goes on is spread over
    it. An objective that is not known of a trial does not count when it is compared; other trials
    count as worst in what is not known of them.
    """

    def __init__(self, objectives: int) -> None:
        self._rows: dict[int, int] = {}
        self._extremes: list[int] = []  # rows of the feasible trials that are best in a column
        self._points = np.empty((64, objectives + 1))  # violation, then the scores; smaller: better

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def __getitem__(self, number: int) -> Standing:
        violation, first, *others = self._points[self._rows[number]].tolist()
        return Standing(-first, tuple(-value for value in others), violation)

    def add(self, number: int, standing: Standing) -> None:
        """Add a trial that it does not hold."""
        row = len(self._rows)
        if row == len(self._points):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
        others = standing.others or (_UNKNOWN,) * (self._points.shape[1] - 2)
        self._points[row] = (standing.violation, -standing.score, *(-value for value in others))
        self._rows[number] = row
        self._note_extremes(row)

    def extend(self, numbers: Sequence[int], violations: Floats, scores: Floats) -> None:
        """Add many trials that it does not hold."""
        size = len(self._rows)
        self._points = np.concatenate(
            [self._points[:size], np.column_stack([violations, -scores]), self._points[:64]]
        )
        self._rows.update(zip(numbers, range(size, size + len(numbers)), strict=True))
        self._note_extremes(*range(size, size + len(numbers)))

    def _note_extremes(self, *rows: int) -> None:
        chosen = np.array([*self._extremes, *rows], np.int64)
        points = self._points[chosen]
        points = np.where(np.isnan(points), math.inf, points)
        points[points[:, 0] > 0] = math.inf
        self._extremes = chosen[points.argmin(axis=0)].tolist() if len(chosen) else []

    def count_ahead(self, number: int) -> float:
        """How many trials rank ahead of this one, of very many an estimate."""
        own, peers = self._compared(number)
        violation, points = peers[:, 0], peers[:, 1:]
        place = len(peers) - 1
        if own[0] > 0:
            ahead = int((violation < own[0]).sum())
        else:
            feasible = points[violation <= 0]  # the trial itself is the last of them
            ahead = _count_ahead(feasible)
        return ahead * (len(self._rows) / (place + 1))

    def is_leading(self, number: int) -> bool:
        """Whether it is on the first front, and the best of it in an objective."""
        own, peers = self._compared(number)
        violation, points = peers[:, 0], peers[:, 1:]
        if own[0] > 0:
            return bool(own[0] <= violation.min())
        feasible = points[violation <= 0]
        return bool((feasible[-1] <= feasible.min(0)).any()) and not _is_dominated(feasible)

    def _compared(self, number: int) -> tuple[Floats, Floats]:
        """Return a trial's point and those that it is compared with [N, 1 + known], it the last."""
        row = self._rows[number]
        own = self._points[row]
        is_known = ~np.isnan(own)
        size = len(self._rows)
        chosen = np.arange(max(0, size - WINDOW), size)
        chosen = np.union1d(chosen, self._extremes)
        chosen = np.append(chosen[chosen != row], row)
        points = self._points[chosen][:, is_known]
        return own[is_known], np.where(np.isnan(points), math.inf, points)


def _is_dominated(points: Floats) -> bool:
    """Whether the last point is as bad as another everywhere, and worse somewhere."""
    own = points[-1]
    return bool(((points <= own).all(1) & (points < own).any(1)).any())


def _count_ahead(points: Floats) -> int:
    """How many points come before the last one: those of better fronts, and of its own."""
    if points.shape[1] == 1:
        return int((points[:, 0] < points[-1, 0]).sum())
    largest = np.finfo(np.float64).max
    ranks = moocore.pareto_rank(np.clip(points, -largest, largest))
    ahead = int((ranks < ranks[-1]).sum())
    front = points[ranks == ranks[-1]]
    if len(front) <= NET:
        return ahead + _place_in_net(front)
    # with its ends and itself
    in_order = np.lexsort(front.T[::-1])
    drawn = in_order[np.linspace(0, len(front) - 1, NET - 1).astype(np.int64)]
    drawn = np.append(drawn[drawn != len(front) - 1], len(front) - 1)
    return ahead + round(_place_in_net(front[drawn]) * len(front) / len(drawn))


def _place_in_net(front: Floats) -> int:
    """How many points of a front come before its last one, in the order of an ε-net."""
    own = len(front) - 1
    scaled = _as_ranks(front)
    first = dict.fromkeys(np.lexsort((*front.T[::-1],))[:1].tolist())  # best in the first objective
    first |= dict.fromkeys(front.argmin(0).tolist())
    if own in first:
        return list(first).index(own)
    distance = np.full(len(front), np.inf)
    for place in first:
        distance = np.minimum(distance, ((scaled - scaled[place]) ** 2).sum(1))
    for place in range(len(first), len(front)):
        farthest = int(distance.argmax())
        # among equally far ones it comes first; one that equals it may have come before
        if distance[own] in (0.0, distance[farthest]):
            return place
        distance = np.minimum(distance, ((scaled - scaled[farthest]) ** 2).sum(1))
    return own


def _as_ranks(front: Floats) -> Floats:
    """Return ranks per objective, so that no unit and no outlier decides what is far."""
    ranks = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in front.T]
    return np.stack([column / max(1, column.max()) for column in ranks], axis=1)
