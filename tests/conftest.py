"""A real PostgreSQL for every test that asks: a fresh database each, cloned from a template."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from tuner.database import embedded, schema
from tuner.database.engine import Database


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """One server for the whole run, shared by pytest-xdist's workers."""
    given = os.environ.get("TUNER_TEST_DATABASE_URL")
    if given:
        yield make_url(given)
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    hold = embedded.hold(shared / "server", linger=1.0)
    yield make_url(hold.url)
    hold.release()


def _admin(server: URL, *statements: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def template(server: URL) -> Iterator[str]:
    """A database with tuner's schema, to clone."""
    name = f"template_{uuid.uuid4().hex}"
    _admin(server, f"CREATE DATABASE {name}")
    database = Database(server.set(database=name))
    schema.upgrade(database)
    database.close()
    yield name
    _admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(server: URL, template: str) -> Iterator[URL]:
    """A fresh database of this test's own."""
    name = f"test_{uuid.uuid4().hex}"
    _admin(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.set(database=name)
    _admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: URL) -> Iterator[Database]:
    """The fresh database, connected."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def environment(database_url: URL, tmp_path: Path) -> dict[str, str]:
    """The environment of `tuner` processes that work on this test's database and home."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("TUNER_")},
        "TUNER_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "TUNER_HOME": str(tmp_path / "home"),
        "COLUMNS": "200",
    }


def tuner(
    *arguments: str, environment: dict[str, str], cwd: Path | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
