"""Waits of the tests: for events, as long as something moves, on a machine however busy."""

import threading
from collections.abc import Callable
from typing import Any

LOOK = 0.01  # seconds from the first look at what a test waits for to the second
SELDOM = 0.1  # seconds between looks at what takes long, for a look costs more than it waits
PATIENCE = 120.0  # seconds of an idle machine in which it has to happen, or something to move
STUCK = 1_200.0  # seconds after which a process counts as stuck, on the busiest machine


def eventually(
    condition: Callable[[], Any],
    *,
    within: float = PATIENCE,
    progress: Callable[[], Any] = lambda: None,
) -> None:
    """Wait until the condition holds; fails after `within` seconds in which nothing has moved.

    The seconds are those of an idle machine: the pauses are counted, and on a busy one the looks
    between them take longer, as everything does. They begin anew if `progress` returns another
    value.
    """
    patience = max(within, PATIENCE)
    before, waited, moved = progress(), 0.0, 0.0
    clock = threading.Event()
    while not condition():
        pause = min(max(LOOK, waited / 20), SELDOM)
        clock.wait(pause)
        waited += pause
        if waited - moved >= patience:
            now = progress()
            assert now != before, f"not within {patience:g} s, and nothing has moved: {now!r}"
            before, moved = now, waited
