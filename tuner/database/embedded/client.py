"""Hold the embedded server, or stop it."""

import json
import logging
import os
import select
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuner import errors, files, processes
from tuner.database.embedded import places, programs
from tuner.database.embedded.cluster import DATABASE, ROLE
from tuner.errors import EmbeddedServerError, TunerError

START_TIMEOUT = 120.0  # seconds, for a slow disk or a long recovery
RELEASE_TIMEOUT = 5.0  # seconds; after them the watcher releases its hold by itself
RETRY = 0.02  # seconds between tries while another supervisor begins or ends

log = logging.getLogger(__name__)


class EmbeddedServer:
    """A hold on the home's server: it stays up, at the same URL, until `release`.

    If the supervisor is killed, the server is started again in the background; open connections
    are lost. A forked child holds the server too, until it ends or releases it.
    """

    def __init__(self, home: Path, linger: float) -> None:
        self._home = home
        self._linger = linger
        self._connection = _join(home, linger)
        try:
            self.url = _url(home)
        except BaseException:
            self._connection.close()
            raise
        self._process = os.getpid()
        self._released = False
        self._wake, self._woken = socket.socketpair()
        self._watcher = threading.Thread(
            target=self._watch, name="tuner-embedded-server", daemon=True
        )
        self._watcher.start()

    def release(self) -> None:
        """Stop holding the server."""
        if self._process != os.getpid():  # a forked child: the watcher stayed with its parent
            self._connection.close()
        elif not self._released:
            self._released = True
            self._wake.close()
            self._watcher.join(RELEASE_TIMEOUT)  # it may be starting the server right now

    def _watch(self) -> None:
        with self._woken:
            while not self._released and self._wait_for_loss():
                log.warning("the embedded server's supervisor died; starting it again")
                self._connection.close()
                try:
                    self._connection = _join(self._home, self._linger)
                except TunerError as error:
                    log.error("%s", error)  # noqa: TRY400 - a sentence for the user
                    break
            # a socket that another thread closes would stay open during this one's recv()
            self._connection.close()

    def _wait_for_loss(self) -> bool:
        """Wait for the hold to end; returns whether the supervisor ended it silently."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        poll.poll()
        if self._released:
            return False
        message = _receive(self._connection)
        if message is not None:
            log.warning(
                "the embedded server is gone: %s", message.get("message", "somebody stopped it")
            )
        return message is None


def hold(home: Path, *, linger: float) -> EmbeddedServer:
    """Join the home's server; starts it if it is not up.

    Args:
        home: the folder that holds the server's data.
        linger: seconds for which the server stays up after the last hold; negative: until `stop`.

    Raises:
        BadInputError: the home cannot be written.
        DiskFullError: no space is left on its disk.
        EmbeddedServerError: the server does not start.

    """
    home = home.absolute()
    try:
        return EmbeddedServer(home, linger)
    except OSError as error:
        raise places.explain(error, home) from error


def is_up(home: Path) -> bool:
    """Whether the home has a server to join without starting one."""
    try:
        located = places.find(home.absolute())
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            return located is not None and connection.connect_ex(os.fsencode(located.control)) == 0
    except OSError:
        return False


def stop(home: Path, *, force: bool) -> bool:
    """Stop the home's server; False if it is not running.

    EmbeddedServerError while other processes hold it, unless `force`.
    """
    home = home.absolute()
    try:
        was_up = False
        while (connection := _ask(home, stop=force)) is not None:
            was_up = True
            with connection:
                message = _receive(connection)
                if message and "held" in message:
                    raise EmbeddedServerError(_describe_holders(message["held"]))
                if message:
                    _receive(connection)  # its end is the supervisor's
                    break
        return was_up
    except OSError as error:
        raise places.explain(error, home) from error


def _join(home: Path, linger: float) -> socket.socket:
    """Connect to the supervisor and hold the server; returns once that is ready."""
    deadline = time.monotonic() + START_TIMEOUT
    reason = ""
    while time.monotonic() < deadline:
        connection = _ask(home, hold=linger)
        if connection is None:
            if not _launch(home):
                reason = ": another supervisor has its lock, maybe on another machine"
                time.sleep(RETRY)
            continue
        reason = ""
        try:
            connection.settimeout(max(deadline - time.monotonic(), RETRY))
            message = _receive(connection)
            connection.settimeout(None)
        except TimeoutError:
            connection.close()
            break
        except BaseException:
            connection.close()
            raise
        if message and "ready" in message:
            return connection
        connection.close()
        if message and "error" in message:
            raise _error_in(message)
        # it ended, or was killed, before it was ready: ask the next one
    raise EmbeddedServerError(
        f"the embedded server of {home} did not become ready within {START_TIMEOUT:.0f} s{reason}"
    )


def _ask(home: Path, **request: object) -> socket.socket | None:
    """Send the supervisor a request; None if there is no supervisor."""
    located = places.find(home)
    if located is None:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fsencode(located.control))
        connection.sendall(json.dumps({**request, "pid": os.getpid()}).encode() + b"\n")
    except (FileNotFoundError, ConnectionError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """Receive the next message; None if the supervisor has ended."""
    received = b""
    while not received.endswith(b"\n"):
        try:
            data = connection.recv(1)  # not the start of the next message
        except ConnectionError:
            return None
        if not data:
            return None
        received += data
    message: dict[str, Any] = json.loads(received)
    return message


def _launch(home: Path) -> bool:
    """Start a supervisor; False if another one already has the home."""
    files.make_home(home)
    module = "tuner.database.embedded.daemon"
    process = subprocess.Popen(
        processes.command(module, str(home), str(programs.find()), isolated=True),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        # one line, not everything: a child that another thread forks now keeps the pipe open too
        line = output.readline()
        process.wait()
        try:
            message = json.loads(line)
        except ValueError:
            lines = (line + output.read()).decode(errors="replace").strip().splitlines()
            raise EmbeddedServerError(
                "the embedded server's supervisor did not start: "
                f"{lines[-1] if lines else f'exit code {process.returncode}'}"
            ) from None
    if "error" in message:
        raise _error_in(message)
    return "busy" not in message


def _describe_holders(others: int) -> str:
    users = "1 other process uses" if others == 1 else f"{others} other processes use"
    return f"{users} the embedded server: end them first, or use --force"


def _error_in(message: dict[str, Any]) -> TunerError:
    """The error that a message of the supervisor holds."""
    kind: type[TunerError] = getattr(errors, message["error"])
    return kind(message["message"])


def _url(home: Path) -> str:
    located = places.find(home)
    assert located is not None
    password = located.password.read_text()
    return f"postgresql+psycopg2://{ROLE}:{password}@/{DATABASE}?host={quote(str(located.sockets))}"
