"""Who may do what: every route, asked by everybody, under right and wrong names and origins."""

import asyncio
import fcntl
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

import argon2
import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from sqlalchemy import text
from starlette.requests import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.support.waiting import STUCK
from tuner import accounts
from tuner.accounts import Role
from tuner.dashboard import local_secret
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Access, Board
from tuner.dashboard.plots import stream
from tuner.dashboard.security import limits
from tuner.dashboard.security.access import COOKIE as NAME
from tuner.dashboard.security.access import identify
from tuner.dashboard.server import Place, serve
from tuner.database import audit, studies
from tuner.database.engine import Database
from tuner.errors import AccountError, DatabaseUnreachableError
from tuner.settings import Settings

PASSWORD = "correct horse battery"
HOST = "http://localhost"
COOKIE = f"{NAME}_80"
PUBLIC = {("GET", "/login"), ("POST", "/login"), ("GET", "/healthz")}
ADMIN = re.compile(r"/delete$|/audit$")
ANYBODYS = {("POST", "/logout")}  # with any role


@dataclass
class Served:
    """An application that asks for accounts, and a session a role."""

    app: Any
    database: Database
    sessions: dict[str, str]

    def client(self, role: str | None, host: str = HOST) -> TestClient:
        client = TestClient(
            self.app, base_url=host, follow_redirects=False, raise_server_exceptions=False
        )
        if role is not None:
            client.cookies.set(COOKIE, self.sessions[role])
        return client


@pytest.fixture
def served(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", quick)
    settings = Settings(home=tmp_path / "home")
    app = create_app(Board(database, settings, Access(login=True)))
    sessions = {}
    for role in Role:
        accounts.add(database, f"one {role}", PASSWORD, role)
        sessions[str(role)] = accounts.log_in(database, f"one {role}", PASSWORD)
    with database.transaction() as connection:
        studies.create(connection, "s", ["minimize"])
    yield Served(app, database, sessions)


def routes(app: Any) -> list[tuple[str, str]]:
    """Method and path of every route, its parameters filled in."""
    values = {
        "study_id:int": "1",
        "number:int": "0",
        "attempt": "1",
        "name:path": "log.txt",
        "action": "pause",
        "worker_id": str(uuid4()),
        "tab": "log",
        "_version": "x",
        "path:path": "base.css",
        "name": "nothing",
        "figure": "history",
    }
    requests = []
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"{([^}]*)}", lambda match: values[match[1]], route.path)
        requests += [(method, path) for method in sorted(route.methods - {"HEAD"})]
    return requests


def is_refused(answer: Any) -> bool:
    return answer.status_code in (401, 403) or (
        answer.status_code == 303 and answer.headers["location"].startswith("/login")
    )


def test_every_route_is_open_to_those_who_may_and_to_nobody_else(served: Served) -> None:
    requests = routes(served.app)
    assert len(requests) > 20
    for method, path in requests:
        if (method, path) in PUBLIC or path.startswith("/static/"):
            continue
        needed = Role.VIEWER
        if path == "/launch" or (method != "GET" and (method, path) not in ANYBODYS):
            needed = Role.OPERATOR
        if ADMIN.search(path) or method == "DELETE":
            needed = Role.ADMIN
        assert is_refused(served.client(None).request(method, path)), (method, path)
        if (method, path) in ANYBODYS:
            continue  # it would end the sessions
        for role in Role:
            if "stream" in path and role >= needed:
                continue  # it never ends
            answer = served.client(str(role)).request(method, path)
            assert is_refused(answer) == (role < needed), (method, path, role, answer.status_code)
            assert answer.status_code < 500, (method, path, answer.text)


def test_no_route_answers_to_another_name_or_changes_anything_for_another_site(
    served: Served,
) -> None:
    for method, path in routes(served.app):
        rebound = served.client("admin", "http://evil.example").request(method, path)
        assert rebound.status_code == 421, (method, path)
        if method != "GET":
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Origin": "http://localhost:1234"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
            ):
                answer = served.client("admin").request(method, path, headers=headers)
                assert answer.status_code == 403, (method, path, headers)
                assert "another site" in answer.text


