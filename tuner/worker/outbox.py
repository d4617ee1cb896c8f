"""Writes in their order, kept while the database is away, delivered once it is back.

In memory only: if the worker dies as well, its trials' leases end and another attempt runs.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable

from tuner.database.engine import Database, Write
from tuner.errors import DatabaseUnreachableError, LeaseLostError

FIRST_BACKOFF = 0.2  # seconds
LAST_BACKOFF = 5.0

_log = logging.getLogger(__name__)


def _nothing() -> None:
    """Whoever need not know."""


class Outbox:
    """A queue of single-statement writes; each tells what became of it once that is known."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes: deque[tuple[Write, Callable[[], None], Callable[[], None]]] = deque()
        self._backoff = FIRST_BACKOFF
        self._not_before = 0.0  # monotonic clock

    def __bool__(self) -> bool:
        return bool(self._writes)

    def put(
        self, write: Write, on_lost: Callable[[], None], on_done: Callable[[], None] = _nothing
    ) -> None:
        """Queue a write and try to deliver everything.

        `on_lost` hears if it was refused, `on_done` if it is stored.
        """
        self._writes.append((write, on_lost, on_done))
        self.deliver()

    def deliver(self) -> bool:
        """Try to deliver what waits; whether nothing waits any more."""
        while self._writes and time.monotonic() >= self._not_before:
            write, on_lost, on_done = self._writes[0]
            told = on_done
            try:
                with self._database.statement() as connection:
                    write(connection)
            except LeaseLostError as error:
                _log.warning("%s", error)
                told = on_lost
            except DatabaseUnreachableError as error:
                _log.warning("%s; %d writes wait", error, len(self._writes))
                self._not_before = time.monotonic() + self._backoff * random.uniform(0.5, 1.5)
                self._backoff = min(2 * self._backoff, LAST_BACKOFF)
                return False
            self._writes.popleft()
            self._backoff = FIRST_BACKOFF
            told()  # it may put something itself
        return not self._writes
