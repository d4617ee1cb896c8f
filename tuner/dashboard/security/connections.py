"""Limits on the number of connections, and on how long each may keep the dashboard waiting.

Any client that reaches the port can open connections before it is authenticated. So they are
counted where they are accepted, before TLS. If there are too many, the one that has been waiting
for its client longest makes room: it has not sent its whole request yet, or does not read its
response. Connections whose request is being answered, such as live streams for hours, stay open.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tuner.dashboard.security.limits import network

SPARE = 256  # descriptors for other things than connections: files, the database, programs
MIN_CONNECTIONS = 32  # connections, however few descriptors there are
QUIET = 60.0  # seconds between two log lines about the same thing
_MAKING = "Each new one closes the one that has kept the dashboard waiting longest"
_SCARCE = (errno.EMFILE, errno.ENFILE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may take before they are closed."""

    head: float = 10.0  # seconds from the connection until the request's head has arrived
    body: float = 60.0  # seconds until its body has arrived, at most a megabyte
    unread: float = 60.0  # seconds that a client may leave its response unread
    idle: int = 5  # seconds between two requests
    total: int = 1_000  # connections, or fewer if the process may open fewer files
    each: int = 200  # connections per address, except a proxy's, which all users share


def raise_file_limit() -> None:
    """Let this process open as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Connection(socket.socket):
    """An accepted connection, for as long as its descriptor is open."""

    def __init__(self, listener: "Listener", fileno: int, address: str) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno)
        self._listener = listener
        self.address = address
        self.transport: asyncio.Transport | None = None  # None before and during TLS' handshake
        self.is_waiting = True  # the dashboard waits for the client

    def give_way(self) -> None:
        """End it, and let the kernel drop unsent data, which it would keep for minutes."""
        with contextlib.suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.transport is not None:
            self.transport.abort()
        else:
            with contextlib.suppress(OSError):  # the client was faster
                self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the descriptor."""
        self._listener.forget(self)
        super().close()


class Listener(socket.socket):
    """A listening socket that accepts no more than its limits allow; for one event loop."""

    def __init__(
        self, listening: socket.socket, limits: Limits, *, proxies: Collection[str] = ()
    ) -> None:
        """Take over the descriptor of `listening`; `proxies`: their addresses and networks."""
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self.limits = limits
        self._proxies = [ipaddress.ip_network(proxy) for proxy in proxies]
        self._open: dict[Connection, None] = {}  # the oldest first
        self._by_descriptor: dict[int, Connection] = {}
        self._of_address: Counter[str] = Counter()
        self._spare: int | None = None  # a descriptor to give up when there are no others
        self._logged: dict[str, float] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection that there is room for; BlockingIOError if there is none."""
        self._save_spare()
        while True:
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno not in _SCARCE or not self._refuse_one(error):
                    raise
                continue
            client = self._client(address)
            accepted = Connection(self, connection.detach(), client)
            if self._has_room(client):
                self._open[accepted] = None
                self._by_descriptor[accepted.fileno()] = accepted
                self._of_address[client] += 1
                return accepted, address
            accepted.close()

    def connection(self, descriptor: int) -> Connection | None:
        """The connection that has this descriptor."""
        return self._by_descriptor.get(descriptor)

    def forget(self, connection: Connection) -> None:
        """Stop counting it."""
        if self._by_descriptor.get(connection.fileno()) is connection:
            del self._by_descriptor[connection.fileno()]
        self._discount(connection)

    def close(self) -> None:
        """Stop listening."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        super().close()

    @property
    def max_connections(self) -> int:
        """The maximum number of connections."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return min(self.limits.total, max(MIN_CONNECTIONS, soft - SPARE))

    def _has_room(self, client: str) -> bool:
        if client and self._of_address[client] >= self.limits.each:
            line = "%s has %d connections to the dashboard. " + _MAKING
            self._warn(line, client, self.limits.each)
            return self._make_room(client)
        if len(self._open) >= self.max_connections:
            self._warn("the dashboard has %d connections. " + _MAKING, len(self._open))
            return self._make_room(None)
        return True

    def _make_room(self, client: str | None) -> bool:
        """Close the connection that has been waiting longest, of one client or of all."""
        for connection in self._open:
            if connection.is_waiting and client in (None, connection.address):
                self._discount(connection)  # now, because the loop closes it later
                connection.give_way()
                return True
        return False

    def _discount(self, connection: Connection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    def _refuse_one(self, error: OSError) -> bool:
        """Accept a connection and close it: if left pending, it wakes the loop again and again."""
        self._warn("the dashboard cannot accept connections: %s", error.strerror)
        if self._spare is None:
            return False
        os.close(self._spare)
        self._spare = None
        try:
            super().accept()[0].close()
        except OSError as again:
            if again.errno in _SCARCE:  # another thread has taken the spare descriptor
                return False
            raise
        finally:
            self._save_spare()
        return True

    def _save_spare(self) -> None:
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _client(self, address: Any) -> str:
        """What counts as one client's address; empty for a proxy."""
        client = network(address[0])
        try:
            parsed = ipaddress.ip_address(address[0].partition("%")[0])
        except ValueError:
            return client
        mapped = getattr(parsed, "ipv4_mapped", None)
        return "" if any((mapped or parsed) in proxy for proxy in self._proxies) else client

    def _warn(self, line: str, *arguments: object) -> None:
        """Log a line, unless it was logged a moment ago."""
        now = time.monotonic()
        if now - self._logged.get(line, -QUIET) >= QUIET:
            self._logged[line] = now
            _log.warning(line, *arguments)


