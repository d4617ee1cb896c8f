"""A worker's executors and what wakes its loop: their messages, their deaths, signals."""

import contextlib
import logging
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

from tuner import processes
from tuner.errors import ExecutorError
from tuner.worker import executors
from tuner.worker.deadlines import Deadlines
from tuner.worker.devices import Slot
from tuner.worker.executors import Executor
from tuner.worker.messages import FromExecutor, Ready, Unusable, receive_from_executor

MAX_RESTARTS = 5  # of executors that die before they are ready, in a row
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


class Pool:
    """The executors that are alive; a dead one is replaced, unless the pool is closing."""

    def __init__(
        self,
        on_message: Callable[[Executor, FromExecutor], None],
        on_death: Callable[[Executor, str], None],
    ) -> None:
        """`on_death` is called with how the executor ended, before another takes its place."""
        self.executors: list[Executor] = []
        self.closing = False
        self.deadlines = Deadlines()
        self.warm = True  # whether new executors import torch before there is work for them
        self._message_handler = on_message
        self._death_handler = on_death
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self.signal: int | None = None  # the one that asked the worker to stop

    def start(self, slot: Slot) -> None:
        """Start an executor; ExecutorError if it cannot be started."""
        executor = executors.start(slot, warm=self.warm)
        self.executors.append(executor)
        self._selector.register(
            executor.connection, selectors.EVENT_READ, partial(self._on_message, executor)
        )
        self._selector.register(
            executor.leash, selectors.EVENT_READ, partial(self._on_death, executor)
        )

    def replace(self, executor: Executor) -> None:
        """Replace an idle executor by a fresh one."""
        self.end(executor)
        self.start(executor.slot)

    def wait(self, seconds: float, also: int | None = None) -> None:
        """Wait up to so many seconds for messages, deaths and signals, and handle them.

        `also` is a file descriptor that ends the wait once it is readable. ExecutorError if
        executors cannot use their device or keep dying before they are ready.
        """
        if also is not None:
            self._selector.register(also, selectors.EVENT_READ, lambda: None)
        events = self._selector.select(seconds)
        if also is not None:  # it may be another one next time
            self._selector.unregister(also)
        for key, _ in events:
            key.data()

    def kill(self) -> None:
        """Kill every executor and its children; they stay in `executors`."""
        for executor in self.executors:
            self._kill(executor)

    @contextlib.contextmanager
    def signals(self, on_signal: Callable[[], None]) -> Iterator[None]:
        """Have SIGTERM, SIGINT and SIGHUP end `wait` at once and call `on_signal`.

        `signal` is the first of them. A signal that is ignored, as SIGHUP is under `nohup`, stays
        ignored. Closes the selector in the end.
        """
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ, lambda: reader.recv(64))
        before_wakeup = signal.set_wakeup_fd(writer.fileno())

        def handle(number: int, _: FrameType | None) -> None:
            self.signal = self.signal or number
            on_signal()

        before = {
            number: signal.signal(number, handle)
            for number in STOP_SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_wakeup)
            self._selector.close()
            reader.close()
            writer.close()

    def end(self, executor: Executor) -> None:
        """End an executor and its children."""
        self.executors.remove(executor)
        self._selector.unregister(executor.connection)
        self._selector.unregister(executor.leash)
        self._kill(executor)

    def _kill(self, executor: Executor) -> None:
        executor.killed = self.deadlines.forget(executor.leash)
        executor.kill()

    def _on_message(self, executor: Executor) -> None:
        if executor not in self.executors:  # removed by an earlier event of the same round
            return
        try:
            message = receive_from_executor(executor.connection)
        except (EOFError, OSError):
            self._on_death(executor)
        except ExecutorError as error:
            _log.warning("%s", error)
            self._on_death(executor)
        else:
            if isinstance(message, Unusable):
                raise ExecutorError(message.message)
            if isinstance(message, Ready):
                executor.ready = True
                self._failed_starts = 0
            self._message_handler(executor, message)

    def _on_death(self, executor: Executor) -> None:
        if executor not in self.executors:
            return
        self.end(executor)
        message = f"the executor {processes.describe_exit(executor.process.returncode)}"
        _log.warning("%s", message)
        self._death_handler(executor, message)
        if not executor.ready:
            self._failed_starts += 1
            if self._failed_starts > MAX_RESTARTS:
                raise ExecutorError(f"{message} {self._failed_starts} times before it was ready")
        if not self.closing:
            self.start(executor.slot)
