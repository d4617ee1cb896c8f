"""The guard: starts an executor; when that or the worker ends, it kills all that was started.

    python -I -S guard.py LEASH[:FOLDER] COMMAND…     started by a worker, one an executor

An executor, in its turn, has one for the command of a trial (family `command`); what is said here
of worker and executor is then true of executor and command.

Training code may fork, and what it forks may leave its session and its parent. The signal on a
parent's death (prctl(2), PR_SET_PDEATHSIG) reaches a worker's own child alone. The guard is the
"child subreaper" of everything below it: whoever loses his parent becomes a child of the guard, so
nobody gets out of its sight, and killing its children until there are none leaves nothing behind.

It learns of the worker's end from LEASH, a socket whose other end the worker alone holds: the
kernel closes that however the worker ends. A byte on it means the same, but TERMINATE, which is
passed on as SIGTERM to the executor's process group and leaves it time. The guard ends as the
executor did, with the same code or signal. A guard that is itself killed takes the executor with
it, but not what that has started.

FOLDER is for the reports of a command, which may end with its executor: the guard removes it.

It runs by its path and imports little, for it stays in memory beside every executor.
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
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # exit codes, as shells have them
_NOT_STARTED = {  # what the kernel means by it
    errno.ENOENT: " (it is gone, or what loads it is not here)",
    errno.ENOEXEC: " (it is no program for this machine)",
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
    # with handlers, for what is ignored stays ignored in the executor
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
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, other programs must not
        if _LINUX:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard:  # it died before we asked
                os._exit(1)
        try:
            os.execv(command[0], command)  # noqa: S606 - no shell is wanted
        except OSError as error:
            why = _NOT_STARTED.get(error.errno or 0, "")
            message = f"{command[0]} cannot be started: {error.strerror}{why}\n"
            os.write(2, message.encode("utf-8", "surrogateescape"))
            os._exit(NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE)
    return pid


def _reap(executor: int) -> int | None:
    """Bury the dead; the executor's status if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitpid(-1, os.WNOHANG))[0]:
            if dead[0] == executor:
                found = dead[1]
    return found


def _kill_all(executor: int, status: int | None) -> int:
    """Kill and bury until no child is left; returns the executor's status."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(executor, signal.SIGKILL)
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            dead, how = os.waitpid(-1, 0)
        except ChildProcessError:
            return signal.SIGKILL if status is None else status
        if dead == executor:
            status = how


def _children() -> Iterator[int]:
    """Children of this process. Whoever is orphaned while we look is one at the next look."""
    me = os.getpid()
    for entry in Path("/proc").iterdir() if _LINUX else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                said = (entry / "stat").read_bytes().rpartition(b")")[2]  # a name may hold anything
                if int(said.split()[1]) == me:
                    yield int(entry.name)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _end_by(number: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the executor has left its core
    with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pause()


if __name__ == "__main__":
    _leash, _, _folder = sys.argv[1].partition(":")
    main(int(_leash), _folder, sys.argv[2:])
