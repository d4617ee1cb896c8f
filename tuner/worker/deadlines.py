"""Deadlines of executors, kept by a thread: whoever is past one is killed with all that it started.

The worker's loop may be waiting for a database that does not answer just when a lease is about to
end. And a worker that was stopped (SIGSTOP, a suspended machine) and is woken does this first. The
clock is the monotonic one, so nobody can set it.

It does *not* reach an executor while the worker itself is stopped; that trains on to its next
report, which nobody takes, and waits there.
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


class Limit(Enum):
    """What ends at a deadline."""

    LEASE = auto()
    SECONDS = auto()  # that the study's budget has reserved for the attempt
    ATTEMPT = auto()
    SILENCE = auto()
    LOST = auto()  # the time to leave a trial that is somebody else's by now


@dataclass(frozen=True, slots=True)
class Deadline:
    """When an executor is killed, and what is recorded of its trials then."""

    at: float  # monotonic clock
    cause: Cause
    message: str


class Deadlines:
    """Of executors, by their leash; a context manager, in which the thread runs."""

    def __init__(self) -> None:
        self._of: dict[socket.socket, dict[Limit, Deadline]] = {}
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

    def set(self, leash: socket.socket, limit: Limit, deadline: Deadline) -> None:
        """Set or move one of an executor's deadlines."""
        with self._changed:
            self._of.setdefault(leash, {})[limit] = deadline
            if deadline.at < self._wakes_at:
                self._changed.notify()

    def clear(self, leash: socket.socket) -> None:
        """Drop the deadlines of an executor: its cohort has ended."""
        with self._changed:
            self._of.pop(leash, None)

    def forget(self, leash: socket.socket) -> Deadline | None:
        """Leave an executor alone for good; the deadline at which it was killed, if it was."""
        with self._changed:
            self._of.pop(leash, None)
            return self._killed.pop(leash, None)

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for leash, its in list(self._of.items()):
                    first = min(its.values(), key=lambda deadline: deadline.at)
                    if first.at <= now:
                        self._kill(leash, first)
                every = (deadline.at for its in self._of.values() for deadline in its.values())
                self._wakes_at = min(every, default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)

    def _kill(self, leash: socket.socket, deadline: Deadline) -> None:
        del self._of[leash]
        self._killed[leash] = deadline
        with contextlib.suppress(OSError):  # it has ended just now
            leash.send(KILL)
