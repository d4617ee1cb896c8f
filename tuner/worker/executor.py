"""The executor: the process that trains, started with `FD DEVICE [--warm]`.

It is warm: with `--warm` torch is imported before the first cohort arrives, and data stays in
memory from one cohort to the next. It knows nothing of databases. It talks to its worker over the
socket FD, and its guard ends it with the worker. It does *not* protect the machine from users'
code, which runs in here.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

from tuner.artifacts import LOG_BYTES, LOG_FILE
from tuner.data import PreparedData, prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.families.code import load, load_user_code
from tuner.study_file.data import DataSpec
from tuner.training.causes import cause, print_traceback, sentence, storable
from tuner.training.cohort import Cohort, Decision, FailedError, WorkerGoneError
from tuner.training.memory import Meter
from tuner.trials import Cause, Report
from tuner.worker.messages import (
    Decided,
    Diverged,
    Done,
    Failed,
    Finished,
    Paused,
    Ready,
    Reported,
    Stop,
    Train,
    Unusable,
    receive_from_worker,
    send_to_worker,
)

PR_SET_CHILD_SUBREAPER = 36


class _Context:
    """`training.cohort.Context` over the socket."""

    def __init__(self, connection: Connection, log: Path, peak: Callable[[], int]) -> None:
        self._connection = connection
        self._log = log
        self._peak = peak

    def report(self, reports: Mapping[int, Report]) -> Mapping[int, Decision]:
        _shorten(self._log)
        send_to_worker(self._connection, Reported(reports, self._peak()))
        while not isinstance(answer := receive_from_worker(self._connection), Decided):
            assert isinstance(answer, Stop)  # the answer says the same
        return answer.decisions

    def finish(
        self, number: int, value: float, weights: Path | None, measured: Mapping[str, float]
    ) -> None:
        send_to_worker(self._connection, Finished(number, value, measured, self._peak()))

    def diverged(self, number: int, message: str) -> None:
        send_to_worker(self._connection, Diverged(number, message))

    def paused(self, number: int) -> None:
        send_to_worker(self._connection, Paused(number))

    def asked_to_stop(self) -> bool:
        _shorten(self._log)
        return self._connection.poll() and isinstance(receive_from_worker(self._connection), Stop)


def main() -> None:
    """Run the executor that this process's arguments describe."""
    serve(int(sys.argv[1]), sys.argv[2], warm="--warm" in sys.argv)


def serve(descriptor: int, device: str, *, warm: bool) -> None:
    """Serve cohorts until the worker closes the socket."""
    if sys.platform == "linux":
        # processes that training code leaves behind become children of this one, and are killed
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # a terminal's Ctrl-C is for the worker, which decides what becomes of the trial
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    # so that the first trial need not wait for torch
    problem = _warm_up(device) if warm else None
    meter = Meter(device)
    try:
        send_to_worker(connection, Ready() if problem is None else Unusable(problem))
        while True:
            message = receive_from_worker(connection)
            if isinstance(message, Train):
                meter.begin()
                worn = _train(connection, message.cohort, meter.peak)
                send_to_worker(connection, Done(meter.release(), worn))
    except WorkerGoneError:
        return


def _train(connection: Connection, cohort: Cohort, peak: Callable[[], int]) -> bool:
    """Train and tell the worker how it ended; returns whether this process is worn by it."""
    folder = cohort.tasks[0].folder
    log = folder / LOG_FILE
    is_worn = False  # a failure may leave modules half imported, locks held or limits lowered
    with _capture_output(log):
        try:
            card = registry.card(cohort.family)
            if card.is_user_code:
                code = load_user_code(card)
                is_worn = code.in_executor
                # a command's memory is that of its own process
                context = _Context(connection, log, peak if code.in_executor else _unknown)
                return code.run(cohort, context)
            data = _prepare_data(cohort)
            _uncover_installed()
            if (problem := _warm_up(cohort.device)) is not None:
                raise TunerError(problem)
            load(card).train(cohort, data, _Context(connection, log, peak))
            return False
        except WorkerGoneError:
            raise
        except TunerError as error:
            with contextlib.suppress(Exception):  # user code may have closed or replaced it
                print(error, file=sys.stderr)
            failure = error.cause if isinstance(error, FailedError) else Cause.USER_ERROR
            send_to_worker(connection, Failed(failure, storable(str(error))))
        except BaseException as error:  # users' code may raise anything
            print_traceback(error)
            send_to_worker(connection, Failed(cause(error), sentence(error)))
    return is_worn


def _uncover_installed() -> None:
    """Forget modules of users' code that ran here and have the names of installed ones."""
    if (modules := sys.modules.get("tuner.user_code.modules")) is not None:
        modules.uncover_installed()


def _unknown() -> int:
    return 0


@lru_cache(maxsize=1)  # an executor has one device
def _warm_up(device: str) -> str | None:
    """Import torch and set this process up for training; returns why it cannot train, or None."""
    problem: str | None = importlib.import_module("tuner.training.device").warm_up(device)
    return problem


def _prepare_data(cohort: Cohort) -> PreparedData:
    data = prepare(DataSpec.model_validate(cohort.data), cohort.cache)
    if data.fingerprint != cohort.fingerprint:
        raise TunerError(
            f"the data has changed since the study was launched (fingerprint {data.fingerprint}, "
            f"at launch {cohort.fingerprint}); launch it anew under another name"
        )
    return data


@contextmanager
def _capture_output(path: Path) -> Iterator[None]:
    """Redirect standard output and error to a file, those of native code too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    originals = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for stream in (1, 2):
            os.dup2(log, stream)
        # the last trial's code may have closed or replaced its own; buffered by lines: a killed
        # process has no time to flush, and `tuner logs --follow` shows what is there
        sys.stdout, sys.stderr = (
            os.fdopen(stream, "w", buffering=1, errors="backslashreplace", closefd=False)
            for stream in (1, 2)
        )
        yield
    finally:
        for text in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the code may have put anything there
                text.flush()
        for stream, original in zip((1, 2), originals, strict=True):
            os.dup2(original, stream)
            os.close(original)
        os.close(log)


def _shorten(path: Path) -> None:
    """Shorten a log that has grown too long to its last part."""
    size = path.stat().st_size
    if size <= LOG_BYTES:
        return
    with path.open("r+b") as log:
        log.seek(size - LOG_BYTES // 2)
        tail = log.read(LOG_BYTES // 2)
        log.truncate(0)
        log.seek(0)
        log.write(b"[... earlier output was dropped]\n" + tail.partition(b"\n")[2])
