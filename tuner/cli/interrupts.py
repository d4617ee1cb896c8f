"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP), from the program's first lines to its last.

The first of them raises `Interrupted`, so that half of an export is removed and no server is left
behind; those that follow change nothing, but for a second Ctrl-C, which ends the process at once. A
worker that runs in this process answers signals itself (`worker/pool.py`): it drains.

An exception that a signal raises in a destructor or in a callback of C is lost: whoever starts
something long calls `check` before.
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
_held = False


class Interrupted(BaseException):
    """The user or the system wants this process to end; no `except Exception` holds it up."""


def end_at_once() -> None:
    """Answer signals while modules are imported: nothing is to be taken back yet."""
    _handle(_end)


def install() -> None:
    """Answer them with `Interrupted` from now on."""
    global _received, _held
    _received, _held = None, False
    _handle(_raise)


def check() -> None:
    """Raise `Interrupted` if a signal has come."""
    if _received is not None:
        raise Interrupted


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Have a signal wait for the end of the block, which then raises it.

    For what is short and either happened or did not, as a transaction whose outcome is needed.
    """
    global _held  # noqa: PLW0603 - of the process
    _held = True
    try:
        yield
    finally:
        _held = False
    check()


def note(number: int | None = None) -> None:
    """Take note of a signal that something else has answered, as a worker does.

    By default Ctrl-C, for somebody who asked the worker to stop.
    """
    global _received  # noqa: PLW0603 - of the process
    _received = _received or number or signal.SIGINT
    leave_closed_outputs()


def ignore() -> None:
    """Let signals change nothing from now on: the process ends by itself."""
    global _received  # noqa: PLW0603 - of the process
    _received = _received or signal.SIGTERM


def exit_code(otherwise: int = INTERRUPTED) -> int:
    """128 and the number of the signal that came first, as of a process that it has killed."""
    return otherwise if _received is None else 128 + _received


def is_closed_output(error: OSError) -> bool:
    """Whether this error says that nobody reads any more what this process prints.

    What it prints goes to nowhere from now on. The terminal may close before its signal comes.
    """
    return error.errno in (errno.EPIPE, errno.EIO) and leave_closed_outputs()


def leave_closed_outputs() -> bool:
    """Write to nowhere in place of terminals and pipes that nobody reads; whether there was one."""
    poll = select.poll()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:  # else the shell has closed it, and its number is something else's
            poll.register(stream.fileno(), 0)
    closed = [fd for fd, events in poll.poll(0) if events & (select.POLLERR | select.POLLHUP)]
    for descriptor in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(closed)


def _handle(handler: signal.Handlers | object) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has SIGHUP ignored
            signal.signal(number, handler)  # type: ignore[arg-type]


def _end(number: int, _: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def _raise(number: int, _: FrameType | None) -> None:
    is_first = _received is None
    note(number)
    if is_first and not _held:
        raise Interrupted
    if not is_first and number == signal.SIGINT:
        os._exit(INTERRUPTED)
