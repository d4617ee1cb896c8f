"""The guard with real processes: nothing that an executor started outlives it or its worker."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.guarding import guarded
from tests.support.waiting import STUCK, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's"),
]

# What training code may do at its worst, short of meaning harm: a child, a grandchild whose parent
# ends, and one in a session of its own; none listens to signals that can be blocked.
FAMILY = """
import os, signal, sys, time
folder = sys.argv[1]
def note(name):
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    with open(f"{folder}/{name}.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{folder}/{name}.new", f"{folder}/{name}")
    time.sleep(600)
if os.fork() == 0:
    note("child")
if os.fork() == 0:
    if os.fork() == 0:
        note("orphan")
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note("daemon")
    os._exit(0)
if len(sys.argv) > 2:
    while sum(not name.endswith(".new") for name in os.listdir(folder)) < 3:
        time.sleep(0.01)
    exec(sys.argv[2])
note("executor")
"""


@contextmanager
def family(
    folder: Path, then: str | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket, list[psutil.Process]]]:
    """The same with what the executor has started, once all of it is there."""
    names = ["child", "orphan", "daemon"] + ["executor"] * (then is None)
    command = [sys.executable, "-c", FAMILY, str(folder), *([then] if then else [])]
    started: list[psutil.Process] = []
    with guarded(*command) as (process, leash):
        eventually(lambda: all((folder / name).exists() for name in names))
        for name in names:
            with contextlib.suppress(psutil.NoSuchProcess):  # killed already
                started.append(psutil.Process(int((folder / name).read_text())))
        try:
            yield process, leash, started
        finally:
            for started_process in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    started_process.kill()


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=STUCK)
    assert alive == []


def test_the_workers_end_is_the_end_of_all(tmp_path: Path) -> None:
    with family(tmp_path) as (process, leash, started):
        assert len(started) == 4
        leash.close()  # what the kernel does when the worker is killed
        assert process.wait(STUCK) == -signal.SIGKILL
        assert_gone(started)


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("os._exit(7)", 7),
        ("sys.exit(0)", 0),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_the_executors_end_is_the_end_of_all_and_told_as_it_was(
    tmp_path: Path, then: str, code: int
) -> None:
    with family(tmp_path, then) as (process, _, started):
        assert process.wait(STUCK) == code
        assert_gone(started)


def test_a_guard_does_not_end_at_a_terminals_or_users_signals(tmp_path: Path) -> None:
    with family(tmp_path) as (process, leash, started):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        os.kill(started[1].pid, signal.SIGKILL)  # the orphan: it is the guard's to bury
        assert_gone(started[1:2])
        assert process.poll() is None
        assert all(p.is_running() for p in started[:1] + started[2:])
        leash.close()
        process.wait(STUCK)
        assert_gone(started)


def test_a_killed_guard_takes_the_executor_with_it(tmp_path: Path) -> None:
    with family(tmp_path) as (process, _, started):
        process.kill()
        executor = started[-1]
        assert_gone([executor])
