"""Writes in their order, kept while the database is away, delivered once it is back.

In memory only: if the worker dies as well, its trials' leases end and another attempt runs.

A report is acknowledged before it is on the server's disk, and a crash of the server right after
can forget it. So reports are kept for a while, and repeated over a new connection: the same report
twice is stored once, and is refused once the trial has ended, for then it was flushed.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tuner.database.engine import Write
from tuner.database.hints import ListeningDatabase
from tuner.errors import DatabaseUnreachableError, LeaseLostError

FIRST_BACKOFF = 0.2  # seconds
LAST_BACKOFF = 5.0

_log = logging.getLogger(__name__)


def _nothing() -> None:
    """Whoever need not know."""


class _Entry(NamedTuple):
    write: Write
    on_lost: Callable[[], None]
    on_done: Callable[[], None]
    is_report: bool


class Outbox:
    """A queue of single-statement writes; each tells what became of it once that is known."""

    def __init__(self, database: ListeningDatabase, keep: float) -> None:
        """Reports are kept for `keep` seconds, in which the end of a connection is noticed."""
        self._database = database
        self._keep = keep
        self._writes: deque[_Entry] = deque()
        self._reported: deque[tuple[float, _Entry]] = deque()  # when it was delivered, monotonic
        self._connections = database.connections
        self._backoff = FIRST_BACKOFF
        self._not_before = 0.0  # monotonic clock

    def __bool__(self) -> bool:
        return bool(self._writes)

    def put(
        self,
        write: Write,
        on_lost: Callable[[], None],
        on_done: Callable[[], None] = _nothing,
        *,
        is_report: bool = False,
    ) -> None:
        """Queue a write and try to deliver everything.

        `on_lost` hears if it was refused, `on_done` if it is stored.
        """
        self._writes.append(_Entry(write, on_lost, on_done, is_report))
        self.deliver()

    def deliver(self) -> bool:
        """Try to deliver what waits; whether nothing waits any more."""
        self._repeat_if_connected_anew()
        while self._writes and time.monotonic() >= self._not_before:
            try:
                with self._database.statement() as connection:
                    if self._repeat_if_connected_anew():
                        continue
                    entry = self._writes[0]
                    told = entry.on_done
                    entry.write(connection)
            except LeaseLostError as error:
                told = entry.on_lost
                if told is not _nothing:  # what is repeated may be known to have ended
                    _log.warning("%s", error)
            except DatabaseUnreachableError as error:
                _log.warning("%s; %d writes wait", error, len(self._writes))
                self._not_before = time.monotonic() + self._backoff * random.uniform(0.5, 1.5)
                self._backoff = min(2 * self._backoff, LAST_BACKOFF)
                return False
            self._writes.popleft()
            self._backoff = FIRST_BACKOFF
            if entry.is_report:
                self._reported.append((time.monotonic(), entry))
                while self._reported[0][0] < time.monotonic() - self._keep:
                    self._reported.popleft()
            told()  # it may put something itself
        return not self._writes

    def _repeat_if_connected_anew(self) -> bool:
        """Queue again what was reported over a connection that is gone; whether there was one."""
        if self._connections == self._database.connections:
            return False
        self._connections = self._database.connections
        repeated = [
            entry._replace(on_lost=_nothing, on_done=_nothing) for _, entry in self._reported
        ]
        self._reported.clear()
        self._writes.extendleft(reversed(repeated))
        return True
