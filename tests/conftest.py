"""A real PostgreSQL for every test that asks: a fresh database each, cloned from a template."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from tests.support.databases import admin, cloned
from tests.support.homes import new_home, remove_home
from tuner.database import embedded, schema
from tuner.database.engine import Database

MAX_DESCRIPTORS = 64  # beside those that were open before
_SHARED_HOME = "TUNER_TEST_HOME"  # environment variable
_IS_WORKER = "PYTEST_XDIST_WORKER"


def pytest_configure(config: pytest.Config) -> None:
    """Name the home of the run's server before pytest-xdist's workers start."""
    if _IS_WORKER not in os.environ:
        os.environ[_SHARED_HOME] = str(new_home())
        # where it is set, every `tuner` process would compile all of tuner anew
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing of the run's server, once the workers have ended."""
    if _IS_WORKER not in os.environ:
        remove_home(Path(os.environ.pop(_SHARED_HOME)))


@pytest.fixture(autouse=True, scope="module")
def descriptors() -> Iterator[None]:
    """What tests or tuner leave open adds up: a file's tests may leave the process a few."""
    before = _descriptors()
    yield
    left = [path for number, path in _descriptors().items() if before.get(number) != path]
    assert len(left) < MAX_DESCRIPTORS, f"left open: {sorted(left)}"


def _descriptors() -> dict[int, str]:
    """Number → what it is, of all that this process has open; none where nothing tells."""
    found: dict[int, str] = {}
    with suppress(FileNotFoundError):
        for number in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the one that lists them
                found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return found


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    """One server for the whole run, shared by pytest-xdist's workers."""
    given = os.environ.get("TUNER_TEST_DATABASE_URL")
    if given:
        yield make_url(given)
        return
    hold = embedded.hold(Path(os.environ[_SHARED_HOME]), linger=30.0)
    url = make_url(hold.url)
    # killed processes are tested, power failures are not: a slow disk would only cost minutes
    admin(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    yield url
    hold.release()


@pytest.fixture
def home() -> Iterator[Path]:
    """A fresh TUNER_HOME, for tests that use an embedded server of their own."""
    home = new_home()
    yield home
    remove_home(home)


@pytest.fixture(scope="session")
def template(server: URL) -> Iterator[str]:
    """A database with tuner's schema, to clone."""
    with cloned(server) as url:
        database = Database(url)
        schema.upgrade(database)
        database.close()
        assert url.database is not None
        yield url.database


@pytest.fixture
def database_url(server: URL, template: str) -> Iterator[URL]:
    """A fresh database of this test's own."""
    with cloned(server, template) as url:
        yield url


@pytest.fixture
def empty_url(server: URL) -> Iterator[URL]:
    """A database without tuner's schema."""
    with cloned(server) as url:
        yield url


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


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """Undo what training sets for its process, and hypothesis and NumPy complain about."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)
