"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP), from the program's first lines to its last.

The first signal raises `Interrupted`, so that half an export is removed and no server is left
behind. Later ones do nothing, except a second Ctrl-C, which ends the process at once. A worker in
this process handles signals itself: it drains.

An exception that a signal raises in a destructor or a C callback is lost, so call `check` before
starting something long.
"""

import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130  # exit code
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_received: int | None = None  # the first signal
_deferred = False


class Interrupted(BaseException):
    """The user or the system ends this process; no `except Exception` catches it."""


def exit_on_signal() -> None:
    """Exit on signals while modules are imported: there is nothing to undo yet."""
    _handle(_end)


def install() -> None:
    """Raise `Interrupted` on signals from now on."""
    global _received, _deferred
    _received, _deferred = None, False
    _handle(_raise)


def check() -> None:
    """Raise `Interrupted` if a signal has arrived."""
    if _received is not None:
        raise Interrupted


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer signals to the end of the block, which raises them then.

    For short blocks that must happen whole, such as a transaction whose outcome is needed.
    """
    global _deferred  # noqa: PLW0603 - of the process
    _deferred = True
    try:
        yield
    finally:
        _deferred = False
    check()


def note(number: int | None = None) -> None:
    """Record a signal that something else handled, such as a worker; Ctrl-C by default."""
    global _received  # noqa: PLW0603 - of the process
    _received = _received or number or signal.SIGINT
    leave_closed_outputs()


def ignore() -> None:
    """Ignore signals from now on: the process is about to end."""
    global _received  # noqa: PLW0603 - of the process
    _received = _received or signal.SIGTERM


def exit_code(otherwise: int = INTERRUPTED) -> int:
    """Return 128 plus the first signal's number, as for a process that the signal killed."""
    return otherwise if _received is None else 128 + _received


def is_closed_output(error: OSError) -> bool:
    """Whether this error means that this process's output has no reader any more.

    If so, all further output is discarded. The terminal may close before its signal arrives.
    """
    return error.errno in (errno.EPIPE, errno.EIO) and leave_closed_outputs()


def leave_closed_outputs() -> bool:
    """Redirect outputs without a reader to /dev/null; return whether there were any."""
    poll = select.poll()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:  # None: the shell closed it, and its number may be reused
            poll.register(stream.fileno(), 0)
    closed = [fd for fd, events in poll.poll(0) if events & (select.POLLERR | select.POLLHUP)]
    for descriptor in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(closed)


def _handle(handler: signal.Handlers | object) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, handler)  # type: ignore[arg-type]


def _end(number: int, _: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def _raise(number: int, _: FrameType | None) -> None:
    is_first = _received is None
    note(number)
    if is_first and not _deferred:
        raise Interrupted
    if not is_first and number == signal.SIGINT:
        os._exit(INTERRUPTED)
