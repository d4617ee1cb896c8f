"""The one process per home that runs PostgreSQL, and stops it once nobody holds it.

It speaks JSON lines over the socket `control`:

    holder → {"hold": linger, "pid": …}      ← {"ready": true} once, or {"error": …}
                                             ← {"stopped": true} when somebody stopped the server
    anyone → {"stop": force, "pid": …}       ← {"stopped": true}, or {"held": processes}

A connection that ends without a message means that the supervisor died. If PostgreSQL dies, it is
started again on the same socket.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuner.database.embedded.cluster import Cluster
from tuner.database.embedded.places import Places, explain
from tuner.errors import EmbeddedServerError, TunerError

FIRST_HOLDER = 10.0  # seconds until a server that nobody holds after its start is stopped
STOP_TIMEOUT = 30.0  # seconds for a clean shutdown; then PostgreSQL's immediate one
CONNECTED_POLL = 1.0  # seconds between checks for connected programs that do not hold it
MAX_CRASHES = 3  # within CRASH_WINDOW; then the supervisor tells the holders and ends
CRASH_WINDOW = 60.0  # seconds
_READY = b"database system is ready to accept connections"
LOG_LIMIT = 2**20  # bytes; one older file is kept


class _Log:
    """A file of bounded size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; a full disk must not stop the server."""
        with contextlib.suppress(OSError):
            if self._file.tell() > LOG_LIMIT:
                self._path.replace(self._path.with_suffix(".log.1"))
                self._file.close()
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)

    def say(self, message: str) -> None:
        """Log a line of the supervisor itself."""
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self.write(f"{now} [supervisor] {message}\n".encode(errors="replace"))


@dataclass(slots=True, eq=False)
class _Peer:
    """A process that is connected to `control`."""

    connection: socket.socket
    received: bytes = b""
    pid: int = 0
    linger: float | None = None  # seconds; None: does not hold the server
    stops: bool = False  # it waits for the server to stop
    served: bool = False  # it knows that the server is ready

    def tell(self, **message: Any) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")


class Supervisor:
    """PostgreSQL and its holders; a single thread, for the lifetime of the process."""

    def __init__(self, at: Places, programs: Path, listener: socket.socket) -> None:
        self._places = at
        self._listener = listener
        self._log = _Log(at.log)
        self._cluster = Cluster(at, programs)
        self._peers: set[_Peer] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: int | None = None  # read end of PostgreSQL's log
        self._last_lines: deque[str] = deque(maxlen=50)
        self._unfinished_line = b""
        self._state: Literal["starting", "ready", "stopping", "over"] = "starting"
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)
        self._was_held = False
        self._terminated = False
        self._stay_until = time.monotonic() + FIRST_HOLDER
        self._give_up_at = float("inf")  # on a clean shutdown
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._signals, self._signals_in = _signals()
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signal)

    def run(self) -> None:
        """Serve until nobody needs the server."""
        self._start()
        while self._state != "over":
            for key, _ in self._selector.select(self._seconds_to_wait()):
                key.data()
            self._check_time()
        self._log.say("over")

    # PostgreSQL

    def _start(self) -> None:
        self._state = "starting"
        self._close_output()
        self._last_lines.clear()
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        try:
            with os.fdopen(theirs, "wb") as log:
                self._process = self._cluster.start(log)
        except TunerError as error:
            os.close(ours)
            self._fail(error)
            return
        except OSError as error:
            os.close(ours)
            self._fail(explain(error, self._places.base))
            return
        self._output = ours
        self._selector.register(ours, selectors.EVENT_READ, self._read_output)

    def _read_output(self) -> None:
        while self._output is not None:
            try:
                data = os.read(self._output, 2**16)
            except BlockingIOError:
                return
            if not data:
                self._close_output()
                return
            self._log.write(data)
            *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
            self._last_lines.extend(line.decode(errors="replace") for line in lines)
            if self._state == "starting" and any(_READY in line for line in lines):
                self._state = "ready"
                for peer in self._holders():
                    if not peer.served:  # the others learned it before a crash
                        self._serve(peer)

    def _close_output(self) -> None:
        if self._output is not None:
            self._selector.unregister(self._output)
            os.close(self._output)
            self._output = None
        self._unfinished_line = b""

    def _on_signal(self) -> None:
        received = self._signals.recv(256)
        if any(number in received for number in (signal.SIGTERM, signal.SIGINT)):
            self._terminated = True
            self._stop("the supervisor was told to end")
        if self._process is not None and self._process.poll() is not None:
            self._on_end(self._process.returncode)

    def _on_end(self, code: int) -> None:
        self._process = None
        self._read_output()
        self._give_up_at = float("inf")
        if self._state == "stopping":
            self._after_stop()
        elif self._state == "starting":
            self._fail(self._cluster.failure(self._last_lines, f"exit code {code}"))
        elif self._crashes_too_often():
            self._fail(
                EmbeddedServerError(
                    f"the embedded PostgreSQL server crashed {MAX_CRASHES} times within "
                    f"{CRASH_WINDOW:.0f} s (see {self._places.log})"
                )
            )
        else:
            self._log.say(f"PostgreSQL ended with exit code {code}; starting it again")
            self._start()

    def _crashes_too_often(self) -> bool:
        now = time.monotonic()
        self._crashes.append(now)
        return len(self._crashes) == MAX_CRASHES and now - self._crashes[0] < CRASH_WINDOW

    def _stop(self, reason: str) -> None:
        if self._state in ("starting", "ready") and self._process is not None:
            self._log.say(f"stopping PostgreSQL: {reason}")
            self._state = "stopping"
            self._give_up_at = time.monotonic() + STOP_TIMEOUT
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            for peer in self._holders():
                if peer.served or self._terminated:
                    peer.tell(stopped=True)
                    self._drop(peer)

    def _after_stop(self) -> None:
        self._accept()
        for peer in self._peers:
            if peer.stops:
                peer.tell(stopped=True)
        if self._terminated or not self._holders():
            self._finish()
            return
        # new holders came while it was stopping
        for peer in [peer for peer in self._peers if peer.stops]:
            self._drop(peer)
        self._start()

    def _fail(self, error: TunerError) -> None:
        self._log.say(f"giving up: {error}")
        self._accept()
        for peer in self._peers:
            peer.tell(error=type(error).__name__, message=str(error))
        self._finish()

    def _finish(self) -> None:
        """Leave no socket behind: from now on a client starts the next supervisor.

        The other connections end with the process; `stop` waits for that.
        """
        self._state = "over"
        self._places.control.unlink(missing_ok=True)
        self._listener.close()

    # holders

    def _holders(self) -> list[_Peer]:
        return [peer for peer in self._peers if peer.linger is not None]

    def _accept(self) -> None:
        while self._state != "over":
            try:
                connection, _ = self._listener.accept()
            except OSError:  # nobody is waiting, or not any more
                return
            connection.setblocking(False)
            peer = _Peer(connection)
            self._peers.add(peer)
            self._selector.register(
                connection, selectors.EVENT_READ, lambda peer=peer: self._receive(peer)
            )
            self._receive(peer)  # before deciding whether anyone holds the server

    def _receive(self, peer: _Peer) -> None:
        if peer not in self._peers:  # dropped after the selector returned it
            return
        try:
            data = peer.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        peer.received += data
        if not data or len(peer.received) > 4096:
            self._drop(peer)
        elif peer.received.endswith(b"\n"):
            message = json.loads(peer.received)
            peer.received = b""
            peer.pid = message["pid"]
            if "hold" in message:
                self._hold(peer, message["hold"])
            else:
                self._on_stop_request(peer, force=message["stop"])

    def _hold(self, peer: _Peer, linger: float) -> None:
        peer.linger = linger
        if not self._was_held:
            self._was_held = True
            self._stay_until = 0.0
        if self._state == "ready":
            self._serve(peer)

    def _serve(self, peer: _Peer) -> None:
        peer.served = True
        peer.tell(ready=True)

    def _drop(self, peer: _Peer) -> None:
        if peer.linger is not None:
            stays = peer.linger if peer.linger >= 0 else float("inf")
            self._stay_until = max(self._stay_until, time.monotonic() + stays)
        self._peers.discard(peer)
        self._selector.unregister(peer.connection)
        peer.connection.close()

    def _on_stop_request(self, peer: _Peer, *, force: bool) -> None:
        others = {holder.pid for holder in self._holders()} - {peer.pid}
        if others and not force:
            peer.tell(held=len(others))
            self._drop(peer)
        else:
            peer.stops = True
            self._stop(f"asked by process {peer.pid}")

    # time

    def _seconds_to_wait(self) -> float | None:
        moments = [self._give_up_at]
        if self._state == "ready" and not self._holders():
            moments.append(self._stay_until)
        nearest = min(moments)
        return None if nearest == float("inf") else max(0.0, nearest - time.monotonic())

    def _check_time(self) -> None:
        now = time.monotonic()
        if self._state == "ready" and not self._holders() and now >= self._stay_until:
            if has_connections(self._places.socket):
                self._stay_until = now + CONNECTED_POLL
            else:
                self._stop("nobody holds it any longer")
        if now >= self._give_up_at and self._process is not None:
            self._give_up_at = now + STOP_TIMEOUT
            self._process.send_signal(signal.SIGQUIT)


def _signals() -> tuple[socket.socket, socket.socket]:
    """Turn signals into bytes to read, so that the loop waits for everything in one place."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return ours, theirs


def has_connections(path: Path) -> bool:
    """Whether a program is connected to PostgreSQL; psql, for one, has the URL but no hold."""
    encoded = os.fsencode(path)
    try:
        table = Path("/proc/net/unix").read_bytes().splitlines()
    except OSError:
        return False  # not Linux
    rows = (line.split(maxsplit=7) for line in table)
    return any(len(row) == 8 and row[7] == encoded and row[5] == b"03" for row in rows)
