"""Writes, kept while the database is away and delivered once it is back, in order per trial.

Reports that follow each other within `PERIOD` go together, and the last ones go with their trial's
end: a quick trial costs one statement per tenth of a second instead of one per epoch.

In memory only: if the worker dies as well, its trials' leases end, and the worker of the next
attempt finds in the journal what was not delivered.

A report is acknowledged before it is on the server's disk, and a crash right after can lose it. So
reports are kept for a while and repeated over a new connection. A report that arrives twice is
stored once; after its trial's end, which flushed it, it is refused.
"""

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tuner.database.engine import Connected, Write
from tuner.database.hints import ListeningDatabase
from tuner.errors import DatabaseUnreachableError, LeaseLostError
from tuner.trials import Report

PERIOD = 0.1  # seconds between two deliveries of reports
SHARE = 0.1  # of a worker's time that they may take; beyond it they become fewer and larger
LONGEST = 1.0  # seconds that a report may wait while the database answers
FIRST_BACKOFF = 0.2  # seconds
LAST_BACKOFF = 5.0

_log = logging.getLogger(__name__)


class WriteReports(Protocol):
    """A single statement that stores reports with whatever else it writes."""

    def __call__(self, connection: Connected, /, *, reports: Sequence[Report]) -> object:
        """Run it; `reports` are in the order in which they were made."""


def _ignore() -> None:
    """The callback of writes whose outcome does not matter."""


@dataclass(slots=True, eq=False)
class _QueuedWrite:
    trial: int  # its id
    write: WriteReports
    on_lost: Callable[[], None]
    on_done: Callable[[], None]
    due: float = 0.0  # monotonic clock
    reports: list[Report] = field(default_factory=list)
    is_report: bool = False
    is_asynchronous: bool = False  # a crash of the server may lose it


class Outbox:
    """A queue of single-statement writes, each with callbacks for its outcome."""

    def __init__(self, database: ListeningDatabase, keep: float) -> None:
        """Keep reports for `keep` seconds, within which the end of a connection is noticed."""
        self._database = database
        self._keep = keep
        self._writes: deque[_QueuedWrite] = deque()
        self._waiting: dict[int, _QueuedWrite] = {}  # those that hold reports, by trial id
        # the asynchronous ones, with the time of their delivery (monotonic clock)
        self._delivered: deque[tuple[float, _QueuedWrite]] = deque()
        self._next_report = -math.inf  # monotonic clock: not before
        self._connections = database.connections
        self._backoff = FIRST_BACKOFF
        self._not_before = 0.0  # monotonic clock

    def __bool__(self) -> bool:
        return bool(self._writes)

    def pause(self) -> float:
        """Seconds until something is due; infinite if nothing waits."""
        due = min((entry.due for entry in self._writes), default=math.inf)
        return max(0.0, max(due, self._not_before) - time.monotonic())

    def put(
        self,
        trial: int,
        write: Write,
        on_lost: Callable[[], None],
        on_done: Callable[[], None] = _ignore,
        *,
        is_asynchronous: bool = False,
    ) -> None:
        """Queue a write about the trial with this id and try to deliver it, after its reports.

        Args:
            trial: the trial's id.
            write: a single statement.
            on_lost: called if the write is refused: the lease is lost.
            on_done: called once the write is stored.
            is_asynchronous: whether it is acknowledged before it is on the server's disk; such a
                write may run twice.

        """
        before = self._waiting.pop(trial, None)
        if before is not None:
            before.due = 0.0

        def without_reports(connection: Connected, /, *, reports: Sequence[Report]) -> object:
            return write(connection)

        self._add(
            _QueuedWrite(trial, without_reports, on_lost, on_done, is_asynchronous=is_asynchronous)
        )

    def report(
        self,
        trial: int,
        report: Report,
        write: WriteReports,
        on_lost: Callable[[], None],
        on_done: Callable[[], None] = _ignore,
    ) -> None:
        """Queue a report of the trial with this id, with those that wait already."""
        entry = self._waiting.get(trial)
        if entry is None:
            entry = _QueuedWrite(
                *(trial, write, on_lost, on_done, self._next_report),
                is_report=True,
                is_asynchronous=True,
            )
            self._waiting[trial] = entry
            self._writes.append(entry)
        entry.reports.append(report)
        self.deliver()

    def end(
        self,
        trial: int,
        write: WriteReports,
        on_lost: Callable[[], None],
        on_done: Callable[[], None] = _ignore,
    ) -> None:
        """Queue the end of the trial with this id, with its waiting reports."""
        entry = _QueuedWrite(trial, write, on_lost, on_done)
        before = self._waiting.pop(trial, None)
        if before is not None:
            self._writes.remove(before)
            entry.reports = before.reports
        self._add(entry)

    def _add(self, entry: _QueuedWrite) -> None:
        self._writes.append(entry)
        self.deliver()

    def deliver(self) -> bool:
        """Try to deliver what is due; returns whether nothing waits any more."""
        self._repeat_if_connected_anew()
        while (entry := self._first_due()) is not None:
            began = time.monotonic()
            try:
                with self._database.statement() as connection:
                    if self._repeat_if_connected_anew():
                        continue
                    callback = entry.on_done
                    entry.write(connection, reports=entry.reports)
            except LeaseLostError as error:
                callback = entry.on_lost
                if callback is not _ignore:  # a repeated report may belong to an ended trial
                    _log.warning("%s", error)
            except DatabaseUnreachableError as error:
                _log.warning("%s; %d writes wait", error, len(self._writes))
                self._not_before = time.monotonic() + self._backoff * random.uniform(0.5, 1.5)
                self._backoff = min(2 * self._backoff, LAST_BACKOFF)
                return False
            self._note_delivered(entry, began)
            callback()  # it may queue something itself
        return not self._writes

    def _first_due(self) -> _QueuedWrite | None:
        now = time.monotonic()
        if now < self._not_before:
            return None
        return next((entry for entry in self._writes if entry.due <= now), None)

    def _note_delivered(self, entry: _QueuedWrite, began: float) -> None:
        self._writes.remove(entry)
        self._backoff = FIRST_BACKOFF
        if not entry.is_asynchronous:
            return
        now = time.monotonic()
        if entry.is_report:
            if self._waiting.get(entry.trial) is entry:
                del self._waiting[entry.trial]
            self._next_report = now + min(max(PERIOD, (now - began) / SHARE), LONGEST)
        self._delivered.append((now, entry))
        while self._delivered[0][0] < now - self._keep:
            self._delivered.popleft()

    def _repeat_if_connected_anew(self) -> bool:
        """Queue what was reported over a connection that is gone again; whether one is gone."""
        if self._connections == self._database.connections:
            return False
        self._connections = self._database.connections
        repeated = [
            replace(entry, on_lost=_ignore, on_done=_ignore, due=0.0)
            for _, entry in self._delivered
        ]
        self._delivered.clear()
        self._writes.extendleft(reversed(repeated))
        return True
