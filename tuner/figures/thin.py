"""Fewer points where they cannot be told apart; those that matter stay."""

from collections.abc import Collection, Sequence
from typing import TypeVar

MAX_POINTS = 8_000  # per figure: SVG stays fast up to here

T = TypeVar("T")


def indices(length: int, limit: int, keep: Collection[int] = ()) -> list[int]:
    """Return at most `limit` of `range(length)`: evenly spread, in order, all of `keep` included.

    A limit of 2 or more includes the first and the last. If `keep` alone exceeds the limit, its
    last ones are returned.
    """
    if length <= limit:
        return list(range(length))
    if limit <= 0:
        return []
    chosen = set(sorted(set(keep))[-limit:])
    free = limit - len(chosen)
    if free == 1:
        chosen.add(length - 1)
    elif free > 1:
        chosen.update(i * (length - 1) // (free - 1) for i in range(free))
    return sorted(chosen)


def evenly(items: Sequence[T], limit: int, keep: Collection[int] = ()) -> list[T]:
    """Return the items at `indices`."""
    return [items[i] for i in indices(len(items), limit, keep)]
