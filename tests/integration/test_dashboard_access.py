"""Who may do what: every route, asked by everybody, under right and wrong names and origins."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import argon2
import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from sqlalchemy import text

from tuner import accounts
from tuner.accounts import Role
from tuner.dashboard.app import create_app
from tuner.dashboard.context import Access, Board
from tuner.dashboard.security.access import COOKIE
from tuner.database import audit, studies
from tuner.database.engine import Database
from tuner.errors import AccountError
from tuner.settings import Settings

PASSWORD = "correct horse battery"
HOST = "http://localhost"
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
    found = []
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"{([^}]*)}", lambda match: values[match[1]], route.path)
        found += [(method, path) for method in sorted(route.methods - {"HEAD"})]
    return found


def is_refused(answer: Any) -> bool:
    return answer.status_code in (401, 403) or (
        answer.status_code == 303 and answer.headers["location"].startswith("/login")
    )


def test_every_route_is_open_to_those_who_may_and_to_nobody_else(served: Served) -> None:
    every = routes(served.app)
    assert len(every) > 20
    for method, path in every:
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
    said = [client.post("/login", data=wrong) for _ in range(6)]
    assert [answer.status_code for answer in said] == [401] * 5 + [429]
    right = client.post("/login", data={**wrong, "password": PASSWORD})
    assert right.status_code == 429
    assert "try again in" in right.text
    unknown = client.post("/login", data={"name": "nobody", "password": PASSWORD})
    assert unknown.status_code == 429, "the address counts as well as the name"


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
    with pytest.raises(AccountError, match="is viewer itself"):
        accounts.create_token(served.database, "one viewer", name="t", role=Role.ADMIN, days=1)
    secret = accounts.create_token(served.database, "one admin", name="t", role=None, days=1)
    accounts.change(served.database, "one admin", role=Role.VIEWER)
    found = accounts.user_of(served.database, secret)
    assert found is not None
    assert found[0].role is Role.VIEWER
    accounts.change(served.database, "one admin", password="another long password")
    assert accounts.user_of(served.database, secret) is None


def test_every_change_is_written_down_with_who_and_what_came_of_it(served: Served) -> None:
    served.client("operator").post("/studies/1/retry")
    served.client("viewer").post("/studies/1/retry")
    served.client(None).post("/login", data={"name": "eve", "password": "x"})
    with served.database.statement() as connection:
        found = audit.page(connection)
    said = [(entry.actor, entry.action, entry.status, entry.detail) for entry in found]
    assert said == [
        ("nobody", "POST /login", 401, "as eve"),
        ("one viewer", "POST /studies/1/retry", 403, ""),
        ("one operator", "POST /studies/1/retry", 303, "none has failed"),
    ]


def test_large_bodies_are_refused(served: Served) -> None:
    client = served.client("operator")
    told = client.post("/studies/1/notes", data={"text": "x" * 1_000_001, "revision": 0})
    assert told.status_code == 413

    def untold() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/studies/1/notes", content=untold(), headers=form)
    assert answer.status_code == 413


def test_without_accounts_everybody_on_this_machine_is_its_admin(
    database: Database, tmp_path: Path
) -> None:
    app = create_app(Board(database, Settings(home=tmp_path)))
    client = TestClient(app, base_url=HOST, follow_redirects=False)
    assert client.get("/studies").status_code == 200
    assert client.get("/studies", headers={"Host": "tuner.example"}).status_code == 421