def test_every_answer_has_the_headers_that_protect_it(served: Served) -> None:
    client = served.client("viewer")
    for path in ("/studies", "/api/v1/studies", "/nothing", "/studies/1/log", "/login"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.replace("style-src-attr 'unsafe-inline'", "")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_strangers_learn_nothing_of_what_is_wrong_behind_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "PostgreSQL at db.internal:5432/tuner does not answer: no role ada"

    def fail(*_: object) -> NoReturn:
        raise DatabaseUnreachableError(secret)

    with monkeypatch.context() as away:
        away.setattr("tuner.database.health.health", fail)
        away.setattr("tuner.accounts.find_user", fail)
        for path in ("/healthz", "/studies", "/api/v1/studies"):
            answer = served.client("viewer").get(path)
            assert answer.status_code == 503
            assert "internal" not in answer.text
            assert "log says why" in answer.text
    assert secret in caplog.text
    monkeypatch.setattr("tuner.commands.reading.list_studies", fail)
    answer = served.client("viewer").get("/api/v1/studies")
    assert (answer.status_code, answer.json()["error"]) == (503, secret)


def test_a_fault_of_ours_has_the_headers_that_protect_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise ValueError("/home/ada/secret")

    monkeypatch.setattr("tuner.commands.reading.list_studies", fail)
    for path in ("/studies", "/api/v1/studies", "/metrics"):
        answer = served.client("viewer").get(path)
        assert answer.status_code == 500
        assert "internal error" in answer.text
        assert "ada" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_a_login_gives_a_session_that_scripts_and_other_sites_cannot_use(served: Served) -> None:
    client = served.client(None)
    data = {"name": "one viewer", "password": PASSWORD, "next": "/studies/1/log"}
    answer = client.post("/login", data=data)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/1/log")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/studies").status_code == 200
    assert client.post("/logout").status_code == 303
    client.cookies.set(COOKIE, answer.cookies[COOKIE])  # what was copied is worth nothing now
    assert is_refused(client.get("/studies"))


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_a_login_leads_to_pages_of_ours_alone(served: Served, next_: str) -> None:
    data = {"name": "one viewer", "password": PASSWORD, "next": next_}
    assert served.client(None).post("/login", data=data).headers["location"] == "/studies"


def test_passwords_cannot_be_guessed_for_long(served: Served) -> None:
    client = served.client(None)
    wrong = {"name": "one admin", "password": "wrong"}
    responses = [client.post("/login", data=wrong) for _ in range(6)]
    assert [answer.status_code for answer in responses] == [401] * 5 + [429]
    right = client.post("/login", data={**wrong, "password": PASSWORD})
    assert right.status_code == 429
    assert "try again in" in right.text
    other_responses = [client.post("/login", data={**wrong, "name": f"n{n}"}) for n in range(30)]
    assert [answer.status_code for answer in other_responses] == [401] * 25 + [429] * 5, (
        "the address counts"
    )


def test_limits_end_and_successes_do_not_count() -> None:
    now = 0.0
    attempts = limits.LoginAttempts(lambda: now)
    for _ in range(20):
        begun = attempts.begin("Ada", "192.0.2.1")
        assert isinstance(begun, limits.LoginAttempt)
        attempts.succeeded(begun)
    for _ in range(5):
        assert isinstance(attempts.begin("ada", "192.0.2.1"), limits.LoginAttempt)
    assert attempts.begin("ADA", "192.0.2.1") == 60.0
    assert isinstance(attempts.begin("ada", "192.0.2.2"), limits.LoginAttempt)
    now = 60.0
    assert isinstance(attempts.begin("ada", "192.0.2.1"), limits.LoginAttempt)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("testclient", "testclient"),
    ],
)
def test_what_counts_as_one_address(address: str, counted: str) -> None:
    assert limits.network(address) == counted


def test_a_token_stands_for_its_account_until_it_ends(served: Served) -> None:
    secret = accounts.create_token(
        served.database, "one operator", name="t", role=Role.VIEWER, days=1
    )
    client = served.client(None)
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/studies", headers=headers).status_code == 200
    assert client.post("/studies/1/pause", headers=headers).status_code == 403
    session = {"Authorization": f"Bearer {served.sessions['admin']}"}
    assert client.get("/api/v1/studies", headers=session).status_code == 401
    client.cookies.set(COOKIE, secret)
    assert client.get("/api/v1/studies").status_code == 401, "a token is no session"
    client.cookies.clear()
    with served.database.transaction() as connection:
        stored = connection.execute(text("SELECT * FROM tuner.tokens")).all()
        assert secret not in repr(stored)
        connection.execute(text("UPDATE tuner.tokens SET expires_at = clock_timestamp()"))
    assert client.get("/api/v1/studies", headers=headers).status_code == 401


