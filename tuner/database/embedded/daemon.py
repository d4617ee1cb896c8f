"""The supervisor's start: leave the terminal, take the home's lock, listen.

`client.py` runs this isolated, in a few hundredths of a second: it may only import the standard
library, this package, `tuner.errors` and `tuner.files`. It writes one JSON line to standard output:
`{"serving": true}`, `{"busy": true}` if another supervisor has the home, or an error.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tuner.database.embedded import places
from tuner.database.embedded.cluster import try_lock
from tuner.database.embedded.places import Places
from tuner.database.embedded.supervisor import Supervisor
from tuner.errors import TunerError

BACKLOG = 128  # holders that wait while the data folder is made


def main() -> None:
    """Supervise the home's server until nobody holds it."""
    home, programs = map(Path, sys.argv[1:])
    if os.fork():
        os._exit(0)  # nobody has to reap us: we belong to init from here on
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        supervisor = _take(home, programs)
    except OSError as error:
        _report(places.explain(error, home))
        return
    except TunerError as error:
        _report(error)
        return
    if supervisor is None:
        _answer(busy=True)
        return
    _answer(serving=True)
    supervisor.run()


def _take(home: Path, programs: Path) -> Supervisor | None:
    """Become the home's only supervisor; None if there is one already."""
    state, base = places.make_base(home)
    lock = os.open(base / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not try_lock(lock):
        os.close(lock)
        return None
    # the lock's file stays open until this process ends
    at = Places(state, base, places.make_run(base, places.server_user(base)))
    return Supervisor(at, programs, _listen(at.control))


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # left by a supervisor that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fsencode(path))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _report(error: TunerError) -> None:
    _answer(error=type(error).__name__, message=str(error))


def _answer(**message: Any) -> None:
    """Write the one line to the process that started us; then let go of the terminal."""
    with contextlib.suppress(OSError):  # it may have been killed meanwhile
        os.write(1, json.dumps(message).encode() + b"\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
