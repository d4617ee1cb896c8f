"""Runs a command and leaves nothing of it behind: `python -m tuner.own.guard FD WORD…`.

It stands between an executor and a user's command, so that the command's processes end whatever
happens to the executor: when the socket FD closes, all of them are killed. They are found though
they left the command's process group, for orphans among them become this process's children.

    executor → guard                     guard → executor
    b"t"      SIGTERM, then SIGKILL       {"code": 0}       ended, -9 if by signal 9
    (closed)  SIGKILL                     {"error": "…"}    could not be started
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE = 5.0  # seconds from SIGTERM to SIGKILL
TERMINATE = b"t"
PR_SET_CHILD_SUBREAPER = 36


def main(descriptor: int, inherited: Sequence[int], words: Sequence[str]) -> None:
    """Run the command to its end, or until it shall end."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    control = socket.socket(fileno=descriptor)
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, pass_fds=inherited, start_new_session=True
        )
    except OSError as error:
        _tell(control, {"error": f"{words[0]}: {error.strerror or error}"})
        return
    for kept in inherited:
        os.close(kept)
    _wait(process, control)
    code = process.wait()
    _kill_all()
    _tell(control, {"code": code})


def _wait(process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
    """Until the command has ended, or nobody waits for it any more."""
    pidfd = os.pidfd_open(process.pid)
    kill_at: float | None = None  # monotonic clock
    while True:
        timeout = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select([control.fileno(), pidfd], [], [], timeout)
        if pidfd in ready:
            return
        if control.fileno() in ready and control.recv(64) == TERMINATE:
            _signal_group(process, signal.SIGTERM)
            kill_at = time.monotonic() + GRACE
        else:  # the executor is gone, or the grace is over
            _signal_group(process, signal.SIGKILL)
            return


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _kill_all() -> None:
    """Kill every process that descends from this one, until none is left."""
    import psutil

    me = psutil.Process()
    until = time.monotonic() + GRACE
    while (left := me.children(recursive=True)) and time.monotonic() < until:
        for child in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=0.5)  # also takes note of the orphans' ends


def _tell(control: socket.socket, result: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        control.sendall(json.dumps(result).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")], sys.argv[3:])
