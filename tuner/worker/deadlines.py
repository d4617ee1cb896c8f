"""Deadlines of executors, kept by a thread: past one, an executor is killed with its children.

A thread, because the worker's loop may be waiting for a database that does not answer just when a
lease is about to end. And when a worker that was stopped (SIGSTOP, a suspended machine) wakes up,
this happens first. The clock is the monotonic one, which nobody can set.

It does *not* reach an executor while the worker itself is stopped: the executor trains on to its
next report, which nobody reads, and waits there.
"""

import contextlib
import math
import socket
import threading
import time
from dataclasses import dataclass
from enum import Enum, auto

from tuner.trials import Cause

KILL = b"\n"  # on the leash of an executor's guard


class TimeLimit(Enum):
    """What ends at a deadline."""

    LEASE = auto()
    SECONDS = auto()  # those that the study's budget has reserved for the attempt
    ATTEMPT = auto()
    SILENCE = auto()
    LOST = auto()  # the time to leave a trial that another worker has by now


@dataclass(frozen=True, slots=True)
class Deadline:
    """When an executor is killed, and what is then recorded of its trials."""

    at: float  # monotonic clock
    cause: Cause
    message: str


class Deadlines:
    """The deadlines of executors, by leash; the thread runs within this context manager."""

    def __init__(self) -> None:
        self._deadlines: dict[socket.socket, dict[TimeLimit, Deadline]] = {}
        self._killed: dict[socket.socket, Deadline] = {}
        self._wakes_at = math.inf
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)

    def __enter__(self) -> "Deadlines":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def set(self, leash: socket.socket, limit: TimeLimit, deadline: Deadline) -> None:
        """Set or move one of an executor's deadlines."""
        with self._changed:
            self._deadlines.setdefault(leash, {})[limit] = deadline
            if deadline.at < self._wakes_at:
                self._changed.notify()

    def clear(self, leash: socket.socket) -> None:
        """Drop the deadlines of an executor: its cohort has ended."""
        with self._changed:
            self._deadlines.pop(leash, None)

    def forget(self, leash: socket.socket) -> Deadline | None:
        """Drop an executor for good; returns the deadline at which it was killed, if it was."""
        with self._changed:
            self._deadlines.pop(leash, None)
            return self._killed.pop(leash, None)

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for leash, by_limit in list(self._deadlines.items()):
                    first = min(by_limit.values(), key=lambda deadline: deadline.at)
                    if first.at <= now:
                        self._kill(leash, first)
                self._wakes_at = min(
                    (d.at for by_limit in self._deadlines.values() for d in by_limit.values()),
                    default=math.inf,
                )
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)

    def _kill(self, leash: socket.socket, deadline: Deadline) -> None:
        del self._deadlines[leash]
        self._killed[leash] = deadline
        with contextlib.suppress(OSError):  # it has ended just now
            leash.send(KILL)
