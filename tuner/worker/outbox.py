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


class Outbox:
    """A queue of single-statement writes; `on_lost` hears of those that were refused."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes: deque[tuple[Write, Callable[[], None]]] = deque()
        self._backoff = FIRST_BACKOFF
        self._not_before = 0.0  # monotonic clock

    def __bool__(self) -> bool:
        return bool(self._writes)

    def put(self, write: Write, on_lost: Callable[[], None]) -> None:
        """Queue a write and try to deliver everything."""
        self._writes.append((write, on_lost))
        self.deliver()

    def deliver(self) -> bool:
        """Try to deliver what waits; whether nothing waits any more."""
        while self._writes and time.monotonic() >= self._not_before:
            write, on_lost = self._writes[0]
            try:
                with self._database.statement() as connection:
                    write(connection)
            except LeaseLostError as error:
                _log.warning("%s", error)
                on_lost()
            except DatabaseUnreachableError as error:
                _log.warning("%s; %d writes wait", error, len(self._writes))
                self._not_before = time.monotonic() + self._backoff * random.uniform(0.5, 1.5)
                self._backoff = min(2 * self._backoff, LAST_BACKOFF)
                return False
            self._writes.popleft()
            self._backoff = FIRST_BACKOFF
        return not self._writes
