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

START_TIMEOUT = 120.0  # seconds; making the data folder on a slow disk or a long recovery
RELEASE_TIMEOUT = 5.0  # seconds; after that the watcher lets go by itself
RETRY = 0.02  # seconds between tries while another supervisor begins or ends

log = logging.getLogger(__name__)


class EmbeddedServer:
    """A hold on the home's server: it stays up, at the same URL, until `release`.

    If the supervisor is killed the server is started again in the background; connections that
    were open are lost. A forked child holds the server too, until it ends or releases.
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
        """Hold the server no longer."""
        if self._process != os.getpid():  # a forked child: the watcher has stayed with its parent
            self._connection.close()
        elif not self._released:
            self._released = True
            self._wake.close()
            self._watcher.join(RELEASE_TIMEOUT)  # it may be starting the server just now

    def _watch(self) -> None:
        with self._woken:
            while not self._released and self._lost():
                log.warning("the embedded server's supervisor has died; it is started again")
                self._connection.close()
                try:
                    self._connection = _join(self._home, self._linger)
                except TunerError as error:
                    log.error("%s", error)  # noqa: TRY400 - a sentence for the user
                    break
            # a thread in recv() would keep a socket open that another thread closes
            self._connection.close()

    def _lost(self) -> bool:
        """Wait for the hold to end; whether it ended without a word from the supervisor."""
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
    """Join the home's server, started if it is not up.

    `linger` is how many seconds it stays after this hold, if no other is left; negative: until
    `stop`. BadInputError where the home cannot be written, DiskFullError, EmbeddedServerError.
    """
    home = home.absolute()
    try:
        return EmbeddedServer(home, linger)
    except OSError as error:
        raise places.explained(error, home) from error


def is_up(home: Path) -> bool:
    """Whether the home has a server that can be joined without starting one."""
    try:
        found = places.find(home.absolute())
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            return found is not None and connection.connect_ex(os.fsencode(found.control)) == 0
    except OSError:
        return False


def stop(home: Path, *, force: bool) -> bool:
    """Stop the home's server; False if it is not running.

    EmbeddedServerError while other processes hold it, unless `force`.
    """
    home = home.absolute()
    try:
        found = False
        while (connection := _ask(home, stop=force)) is not None:
            found = True
            with connection:
                message = _receive(connection)
                if message and "held" in message:
                    raise EmbeddedServerError(_held_by(message["held"]))
                if message:
                    _receive(connection)  # its end is the supervisor's
                    break
        return found
    except OSError as error:
        raise places.explained(error, home) from error


def _join(home: Path, linger: float) -> socket.socket:
    """A connection that holds a server which is ready."""
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
            raise _told(message)
        # it ended, or was killed, before it was ready: the next one is asked
    raise EmbeddedServerError(
        f"the embedded server of {home} did not become ready within {START_TIMEOUT:.0f} s{reason}"
    )


def _ask(home: Path, **request: object) -> socket.socket | None:
    """Send the supervisor a request; None where there is no supervisor."""
    found = places.find(home)
    if found is None:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fsencode(found.control))
        connection.sendall(json.dumps({**request, "pid": os.getpid()}).encode() + b"\n")
    except (FileNotFoundError, ConnectionError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message; None where the supervisor has ended."""
    received = b""
    while not received.endswith(b"\n"):
        try:
            data = connection.recv(1)  # not the beginning of the message that follows
        except ConnectionError:
            return None
        if not data:
            return None
        received += data
    message: dict[str, Any] = json.loads(received)
    return message


def _launch(home: Path) -> bool:
    """Start a supervisor; False where another one has the home already."""
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
        # a line, not everything: a child that another thread forks just now has the pipe open too
        line = output.readline()
        process.wait()
        try:
            message = json.loads(line)
        except ValueError:
            said = (line + output.read()).decode(errors="replace").strip().splitlines()
            raise EmbeddedServerError(
                "the embedded server's supervisor did not start: "
                f"{said[-1] if said else f'exit code {process.returncode}'}"
            ) from None
    if "error" in message:
        raise _told(message)
    return "busy" not in message


def _held_by(others: int) -> str:
    who = "1 other process uses" if others == 1 else f"{others} other processes use"
    return f"{who} the embedded server: end them first, or say --force"


def _told(message: dict[str, Any]) -> TunerError:
    """The supervisor's error, in this process."""
    kind: type[TunerError] = getattr(errors, message["error"])
    return kind(message["message"])


def _url(home: Path) -> str:
    found = places.find(home)
    assert found is not None
    password = found.password.read_text()
    return f"postgresql+psycopg2://{ROLE}:{password}@/{DATABASE}?host={quote(str(found.sockets))}"
