"""Clients that send slowly, nothing at all or too much at once, before anybody knows them."""

import json
import re
import resource
import select
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.waiting import STUCK
from tuner.dashboard.plots import stream
from tuner.dashboard.security.connections import Limits, Listener
from tuner.dashboard.server import Place, Server
from tuner.database.engine import Database
from tuner.settings import Settings

HERE = Place()
SOON = 0.5  # seconds of a clock that shall end
LONG = 10 * STUCK  # of one that shall not
PATIENT = Limits(head=LONG, body=LONG, unread=LONG, idle=int(LONG))
MANY = 200  # connections
HEAD = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def serving(
    database: Database, home: Path, limits: Limits, place: Place = HERE
) -> Iterator[Server]:
    server = Server(database, Settings(home=home), place, limits)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert answers(server)
        yield server
    finally:
        server.stop()
        thread.join(STUCK)
    assert not thread.is_alive()


def answers(server: Server) -> bool:
    anybody = ssl._create_unverified_context()
    address = f"{server.address}/healthz"
    with urllib.request.urlopen(address, timeout=STUCK, context=anybody) as answer:
        return bool(json.load(answer) == {"status": "ok"})


def connected(server: Server, content: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    at = urlsplit(server.address)
    client = socket.create_connection((at.hostname, at.port), STUCK, source_address=(source, 0))
    client.sendall(content)
    return client


def ends(client: socket.socket) -> bool:
    """Wait until the server has closed the connection."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def is_open(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLIN)
    return not poll.poll(0)


def close(clients: Sequence[socket.socket]) -> None:
    for client in clients:
        client.close()


def test_connections_that_wait_are_closed(database: Database, tmp_path: Path) -> None:
    limits = Limits(head=SOON, body=SOON, unread=SOON, idle=1, each=10 * MANY)
    with serving(database, tmp_path, limits) as server:
        kinds = (b"", WHOLE[:-2], HEAD + b"name=", WHOLE)  # the last is idle after its answer
        clients = [connected(server, kind) for kind in kinds for _ in range(MANY // len(kinds))]
        assert answers(server)
        assert all(ends(client) for client in clients)
        close(clients)


@pytest.mark.parametrize("beginning", [WHOLE[:-2] + b"X: ", HEAD])
def test_what_trickles_in_has_no_more_time(
    database: Database, tmp_path: Path, beginning: bytes
) -> None:
    limits = Limits(head=SOON, body=SOON, unread=LONG, idle=int(LONG))
    with serving(database, tmp_path, limits) as server, closing(connected(server)) as client:
        poll = select.poll()
        poll.register(client, select.POLLIN)
        try:
            client.sendall(beginning)
            while not poll.poll(SOON * 1000 / 20):
                client.sendall(b"a")
        except ConnectionError:
            pass
        assert ends(client)


def test_an_answer_that_nobody_takes_is_dropped(database: Database, tmp_path: Path) -> None:
    limits = Limits(head=LONG, body=LONG, unread=SOON, idle=int(LONG))
    with serving(database, tmp_path, limits) as server:
        with urllib.request.urlopen(f"{server.address}/login") as page:
            folder = re.search(r"/static/[^/\"]+/", page.read().decode())
        assert folder is not None
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        request = f"GET {folder[0]}vendor/plotly.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client = connected(server, request.encode())
        poll = select.poll()
        poll.register(client, select.POLLRDHUP)
        assert poll.poll(STUCK * 1000)
        client.close()


def test_the_longest_waiting_makes_room(database: Database, tmp_path: Path) -> None:
    limits = replace(PATIENT, total=40, each=10 * MANY)
    with serving(database, tmp_path, limits) as server:
        clients = [connected(server) for _ in range(MANY)]
        assert answers(server)  # in the place of one of them
        remaining = 40 - 1
        assert all(ends(client) for client in clients[:-remaining])
        assert all(is_open(client) for client in clients[-remaining:])
        close(clients)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
def test_handshakes_that_do_not_end_make_room_too(database: Database, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-subj", "/CN=localhost"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    limits = replace(PATIENT, total=40, each=10 * MANY)
    place = Place(certificate=certificate, key=key)
    with serving(database, tmp_path, limits, place) as server:
        clients = [connected(server) for _ in range(MANY)]
        assert answers(server)
        assert all(ends(client) for client in clients[: -40 + 1])
        assert [i for i, client in enumerate(clients) if is_open(client)] == list(
            range(MANY - 39, MANY)
        )
        close(clients)


def test_an_address_takes_no_others_place(database: Database, tmp_path: Path) -> None:
    limits = replace(PATIENT, each=20)
    with serving(database, tmp_path, limits) as server:
        other = connected(server)
        clients = [connected(server, source="127.0.0.2") for _ in range(MANY)]
        assert all(ends(client) for client in clients[:-20])
        assert answers(server)
        assert all(is_open(client) for client in (other, *clients[-20:]))
        close([other, *clients])


def test_a_live_stream_stays(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHECK", 0.05)
    monkeypatch.setattr(stream, "KEEP_ALIVE", 0.0)
    limits = Limits(head=SOON, body=SOON, unread=SOON, idle=1, total=40, each=30)
    with serving(database, tmp_path, limits) as server:
        header = server.board.access.secret.header["Authorization"]
        request = f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: {header}\r\n"
        watching = connected(server, request.encode() + b"\r\n")
        received = b""
        while b"event: hello" not in received:
            received += watching.recv(65_536)
        clients = [connected(server) for _ in range(MANY)]
        assert all(ends(client) for client in clients)
        for _ in range(50):  # what was sent before, and what is sent now
            assert watching.recv(10)
        close([watching, *clients])


def test_proxies_may_have_all_connections() -> None:
    with listening(Limits(total=100, each=2), proxies=["127.0.0.1", "::1"]) as listener:
        address = listener.getsockname()
        accepted = []
        for source in ["127.0.0.1"] * 6 + ["127.0.0.2"] * 3:
            client = socket.create_connection(address, source_address=(source, 0))
            accepted += [client, listener.accept()[0]]
        first = accepted[12]  # of the other address
        assert first.recv(1) == b""
        assert all(is_open(client) for client in accepted[:12:2])
        close(accepted)


def test_descriptors_that_run_out_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with listening(Limits()) as listener:
        address = listener.getsockname()
        with pytest.raises(BlockingIOError):
            listener.accept()
        clients = [socket.create_connection(address) for _ in range(50)]
        late = socket.socket()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as next_free:
            lowest = next_free.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(BlockingIOError):
                listener.accept()  # all are taken and closed: none wakes the loop again
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert all(ends(client) for client in clients)
        (line,) = caplog.messages
        assert line == "the dashboard cannot accept connections: Too many open files"
        late.connect(address)
        accepted, _ = listener.accept()
        close([late, accepted, *clients])


@contextmanager
def listening(limits: Limits, proxies: Sequence[str] = ()) -> Iterator[Listener]:
    plain = socket.create_server(("127.0.0.1", 0))
    with Listener(plain, limits, proxies=proxies) as listener:
        listener.setblocking(False)
        yield listener
