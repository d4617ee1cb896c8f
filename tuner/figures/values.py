"""Objective values: the finite ones, the records among them, the range worth showing."""

import math
from collections.abc import Iterable, Sequence

from tuner.trials import Direction, Trial, TrialState, better

ENOUGH = 4  # values; with fewer, quartiles say nothing
GOLDEN = 0.6180339887498949  # its multiples fill [0, 1) evenly: spreads marks without randomness
PAD = 0.04  # share of a range, so that points do not touch the frame


def finite(value: float | None) -> float | None:
    """Return the value if it is finite, else None."""
    return value if value is not None and math.isfinite(value) else None


def complete(trials: Iterable[Trial]) -> list[tuple[Trial, float]]:
    """Return complete trials that have a finite value, with the value."""
    return [
        (trial, value)
        for trial in trials
        if trial.state is TrialState.COMPLETE and (value := finite(trial.value)) is not None
    ]


def feasible(trials: Iterable[Trial]) -> list[tuple[Trial, float]]:
    """Return those that violate no constraint, and so can be the best."""
    return [(trial, value) for trial, value in complete(trials) if not trial.violates_constraint]


def records(values: Sequence[float], direction: Direction) -> list[int]:
    """Return the indices of values that are better than all before them."""
    indices: list[int] = []
    for i, value in enumerate(values):
        if not indices or better(direction, value, values[indices[-1]]):
            indices.append(i)
    return indices


def value_range(values: Iterable[float], direction: Direction) -> tuple[float, float] | None:
    """Return the range of values to show at first; None means all.

    A few diverged trials would flatten all others to a line. Values more than four interquartile
    ranges on the bad side of the quartiles are left out if that triples the room of the others.
    """
    ordered = sorted(v for v in values if math.isfinite(v))
    if len(ordered) < ENOUGH:
        return None
    least, most = ordered[0], ordered[-1]
    q1, q3 = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    spread = 4 * (q3 - q1)
    if spread <= 0 or not math.isfinite(spread) or not math.isfinite(most - least):
        return None
    if direction == "minimize":
        low, high = least, max(v for v in ordered if v <= q3 + spread)
    else:
        low, high = min(v for v in ordered if v >= q1 - spread), most
    if most - least < 3 * (high - low):
        return None
    return padded([low, high])


def padded(values: Sequence[float], share: float = PAD) -> tuple[float, float]:
    """Return the range of the values, with room on both sides."""
    low, high = min(values), max(values)
    room = share * (high - low)
    return low - room, high + room


def outside(values: Iterable[float], view: tuple[float, float] | None) -> int:
    """Count the values outside a range."""
    return 0 if view is None else sum(not view[0] <= v <= view[1] for v in values)