def test_a_token_is_worth_no_more_than_its_account(served: Served) -> None:
    with pytest.raises(AccountError, match="is viewer, so its tokens cannot be admin"):
        accounts.create_token(served.database, "one viewer", name="t", role=Role.ADMIN, days=1)
    secret = accounts.create_token(served.database, "one admin", name="t", role=None, days=1)
    accounts.change(served.database, "one admin", role=Role.VIEWER)
    holder = accounts.find_user(served.database, secret)
    assert holder is not None
    assert holder[0].role is Role.VIEWER
    accounts.change(served.database, "one admin", password="another long password")
    assert accounts.find_user(served.database, secret) is None


def test_every_change_is_written_down_with_who_and_what_came_of_it(served: Served) -> None:
    served.client("operator").post("/studies/1/retry")
    served.client("viewer").post("/studies/1/retry")
    served.client(None).post("/login", data={"name": "eve", "password": "x"})
    with served.database.statement() as connection:
        entries = audit.page(connection)
    fields = [(entry.actor, entry.action, entry.status, entry.detail) for entry in entries]
    assert fields == [
        ("nobody", "POST /login", 401, "as eve"),
        ("one viewer", "POST /studies/1/retry", 403, ""),
        ("one operator", "POST /studies/1/retry", 303, "no trial has failed"),
    ]


def test_large_bodies_are_refused(served: Served) -> None:
    client = served.client("operator")
    response = client.post("/studies/1/notes", data={"text": "x" * 1_000_001, "revision": 0})
    assert response.status_code == 413

    def untold() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/studies/1/notes", content=untold(), headers=form)
    assert answer.status_code == 413


@pytest.fixture
def local(database: Database, tmp_path: Path) -> Iterator[Served]:
    """An application without accounts, that its owner's secret opens."""
    secret = local_secret.load(tmp_path / "home")
    board = Board(database, Settings(home=tmp_path / "home"), Access(secret=secret))
    with database.transaction() as connection:
        studies.create(connection, "s", ["minimize"])
    yield Served(create_app(board), database, {})


def secret_of(served: Served) -> local_secret.Secret:
    secret: local_secret.Secret = served.app.state.board.access.secret
    return secret


def test_who_reaches_the_loopback_is_not_yet_let_in(local: Served) -> None:
    wrong = {"Authorization": "Bearer tuner"}, {"Cookie": f"{COOKIE}={secret_of(local).cookie}x"}
    for method, path in routes(local.app):
        if (method, path) in PUBLIC or path.startswith("/static/"):
            continue
        for headers in ({}, *wrong):
            answer = local.client(None).request(method, path, headers=headers)
            assert is_refused(answer), (method, path, headers)
            if path.startswith("/api/") or path == "/metrics":
                assert answer.status_code == 401, path


def test_who_has_the_secret_may_do_everything(local: Served) -> None:
    for method, path in routes(local.app):
        if "stream" in path or (method, path) in ANYBODYS | PUBLIC:
            continue  # it never ends; it would end the session
        answer = local.client(None).request(method, path, headers=secret_of(local).header)
        assert not is_refused(answer), (method, path)
        assert answer.status_code < 500, (method, path, answer.text)


def test_the_address_that_is_printed_lets_in_and_leaves_no_secret_behind(local: Served) -> None:
    client = local.client(None)
    visited = secret_of(local).in_address(HOST, "/studies?q=a%26b")
    answer = client.get(visited)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies?q=a%26b")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert visited.rpartition("=")[2] not in cookie
    assert client.get("/studies").status_code == 200
    assert client.post("/studies/1/pause").status_code == 303
    assert client.post("/logout").status_code == 303
    assert is_refused(client.get("/studies"))


def test_programs_send_the_secret_or_a_token(local: Served) -> None:
    header = secret_of(local).header
    for path in ("/api/v1/studies", "/metrics"):
        assert local.client(None).get(path, headers=header).status_code == 200
    accounts.add(local.database, "prometheus", PASSWORD, Role.VIEWER)
    token = accounts.create_token(local.database, "prometheus", name="t", role=None, days=1)
    bearer = {"Authorization": f"Bearer {token}"}
    assert local.client(None).get("/metrics", headers=bearer).status_code == 200
    assert local.client(None).post("/studies/1/pause", headers=bearer).status_code == 403
    session = accounts.log_in(local.database, "prometheus", PASSWORD)
    client = local.client(None)
    client.cookies.set(f"{COOKIE}", session)
    assert is_refused(client.get("/studies")), "sessions are of dashboards with accounts"


