"""What strangers and users send fills neither the database nor the disk."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from tuner import accounts
from tuner.accounts import Role
from tuner.dashboard.app import create_app, remove_old
from tuner.dashboard.board import Access, Board
from tuner.dashboard.launch.uploads import RETENTION_DAYS
from tuner.dashboard.security.audit import BURST, PERIOD, RefusalSampler
from tuner.database import audit, studies
from tuner.database.engine import Database
from tuner.settings import Settings

PASSWORD = "correct horse battery"
TABLE = b"text,label\nx,a\n"


@pytest.fixture
def board(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", quick)
    accounts.add(database, "ada", PASSWORD, Role.OPERATOR)
    settings = Settings(home=tmp_path / "home", uploads_gb=1e-6)  # a kilobyte
    return Board(database, settings, Access(login=True))


@pytest.fixture
def client(board: Board) -> Iterator[TestClient]:
    yield TestClient(create_app(board), base_url="http://localhost", follow_redirects=False)


def entries(board: Board) -> list[audit.AuditEntry]:
    with board.database.statement() as connection:
        return audit.page(connection, limit=1_000)


def test_of_what_is_refused_to_strangers_a_sample_is_written(
    board: Board, client: TestClient
) -> None:
    for number in range(25):  # an address has 30 failed logins a minute
        client.post("/login", data={"name": f"eve{number}", "password": "x"})
        client.post(f"/studies/{number}/pause")
    assert len(entries(board)) == BURST
    login = client.post("/login", data={"name": "ada", "password": PASSWORD})
    assert login.status_code == 303
    assert client.post("/studies/1/pause").status_code == 404
    fields = [(entry.actor, entry.action, entry.status) for entry in entries(board)[:2]]
    assert fields == [("ada", "POST /studies/1/pause", 404), ("nobody", "POST /login", 303)]


def test_left_out_entries_are_counted() -> None:
    now = 0.0
    sample = RefusalSampler(lambda: now)
    assert [sample.take() for _ in range(BURST)] == [0] * BURST
    assert [sample.take() for _ in range(500)] == [None] * 500
    now += PERIOD
    assert sample.take() == 500
    assert sample.take() is None
    now += 1_000 * PERIOD
    assert [sample.take() for _ in range(BURST)] == [1, *[0] * (BURST - 1)]
    assert sample.take() is None


def test_entries_are_kept_for_a_year(board: Board) -> None:
    with board.database.transaction() as connection:
        for days in (366, 364):
            audit.write(connection, actor="ada", action=f"{days}", status=303, detail="")
            connection.execute(
                text(
                    "UPDATE tuner.audit SET at = now() - make_interval(days => :d) "
                    "WHERE action = :a"
                ),
                {"d": days, "a": f"{days}"},
            )
    remove_old(board)
    assert [entry.action for entry in entries(board)] == ["364"]


def test_uploads_have_a_limit_in_all(board: Board, client: TestClient) -> None:
    client.cookies.set("tuner_session_80", accounts.log_in(board.database, "ada", PASSWORD))

    def upload(content: bytes) -> tuple[int, str]:
        answer = client.post("/launch/upload", files={"file": ("table.csv", content)})
        return answer.status_code, answer.text

    assert upload(b"a" * 600)[0] == 200
    assert upload(b"a" * 600)[0] == 200  # the same once more takes no room
    status, page = upload(b"b" * 600)
    assert status == 422
    assert "uploads already fill their limit of 1e-06 GB" in page
    assert "TUNER_UPLOADS_GB" in page
    assert sum(file.is_file() for file in board.settings.uploads.rglob("*")) == 1


def test_uploads_that_nobody_uses_are_removed(board: Board, client: TestClient) -> None:
    client.cookies.set("tuner_session_80", accounts.log_in(board.database, "ada", PASSWORD))
    for content in (b"unused", b"used", b"young"):
        client.post("/launch/upload", files={"file": ("table.csv", content)})
    paths = {path.read_bytes(): path for path in board.settings.uploads.rglob("*.csv")}
    old = time.time() - (RETENTION_DAYS + 1) * 86_400
    for content in (b"unused", b"used"):
        os.utime(paths[content].parent, (old, old))
    with board.database.transaction() as connection:
        study = studies.create(connection, "s", ["minimize"])
        connection.execute(
            text("UPDATE tuner.studies SET spec = CAST(:spec AS jsonb) WHERE id = :id"),
            {"spec": json.dumps({"data": {"path": str(paths[b"used"])}}), "id": study},
        )
    remove_old(board)
    remaining = {path.read_bytes() for path in board.settings.uploads.rglob("*.csv")}
    assert remaining == {b"used", b"young"}
    assert not paths[b"unused"].parent.exists()
