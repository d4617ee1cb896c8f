"""The guard: starts an executor, and kills everything below it once it or the worker ends.

    python -I -S guard.py LEASH[:FOLDER] COMMAND…     started by a worker, one per executor

An executor starts a guard in turn for the command of a trial (family `command`); then read executor
for worker, and command for executor.

Training code may fork, and what it forks may leave its session and its parent. The signal on a
parent's death (prctl(2), PR_SET_PDEATHSIG) reaches only the worker's direct child. The guard is the
"child subreaper" of everything below it: every orphan becomes a child of the guard, so killing its
children until none remain leaves nothing behind.

LEASH tells it when the worker ends. It is a socket whose other end only the worker holds; the
kernel closes that however the worker ends. A byte on it means the same, except TERMINATE, which the
guard passes on as SIGTERM to the executor's process group, which then has time to end. The guard
ends like the executor, with the same code or signal. If the guard itself is killed, the executor
dies with it, but not what the executor started.

FOLDER is for the reports of a command, which may end together with its executor: the guard removes
it.

The guard runs by its path and imports little, because it stays in memory beside every executor.
"""

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

TERMINATE = b"t"
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # exit codes, as in shells
_NOT_STARTED = {  # what the kernel's errors mean here
    errno.ENOENT: " (it is gone, or its interpreter or loader is missing)",
    errno.ENOEXEC: " (it is not a program for this machine)",
}
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def main(leash: int, folder: str, command: list[str]) -> None:
    """Guard one executor; ends this process."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_inheritable(leash, False)
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    # handlers instead of SIG_IGN, which the executor would inherit
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)

    # select() refuses descriptors from 1,024 on, and the leash keeps its number
    poll = select.poll()
    poll.register(leash, select.POLLIN)
    poll.register(woken, select.POLLIN)
    executor = _start(command)
    status = None
    while status is None:
        if leash in (descriptor for descriptor, _ in poll.poll()):
            if os.read(leash, 1) != TERMINATE:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(executor, signal.SIGTERM)
            continue
        woken.recv(64)
        status = _reap(executor)
    status = _kill_all(executor, status)
    if folder:
        _remove(Path(folder))
    if os.WIFSIGNALED(status):
        _end_by(os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def _start(command: list[str]) -> int:
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; other programs must not
        if _LINUX:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard:  # it died before prctl
                os._exit(1)
        try:
            os.execv(command[0], command)  # noqa: S606 - without a shell, on purpose
        except OSError as error:
            why = _NOT_STARTED.get(error.errno or 0, "")
            message = f"{command[0]} cannot be started: {error.strerror}{why}\n"
            os.write(2, message.encode("utf-8", "surrogateescape"))
            os._exit(NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE)
    return pid


def _reap(executor: int) -> int | None:
    """Reap ended children; returns the executor's status if it is among them."""
    executor_status = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            if pid == executor:
                executor_status = status
    return executor_status


def _kill_all(executor: int, status: int | None) -> int:
    """Kill and reap until no child remains; returns the executor's status."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(executor, signal.SIGKILL)
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            pid, child_status = os.waitpid(-1, 0)
        except ChildProcessError:
            return signal.SIGKILL if status is None else status
        if pid == executor:
            status = child_status


def _children() -> Iterator[int]:
    """List children of this process; one orphaned meanwhile appears at the next call."""
    me = os.getpid()
    for entry in Path("/proc").iterdir() if _LINUX else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                # behind the name, which may hold anything
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[1]) == me:
                    yield int(entry.name)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _end_by(number: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the executor has dumped its core already
    with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pause()


if __name__ == "__main__":
    _leash, _, _folder = sys.argv[1].partition(":")
    main(int(_leash), _folder, sys.argv[2:])