class Protocol(H11Protocol):
    """HTTP with time limits for its clients."""

    _listener: Listener  # of the class that `protocol_of` makes
    _connection: Connection | None = None
    _phase: object = None
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        descriptor = transport.get_extra_info("socket").fileno()
        self._connection = self._listener.connection(descriptor)
        if self._connection is not None:
            self._connection.transport = transport
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_reading_clock()
        self._stop_writing_clock()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has arrived."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the client to read this response."""
        super().on_response_complete()
        self._watch()
        if self.transport.get_write_buffer_size():
            self._start_writing_clock()

    def pause_writing(self) -> None:
        """Wait for the client to read what it was sent."""
        super().pause_writing()
        self._start_writing_clock()

    def resume_writing(self) -> None:
        """Continue writing."""
        super().resume_writing()
        self._stop_writing_clock()

    def _watch(self) -> None:
        """Start the clock for what the client must send next; a phase's clock never restarts."""
        state = self.conn.their_state
        phase = (state, self.cycle)
        if phase == self._phase:
            self._update_waiting()
            return
        self._phase = phase
        self._stop_reading_clock()
        limits = self._listener.limits
        seconds = {h11.IDLE: limits.head, h11.SEND_BODY: limits.body}.get(state)
        if seconds is not None:
            self._reading = self.loop.call_later(seconds, self._end)
        self._update_waiting()

    def _update_waiting(self) -> None:
        if self._connection is not None:
            has_clock = self._reading is not None or self._writing is not None
            # TLS ends when the client closes it too, or after half a minute
            self._connection.is_waiting = has_clock or self.transport.is_closing()

    def _stop_reading_clock(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self._update_waiting()

    def _start_writing_clock(self) -> None:
        if self._writing is None:
            unread = self._listener.limits.unread
            self._writing = self.loop.call_later(unread, self._end_unread)
        self._update_waiting()

    def _stop_writing_clock(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        self._update_waiting()

    def _end_unread(self) -> None:
        self._writing = None
        if self.transport.get_write_buffer_size():
            self._end()
        self._update_waiting()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.give_way()
        else:
            self.transport.abort()


def protocol_of(listener: Listener) -> type[Protocol]:
    """The protocol class for the connections that this listener accepts, for uvicorn."""
    return type("ListenersProtocol", (Protocol,), {"_listener": listener})
