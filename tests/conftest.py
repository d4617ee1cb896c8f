"""A real PostgreSQL for every test that asks: a fresh database each, cloned from a template."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from tuner import settings
from tuner.cli.app import execute
from tuner.database import embedded, schema
from tuner.database.embedded import places
from tuner.database.engine import Database

# a new process would spend three quarters of a second on imports, and hardly more on the rest
QUICK = frozenset(
    {"best", "change", "enqueue", "list", "pause", "resume", "show", "stop", "trials"}
)
LOOK = 0.01  # seconds between two looks at what a test waits for
PATIENCE = 120.0  # seconds of an idle machine in which it has to happen, or something to move
STUCK = 1_200.0  # seconds after which a process counts as stuck, on the busiest machine
MAX_DESCRIPTORS = 64  # beside those that were open before
NOBODY = 65534  # an account of the machine that owns nothing
_SHARED_HOME = "TUNER_TEST_HOME"  # environment variable
_IS_WORKER = "PYTEST_XDIST_WORKER"


def new_home() -> Path:
    """An empty TUNER_HOME; not in pytest's folders: root's server runs as a user kept out there."""
    home = Path(tempfile.mkdtemp(prefix="tuner-test-", dir=_public_folder()))
    home.chmod(0o755)
    return home


def _public_folder() -> Path:
    """The folder of temporary files, or where it is private another one that all may enter."""
    folders = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    user = places.server_user(folders[0])
    return next((f for f in folders if f.is_dir() and places.can_enter(f, user)), folders[0])


def remove_home(home: Path) -> None:
    """Stop the home's server and remove all that it has."""
    embedded.stop(home, force=True)
    run = home / "postgres" / "run-folder"
    if run.exists():
        shutil.rmtree(run.read_text())
    shutil.rmtree(home, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Name the home of the run's server before pytest-xdist's workers start."""
    if _IS_WORKER not in os.environ:
        os.environ[_SHARED_HOME] = str(new_home())


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


def admin(server: URL, *statements: str) -> None:
    """Run statements that cannot be in a transaction."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def template(server: URL) -> Iterator[str]:
    """A database with tuner's schema, to clone."""
    name = f"template_{uuid.uuid4().hex}"
    admin(server, f"CREATE DATABASE {name}")
    database = Database(server.set(database=name))
    schema.upgrade(database)
    database.close()
    yield name
    admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def cloned(server: URL, template: str) -> Iterator[URL]:
    """A fresh database with tuner's schema, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    admin(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.set(database=name)
    admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(server: URL, template: str) -> Iterator[URL]:
    """A fresh database of this test's own."""
    with cloned(server, template) as url:
        yield url


@pytest.fixture
def empty_url(server: URL) -> Iterator[URL]:
    """A database without tuner's schema."""
    name = f"empty_{uuid.uuid4().hex}"
    admin(server, f"CREATE DATABASE {name}")
    yield server.set(database=name)
    admin(server, f"DROP DATABASE {name} WITH (FORCE)")


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


def eventually(
    condition: Callable[[], Any],
    *,
    within: float = PATIENCE,
    progress: Callable[[], Any] = lambda: None,
) -> None:
    """Wait until the condition holds; fails after `within` seconds in which nothing has moved.

    The seconds are those of an idle machine: it looks a hundred times in each, and on a busy one a
    look takes longer, as everything does. They begin anew if `progress` returns another value.
    """
    patience = int(max(within, PATIENCE) / LOOK)
    before, looks = progress(), 0
    pause = threading.Event()
    while not condition():
        pause.wait(LOOK)
        looks += 1
        if looks == patience:
            now = progress()
            assert now != before, f"not within {patience} looks, and nothing has moved: {now!r}"
            before, looks = now, 0


def tuner(
    *arguments: str,
    environment: dict[str, str],
    cwd: Path | None = None,
    timeout: float = STUCK,
    typed: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does; commands that only ask the database, in this process."""
    if arguments[:1] and arguments[0] in QUICK:
        return tuner_here(arguments, environment, cwd)
    return subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        env=environment,
        cwd=cwd,
        input=typed,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def tuner_here(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment, clear=True),
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        settings.settings.cache_clear()
        try:
            code = execute(arguments)
        finally:
            settings.settings.cache_clear()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """Undo what training sets for its process, and hypothesis and NumPy complain about."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)


def python_of_nobody() -> str:
    """A Python of this version that an ordinary user may run; root's own often lies in /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run([candidate, "-c", "import ssl"], user=NOBODY, check=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("there is no Python that an ordinary user could run")
