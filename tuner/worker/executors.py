"""Executor processes as the worker sees them: start, talk, watch, kill with all their children."""

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tuner import processes
from tuner.artifacts import LOG_FILE
from tuner.errors import ExecutorError, overwritten
from tuner.settings import executor_environment
from tuner.worker.assignment import Assignment
from tuner.worker.deadlines import Deadline
from tuner.worker.devices import Slot
from tuner.worker.devices.packing import Load
from tuner.worker.messages import FromWorker, Stop, send_to_executor

MAX_COHORTS = 1_000  # per process: what leaks slowly goes with it
# bytes that a process may hold beyond what it held after its first cohort of a study; on the CPU
# the resident set, which a fragmented heap enlarges too
MAX_GROWTH = {"cpu": 2 * 2**30, "cuda": 2**28, "mps": 2**28}
PROGRAM = "tuner.worker.executor"  # the module that an executor runs
GUARD_TIMEOUT = 10.0  # seconds to kill what an executor has started
TAIL_LINES = 20  # of the log, kept with a failed attempt
TAIL_BYTES = 4096


@dataclass
class Executor:
    """One warm process on one slot."""

    slot: Slot
    process: subprocess.Popen[bytes]  # its guard, which ends as it does
    connection: Connection
    leash: socket.socket  # readable once the guard has ended, and with it everything it guards
    ready: bool = False
    assignment: Assignment | None = None  # what it works on; None: nothing
    cohorts: int = 0  # done
    is_worn: bool = False  # to be replaced by a fresh one once it is idle
    memory_used: int = 0  # bytes of the device's memory that the process is known to hold
    base: tuple[int | None, int] = (None, 0)  # study, bytes held after its first cohort of that
    killed: Deadline | None = None  # at which it was killed

    @property
    def is_idle(self) -> bool:
        """Whether it can take a cohort."""
        return self.ready and self.assignment is None

    @property
    def load(self) -> Load:
        """What it takes of its device."""
        bound = None if self.assignment is None else self.assignment.bound
        return Load(bound, self.memory_used)

    def is_new_to(self, study_id: int) -> bool:
        """Whether its first cohort of the study, since it last worked on another, is still to end.

        Until then its code is not imported and its data not in memory: the trial pays for a cold
        start.
        """
        return self.base[0] != study_id

    def count_cohort(self, study_id: int, memory_used: int) -> None:
        """Take note of a cohort's end: a process that is old, or holds ever more, is worn."""
        self.cohorts += 1
        self.memory_used = memory_used
        if self.base[0] != study_id:  # other data
            self.base = (study_id, memory_used)
        has_grown = memory_used - self.base[1] > MAX_GROWTH[self.slot.kind]
        self.is_worn |= self.cohorts >= MAX_COHORTS or has_grown

    def tell_to_stop(self, grace: float) -> None:
        """Tell a cohort that is to stop, once; kill one that is still there `grace` seconds later.

        Most learn it from the answer to their next report; before that, only users' commands do.
        But users' code need not report at all.
        """
        assignment = self.assignment
        if assignment is None:
            return
        if not assignment.is_stopping:
            assignment.told_to_stop_at = None
        elif assignment.told_to_stop_at is None:
            assignment.told_to_stop_at = time.monotonic()
            self.send(Stop())
        elif time.monotonic() - assignment.told_to_stop_at > grace:
            with contextlib.suppress(OSError):
                self.leash.send(b"\n")  # the guard kills everything and ends

    def send(self, message: FromWorker) -> None:
        """Send; does nothing if the process is gone, which its guard reports."""
        with contextlib.suppress(OSError):
            send_to_executor(self.connection, message)

    def kill(self) -> None:
        """Kill the process and everything it started."""
        self.leash.close()  # the guard does it
        try:
            self.process.wait(GUARD_TIMEOUT)
        except subprocess.TimeoutExpired:  # it was stopped
            self.process.kill()
            self.process.wait()
        self.connection.close()

    def log_tail(self, number: int) -> str | None:
        """The last lines that the trial's attempt printed."""
        folder = None if self.assignment is None else self.assignment.folders.get(number)
        return None if folder is None else tail(folder / LOG_FILE)


def start(slot: Slot, *, warm: bool = True) -> Executor:
    """Start an executor and its guard; it says Ready, with torch imported if `warm`."""
    ours, theirs = socket.socketpair()
    leash, guards = socket.socketpair()
    options = ["--warm"] if warm else []
    command = processes.command(PROGRAM, str(theirs.fileno()), slot.device, *options)
    try:
        process = subprocess.Popen(
            processes.guarded(guards.fileno(), command),
            pass_fds=(guards.fileno(), theirs.fileno()),
            start_new_session=True,  # a terminal's Ctrl-C is the worker's business
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=executor_environment(slot.threads, slot.visible),
        )
    except OSError as error:
        ours.close()
        leash.close()
        raise ExecutorError(f"an executor process could not be started: {error}") from error
    finally:
        theirs.close()
        guards.close()
    return Executor(slot, process, Connection(ours.detach()), leash)


def tail(path: Path) -> str | None:
    """The last lines of a log; None where there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return None
    return "\n".join(overwritten(text).splitlines()[-TAIL_LINES:]) or None
