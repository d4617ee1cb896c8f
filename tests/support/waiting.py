"""Waits of the tests: for events, as long as something moves, on a machine however busy."""

import threading
from collections.abc import Callable
from typing import Any

LOOK = 0.01  # seconds between two looks at what a test waits for


PATIENCE = 120.0  # seconds of an idle machine in which it has to happen, or something to move


STUCK = 1_200.0  # seconds after which a process counts as stuck, on the busiest machine


def eventually(
    condition: Callable[[], Any],
    *,
    within: float = PATIENCE,
    progress: Callable[[], Any] = lambda: None,
) -> None:
    """Wait until the condition holds; fails after `within` seconds in which nothing has moved.

    The seconds are those of an idle machine: it looks a hundred times in each, and on a busy one a
    look takes longer, as everything does. They begin anew if `progress` returns another value.
    """
    patience = int(max(within, PATIENCE) / LOOK)
    before, looks = progress(), 0
    pause = threading.Event()
    while not condition():
        pause.wait(LOOK)
        looks += 1
        if looks == patience:
            now = progress()
            assert now != before, f"not within {patience} looks, and nothing has moved: {now!r}"
            before, looks = now, 0
