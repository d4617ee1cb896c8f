"""A process under a guard."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.waiting import STUCK
from tuner import guard


@contextmanager
def guarded(*command: str) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """A guard with an executor, and the worker's end of its leash."""
    leash, theirs = socket.socketpair()
    arguments = [sys.executable, "-I", "-S", guard.__file__, str(theirs.fileno()), *command]
    process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()
    try:
        yield process, leash
    finally:
        leash.close()
        process.wait(STUCK)