def test_the_token_can_be_pasted(local: Served) -> None:
    client = local.client(None)
    assert "tuner dashboard" in client.get("/login").text
    token = secret_of(local).in_address("").rpartition("=")[2]
    wrong = client.post("/login", data={"token": token[:-1], "next": "/fleet"})
    assert (wrong.status_code, "not this dashboard" in wrong.text) == (401, True)
    right = client.post("/login", data={"token": f" {token}\n", "next": "/fleet"})
    assert (right.status_code, right.headers["location"]) == (303, "/fleet")
    assert client.get("/fleet").status_code == 200


def test_a_secret_of_a_dashboard_without_accounts_opens_none_with_accounts(
    served: Served,
) -> None:
    secret = secret_of(served)
    assert is_refused(served.client(None).get("/studies", headers=secret.header))
    assert is_refused(served.client(None).get(secret.in_address(HOST, "/studies")))


def test_a_burst_of_logins_tests_no_more_passwords_than_one_after_the_other(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []
    log_in = accounts.log_in

    def noted(database: Database, name: str, password: str) -> str:
        tested.append(password)
        return log_in(database, name, password)

    monkeypatch.setattr(accounts, "log_in", noted)
    with served.client(None) as client, ThreadPoolExecutor(30) as threads:
        answers = list(
            threads.map(
                lambda n: client.post("/login", data={"name": "one admin", "password": f"no {n}"}),
                range(60),
            )
        )
    statuses = Counter(answer.status_code for answer in answers)
    assert len(tested) == statuses[401] == limits.PAIR.tries
    assert statuses.keys() <= {401, 429, 503}


def test_wrong_passwords_from_elsewhere_lock_out_no_browser_that_is_known(served: Served) -> None:
    attempts: limits.LoginAttempts = served.app.state.attempts
    client = served.client(None)
    right = {"name": "One Admin".lower(), "password": PASSWORD}
    assert client.post("/login", data=right).status_code == 303
    assert limits.known_device(secret_of(served), "one admin", client.cookies["tuner_device_80"]), (
        "a browser that has logged in is known"
    )
    for number in range(limits.NAME.tries):
        assert isinstance(attempts.begin("one admin", f"192.0.2.{number}"), limits.LoginAttempt)
    stranger = served.client(None).post("/login", data=right)
    assert stranger.status_code == 429
    assert client.post("/login", data=right).status_code == 303
    forged = served.client(None)
    forged.cookies.set("tuner_device_80", f"x.{limits.Secret().sign('device x one admin')}")
    assert forged.post("/login", data=right).status_code == 429


def test_others_are_served_while_passwords_are_hashed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing, may_finish = threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        hashing.set()
        assert may_finish.wait(STUCK)
        raise AccountError("name or password is wrong")

    monkeypatch.setattr(accounts, "log_in", slow)
    with served.client("viewer") as client, ThreadPoolExecutor(60) as threads:
        logins = [
            threads.submit(client.post, "/login", data={"name": f"n{n}", "password": "x"})
            for n in range(25)
        ]
        assert hashing.wait(STUCK)
        assert client.get("/studies").status_code == 200
        may_finish.set()
        assert {login.result().status_code for login in logins} <= {401, 503}


def test_a_proxy_has_to_pass_on_who_asks_and_how(served: Served) -> None:
    app = create_app(served.app.state.board, hosts=["tuner.example"], is_proxied=True)
    trusting = ProxyHeadersMiddleware(app, trusted_hosts=["testclient"])
    for behind, headers, message in (
        (trusting, {}, "must pass on X-Forwarded-For"),
        (app, {"X-Forwarded-For": "192.0.2.7"}, "with `--proxy testclient`"),
        (trusting, {"X-Forwarded-For": "192.0.2.7"}, "must pass on `X-Forwarded-Proto: https`"),
        (trusting, {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}, None),
    ):
        client = TestClient(behind, base_url="http://tuner.example")
        answer = client.get("/login", headers=headers)
        assert answer.status_code == (400 if message else 200)
        assert (message or "Log in") in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://localhost", "http://[::1", "http://localhost:80:80", "x"]
)
def test_an_origin_of_another_scheme_or_none_at_all_is_refused(served: Served, origin: str) -> None:
    answer = served.client("admin").post("/studies/1/pause", headers={"Origin": origin})
    assert answer.status_code == 403
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_stream_ends_with_the_session_that_opened_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHECK", 0.01)

    async def watch() -> list[str]:
        events = []
        board = served.app.state.board
        scope = {
            "type": "http",
            "headers": [(b"cookie", f"{COOKIE}={served.sessions['viewer']}".encode())],
            "path": "/",
            "query_string": b"",
            "server": ("localhost", 80),
        }

        def is_allowed() -> bool:
            return identify(Request(scope), board) is not None

        async for event in board.stream.events(is_allowed):
            events.append(event)
            accounts.change(served.database, "one viewer", password="another long password")
        return events

    assert len(asyncio.run(asyncio.wait_for(watch(), 60))) == 1


