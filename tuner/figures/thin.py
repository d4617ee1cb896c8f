"""Fewer points where nobody could tell them apart; what matters is kept."""

from collections.abc import Collection, Sequence
from typing import TypeVar

MAX_POINTS = 8_000  # of one figure: SVG stays quick up to here

T = TypeVar("T")


def indices(length: int, limit: int, keep: Collection[int] = ()) -> list[int]:
    """At most `limit` of `range(length)`, evenly spread, in order, with all of `keep` among them.

    First and last are among them for a limit of 2 or more. Where `keep` alone exceeds the limit,
    the last ones of it are taken.
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
    """The items at `indices`."""
    return [items[i] for i in indices(len(items), limit, keep)]
