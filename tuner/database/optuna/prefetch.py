"""Work done while something else is waited for."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items, none of which is None: a thread makes the next one while one is used.

    Where not all are used, close it: what the thread has begun is waited for.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