def test_only_its_owner_can_read_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "dashboard" / "secret"
    first = local_secret.load(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert local_secret.load(tmp_path).cookie == first.cookie
    assert first.in_address("").rpartition("=")[2] not in repr(first)
    for spoil in (
        lambda: file.chmod(0o644),
        lambda: file.write_text("short"),
        lambda: (file.unlink(), file.symlink_to(tmp_path / "elsewhere")),
    ):
        spoil()
        again = local_secret.load(tmp_path)
        assert again.cookie != first.cookie, "what others could read or set is replaced"
        assert stat.S_IMODE(file.lstat().st_mode) == 0o600
        first = again


def test_a_dashboard_is_found_by_its_home_for_as_long_as_it_serves(tmp_path: Path) -> None:
    address = "http://127.0.0.1:8470"
    assert not local_secret.is_running(tmp_path, address)
    with local_secret.announce(tmp_path, address):
        assert local_secret.is_running(tmp_path, address)
        assert not local_secret.is_running(tmp_path, "http://127.0.0.1:8471")
        assert not local_secret.is_running(tmp_path / "other", address)
    assert not local_secret.is_running(tmp_path, address)
    record = tmp_path / "dashboard" / "127.0.0.1_8470"
    record.write_text(address)  # of one that was killed
    assert not local_secret.is_running(tmp_path, address)


def test_two_dashboards_may_have_a_port_of_two_addresses(tmp_path: Path) -> None:
    both = "http://127.0.0.1:8470", "https://[::1]:8470"
    with local_secret.announce(tmp_path, both[0]), local_secret.announce(tmp_path, both[1]):
        assert all(local_secret.is_running(tmp_path, address) for address in both)


def test_what_somebody_else_has_put_there_is_neither_believed_nor_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://127.0.0.1:8470"
    secret = local_secret.load(tmp_path)
    record = tmp_path / "dashboard" / "127.0.0.1_8470"
    record.write_text(address)
    with record.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        record.chmod(0o600)
        assert local_secret.is_running(tmp_path, address)
        record.chmod(0o666)
        assert not local_secret.is_running(tmp_path, address), (
            "the secret would be sent to its writer"
        )
        with local_secret.announce(tmp_path, address):
            assert local_secret.is_running(tmp_path, address)
    for name in ("secret", record.name):
        (tmp_path / "dashboard" / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "dashboard" / name, 0o600)
    assert not local_secret.is_running(tmp_path, address)
    assert local_secret.load(tmp_path).cookie != secret.cookie
    with local_secret.announce(tmp_path, address):
        assert local_secret.is_running(tmp_path, address)


def test_a_browser_gets_the_secret_from_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://127.0.0.1:8470"
    secret = local_secret.load(tmp_path)
    url = local_secret.page_for_browser(tmp_path, secret, address)
    page = Path(urlsplit(url).path)
    assert urlsplit(url).scheme == "file"
    assert page.parent == tmp_path / "dashboard"
    assert secret.in_address("").rpartition("=")[2] not in url
    assert secret.in_address(address) in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert local_secret.page_for_browser(tmp_path, secret, address) == url, "once more"
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with pytest.raises(KeyboardInterrupt), local_secret.announce(tmp_path, address):
        place = Place(port=8470)
        serve(Settings(home=tmp_path), place, browser=True, on_start=lambda *_: None)
        raise KeyboardInterrupt
    assert opened == [url], "what a browser is started with, everybody sees"
    assert not page.exists()


def test_without_accounts_no_other_name_is_answered(local: Served) -> None:
    client = local.client(None, "http://tuner.example")
    assert client.get("/studies", headers=secret_of(local).header).status_code == 421


def test_dashboards_behind_two_ports_of_a_host_keep_their_sessions_apart(served: Served) -> None:
    client = served.client(None)
    first, second = (f"{HOST}:{port}" for port in (8471, 8472))
    for address in (first, second):
        credentials = {"name": "one admin", "password": PASSWORD}
        assert client.post(f"{address}/login", data=credentials).status_code == 303
    assert {cookie.name for cookie in client.cookies.jar} == {
        f"{name}_{port}" for name in ("tuner_session", "tuner_device") for port in (8471, 8472)
    }
    assert client.post(f"{second}/logout").status_code == 303
    assert is_refused(client.get(f"{second}/studies"))
    assert client.get(f"{first}/studies").status_code == 200
