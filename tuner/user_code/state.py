"""Undo what a function changed about its process, besides modules, as far as possible."""

import contextlib
import os
import resource
import signal
import threading

_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class ProcessState:
    """The umask, limits, signal handlers, timers and threads of this process, as they are now.

    The environment is not included: libraries set it on import and rely on it later.
    """

    def __init__(self) -> None:
        self._umask = _umask()
        self._limits = {kind: resource.getrlimit(kind) for kind in _LIMITS}
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._timers = [timer for timer in _TIMERS if _is_running(timer)]
        self._threads = set(threading.enumerate())

    def restore(self) -> bool:
        """Undo changes since then; returns whether the process is as it was.

        It is not if a hard limit was lowered, a signal handler was set outside Python, or a thread
        remains that a program would wait for at its end.
        """
        os.umask(self._umask)
        for timer in _TIMERS:
            if timer not in self._timers and _is_running(timer):
                signal.setitimer(timer, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        for kind, limits in self._limits.items():
            if resource.getrlimit(kind) != limits:
                with contextlib.suppress(OSError, ValueError):
                    resource.setrlimit(kind, limits)
        return (
            not self._has_new_threads()
            and all(resource.getrlimit(kind) == limits for kind, limits in self._limits.items())
            and all(signal.getsignal(n) is handler for n, handler in self._handlers.items())
        )

    def _has_new_threads(self) -> bool:
        new = (thread for thread in threading.enumerate() if thread not in self._threads)
        return any(not thread.daemon for thread in new)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _is_running(timer: int) -> bool:
    return signal.getitimer(timer)[0] > 0
