"""Keeps what coverage.py has measured of processes that are killed, as executors always are.

Python runs this file at the start of every process that has its folder on the path
(`make coverage`), after coverage.py has begun.
"""

import threading
import time

import coverage

EVERY = 0.5  # seconds


def keep() -> None:
    """Write down what was run so far, again and again."""
    while True:
        time.sleep(EVERY)
        if (current := coverage.Coverage.current()) is not None:
            current.save()


threading.Thread(target=keep, daemon=True).start()
