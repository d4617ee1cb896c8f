"""The embedded server with real processes: who holds it, what survives, who may enter."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
import pytest

from tests.support.accounts import NOBODY, python_of_nobody
from tests.support.commands import tuner
from tests.support.homes import new_home, remove_home
from tests.support.waiting import STUCK, eventually
from tuner import files
from tuner.database import embedded
from tuner.database.embedded import cluster, places, programs, supervisor
from tuner.errors import BadInputError, DiskFullError, EmbeddedServerError

ROOT = Path(__file__).parents[2]
OTHER = 54321  # neither root nor the user that its server runs as
NOT_COPIED = shutil.ignore_patterns("__pycache__", "pginstall")  # an older server
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")

HOLDER = """
import sys
from pathlib import Path
from tuner.database import embedded
hold = embedded.hold(Path(sys.argv[1]), linger=float(sys.argv[2]))
print(hold.url, flush=True)
sys.stdin.read()
hold.release()
"""


@pytest.fixture(scope="session")
def home_with_data() -> Iterator[Path]:
    """A home with a data folder, to copy: making one is the slowest part of most tests."""
    home = new_home()
    embedded.hold(home, linger=0).release()
    embedded.stop(home, force=True)
    yield home
    remove_home(home)


@pytest.fixture
def fresh(home: Path) -> Path:
    """A home in which no server has run."""
    shutil.rmtree(home / "postgres")
    return home


@pytest.fixture
def home(home: Path, home_with_data: Path) -> Path:
    """A home in which a server has run."""
    subprocess.run(["cp", "-a", home_with_data / "postgres", home], check=True)
    return home


class Holder:
    """A process that holds the server until it is told to leave or killed."""

    def __init__(self, home: Path, linger: float = 0.0, script: str = HOLDER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, home, str(linger)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    @property
    def url(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate(timeout=STUCK)

    def kill(self) -> None:
        self.process.kill()
        self.leave()


@contextmanager
def holder(home: Path, linger: float = 0.0, script: str = HOLDER) -> Iterator[Holder]:
    started_holder = Holder(home, linger, script)
    try:
        yield started_holder
    finally:
        with suppress(ValueError):  # it was told to leave in the test
            started_holder.leave()


def connect(url: str) -> "psycopg2.extensions.connection":
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    connection.autocommit = True
    return connection


def ask(url: str, query: str) -> object:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def started(url: str) -> object:
    """When the server was started; another time is another server."""
    return ask(url, "SELECT pg_postmaster_start_time()")


def answers(url: str) -> bool:
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg2.OperationalError:
        return False


def restarted(url: str, since: object) -> bool:
    """Whether another server answers; the old one may die between two questions."""
    try:
        return started(url) != since
    except psycopg2.OperationalError:
        return False


def find(home: Path) -> places.Places:
    located = places.find(home)
    assert located is not None
    return located


def postmaster(home: Path) -> psutil.Process:
    return psutil.Process(int((find(home).data / "postmaster.pid").read_text().split()[0]))


def supervising(home: Path) -> psutil.Process:
    parent = postmaster(home).parent()
    assert parent is not None
    return parent


@contextmanager
def gone_afterwards(home: Path) -> Iterator[None]:
    """The supervisor and PostgreSQL end with the block."""
    processes = [supervising(home), postmaster(home)]
    yield
    for process in processes:
        process.wait(timeout=STUCK)
    assert not find(home).control.exists()
    assert not find(home).socket.exists()


# sharing


def test_a_fresh_home_gets_a_server_in_utc_and_utf8_that_keeps_its_promises(fresh: Path) -> None:
    hold = embedded.hold(fresh, linger=0)
    expected = {
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_connections": "100",
        "listen_addresses": "",
        "jit": "off",
    }
    assert {name: ask(hold.url, f"SHOW {name}") for name in expected} == expected
    locale = "SELECT datlocale FROM pg_database WHERE datname = current_database()"
    assert ask(hold.url, locale) == "C.UTF-8"
    hold.release()


def test_processes_share_one_server_and_it_ends_with_the_last(home: Path) -> None:
    with holder(home) as first, holder(home) as second:
        url = first.url
        assert second.url == url
        with gone_afterwards(home):
            began = started(url)
            first.leave()
            assert started(url) == began
            second.leave()


def test_the_server_lingers_for_the_next_process(home: Path) -> None:
    first = embedded.hold(home, linger=60)
    began = started(first.url)
    first.release()
    first.release()  # twice is once
    with holder(home) as second:
        assert started(second.url) == began
    assert embedded.stop(home, force=False)


def test_a_negative_linger_means_until_stop(home: Path) -> None:
    url = (first := embedded.hold(home, linger=-1)).url
    second = embedded.hold(home, linger=0)
    with gone_afterwards(home):
        first.release()
        second.release()
        assert answers(url)
        assert embedded.stop(home, force=False)
    assert not embedded.stop(home, force=False)


def test_no_server_is_there_to_stop_in_a_fresh_home(fresh: Path) -> None:
    assert not embedded.stop(fresh, force=True)
    assert not embedded.stop(fresh / "not there", force=False)


@on_linux
def test_a_program_that_has_only_the_url_keeps_the_server_while_connected(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    url, began = hold.url, started(hold.url)
    program = connect(url)
    with gone_afterwards(home):
        hold.release()
        eventually(lambda: not supervisor.has_connections(find(home).control))
        assert started(url) == began
        program.close()


def test_a_forked_child_holds_the_server_too(home: Path) -> None:
    script = HOLDER.replace(
        "sys.stdin.read()", "import os\nif os.fork():\n    os._exit(0)\nsys.stdin.read()"
    )
    with holder(home, script=script) as parent:
        url = parent.url
        parent.process.wait(timeout=STUCK)  # the child still has its standard input
        with gone_afterwards(home):
            embedded.hold(home, linger=0).release()
            assert answers(url)
            parent.leave()


def test_stopping_names_the_others_who_use_it(home: Path) -> None:
    with holder(home) as other:
        url = other.url
        with pytest.raises(EmbeddedServerError, match=r"^1 other process uses the embedded server"):
            embedded.stop(home, force=False)
        mine = embedded.hold(home, linger=0)  # one's own does not count
        with pytest.raises(EmbeddedServerError, match=r"^1 other process uses"):
            embedded.stop(home, force=False)
        assert answers(url)
        with gone_afterwards(home):
            assert embedded.stop(home, force=True)
        mine.release()
    assert not answers(url)


def test_stop_from_the_command_line(home: Path, environment: dict[str, str]) -> None:
    del environment["TUNER_DATABASE_URL"]
    environment["TUNER_HOME"] = str(home)
    with holder(home) as other:
        assert other.url
        refused = tuner("db", "stop", environment=environment)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "1 other process uses the embedded server" in refused.stderr
        assert tuner("db", "stop", "--force", environment=environment).stdout == "stopped\n"
    assert tuner("db", "stop", environment=environment).stdout == "the server was not running\n"


def test_six_threads_start_one_server(fresh: Path) -> None:
    holds: list[embedded.EmbeddedServer] = []
    threads = [
        threading.Thread(target=lambda: holds.append(embedded.hold(fresh, linger=0)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(holds) == 6
    assert len({started(hold.url) for hold in holds}) == 1
    with gone_afterwards(fresh):
        for hold in holds:
            hold.release()


def test_six_processes_start_one_server(fresh: Path) -> None:
    holders = [Holder(fresh) for _ in range(6)]
    assert len({started(holder.url) for holder in holders}) == 1
    with gone_afterwards(fresh):
        for holder in holders:
            holder.leave()


def test_joining_a_server_that_is_stopping(home: Path) -> None:
    url = embedded.hold(home, linger=0).url
    for _ in range(8):
        embedded.stop(home, force=True)
        hold = embedded.hold(home, linger=0)
        hold.release()
        hold = embedded.hold(home, linger=0)  # the supervisor may just have begun to stop
        assert answers(hold.url)
    assert hold.url == url


# kill -9


def test_a_killed_holder_holds_no_longer(home: Path) -> None:
    with holder(home) as only:
        assert answers(only.url)
        with gone_afterwards(home):
            only.kill()


@pytest.mark.parametrize("victims", [[supervising], [postmaster], [supervising, postmaster]])
def test_the_server_comes_back_at_the_same_url(
    home: Path, victims: list[Callable[[Path], psutil.Process]]
) -> None:
    hold = embedded.hold(home, linger=0)
    ask(hold.url, "CREATE TABLE kept AS SELECT generate_series(1, 100)")
    killed = [victim(home) for victim in victims]
    for process in killed:
        process.kill()
    for process in killed:
        process.wait(timeout=STUCK)
    with holder(home) as next_one:
        assert next_one.url == hold.url
        assert ask(hold.url, "SELECT count(*) FROM kept") == 100
    hold.release()


@pytest.mark.parametrize("victim", [supervising, postmaster])
def test_a_holder_only_has_to_connect_again(
    home: Path, victim: Callable[[Path], psutil.Process]
) -> None:
    hold = embedded.hold(home, linger=0)
    began = started(hold.url)
    victim(home).kill()
    eventually(lambda: restarted(hold.url, began))
    with gone_afterwards(home):
        hold.release()


@on_linux
def test_postgresql_does_not_outlive_a_killed_supervisor(home: Path) -> None:
    with holder(home, linger=60) as only:
        assert only.url
        server, guard = postmaster(home), supervising(home)
        only.kill()
        guard.kill()
        server.wait(timeout=STUCK)


@on_linux
def test_a_busy_backend_of_a_killed_server_is_ended(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    busy = connect(hold.url)
    backend = psutil.Process(busy.get_backend_pid())
    endless = "SELECT count(*) FROM generate_series(1, 10000000000)"
    thread = threading.Thread(target=lambda: suppress_errors(busy, endless))
    thread.start()
    eventually(lambda: backend.cpu_times().user > 0.1)
    victims = [supervising(home), postmaster(home)]
    for process in victims:
        process.suspend()  # so that neither can end the backend before it is killed itself
    for process in victims:
        process.kill()
    with holder(home) as next_one:
        assert answers(next_one.url)
        assert not backend.is_running() or backend.status() == psutil.STATUS_ZOMBIE
    thread.join()
    hold.release()


def suppress_errors(connection: "psycopg2.extensions.connection", query: str) -> None:
    with suppress(psycopg2.OperationalError), connection.cursor() as cursor:
        cursor.execute(query)


def test_a_server_that_crashes_again_and_again_is_given_up(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    guard = supervising(home)
    for crash in range(1, supervisor.MAX_CRASHES + 1):
        server = postmaster(home)
        server.kill()
        server.wait(timeout=STUCK)
        if crash < supervisor.MAX_CRASHES:
            eventually(lambda: answers(hold.url))
    guard.wait(timeout=STUCK)
    again = embedded.hold(home, linger=0)
    assert answers(again.url)
    again.release()
    hold.release()


def test_a_half_made_data_folder_is_not_taken_for_data(fresh: Path) -> None:
    with holder(fresh) as first:
        base = fresh / "postgres"
        if os.geteuid() == 0:
            eventually(lambda: places.find(fresh) is not None)
        eventually(lambda: list(base.glob(".init-*/data/base")))
        guard = next(
            process
            for process in psutil.process_iter(["cmdline"])
            if str(fresh) in (process.info["cmdline"] or ()) and process.pid != first.process.pid
        )
        guard.kill()
        assert answers(first.url)  # it has started another
        assert not list(base.glob(".init-*"))


@on_linux
def test_a_pid_file_whose_pid_is_another_program_by_now(home: Path) -> None:
    embedded.hold(home, linger=0).release()
    embedded.stop(home, force=True)
    pid_file = find(home).data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n")
    hold = embedded.hold(home, linger=0)
    assert answers(hold.url)
    hold.release()


# who may enter


def test_only_the_owner_may_enter(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    at = find(home)
    for path in (at.password, at.log, at.control, at.data, at.sockets, at.socket):
        assert not path.lstat().st_mode & 0o077, path
    assert not at.base.lstat().st_mode & 0o066
    methods = "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules"
    assert ask(hold.url, methods) == ["scram-sha-256"]
    assert not postmaster(home).net_connections("inet")
    hold.release()


@pytest.mark.parametrize("password", ["wrong", ""])
def test_nobody_enters_without_the_password(home: Path, password: str) -> None:
    hold = embedded.hold(home, linger=0)
    right = find(home).password.read_text()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        connect(hold.url.replace(right, password))
    hold.release()


def test_the_password_is_on_no_command_line_and_in_no_log(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    password = find(home).password.read_text()
    assert len(password) >= 32
    assert password not in repr(hold)
    assert password not in find(home).log.read_text()
    for process in psutil.process_iter(["cmdline"]):
        assert password not in " ".join(process.info["cmdline"] or ())
    hold.release()


def test_a_lost_password_is_replaced(home: Path) -> None:
    embedded.hold(home, linger=0).release()
    embedded.stop(home, force=True)
    find(home).password.unlink()
    hold = embedded.hold(home, linger=0)
    assert answers(hold.url)
    hold.release()


@pytest.mark.parametrize("name", ["with space", "größe-数据", "a,b", "per%20cent+&?=#", "'\"$x"])
def test_homes_with_unusual_names(home: Path, name: str) -> None:
    hold = embedded.hold(home / name, linger=0)
    assert answers(hold.url)
    hold.release()
    remove_home(home / name)


def test_a_home_too_long_for_a_socket(home: Path) -> None:
    long = home / ("long" * 40)
    hold = embedded.hold(long, linger=0)
    run = find(long).run
    assert run.parent == places.SHORT
    assert run.stat().st_uid == os.geteuid()
    assert not stat.S_IMODE(run.stat().st_mode) & 0o066
    with holder(long) as other:
        assert other.url == hold.url
    hold.release()
    embedded.stop(long, force=True)
    # the name was taken by somebody else meanwhile: another folder is made
    (run / "of").write_text("somebody else's")
    assert places.find(long) is None
    hold = embedded.hold(long, linger=0)
    assert find(long).run != run
    assert answers(hold.url)
    hold.release()
    remove_home(long)
    shutil.rmtree(run)


# as root and as others

AS_NOBODY = """
import os, sys
from pathlib import Path
from tuner.database import embedded
import psycopg2
home = Path(sys.argv[1])
hold = embedded.hold(home, linger=0)
connection = psycopg2.connect(hold.url.replace("+psycopg2", ""))
cursor = connection.cursor()
cursor.execute("SELECT current_user")
print(os.geteuid(), cursor.fetchone()[0], (home / "postgres" / "data").stat().st_uid)
connection.close()
hold.release()
embedded.stop(home, force=True)
"""


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """A copy of what AS_NOBODY imports: tuner and its packages often lie in a private folder."""
    listing = "import sys, tuner.database.embedded, psycopg2\nprint(*sys.modules, sep='\\n')"
    imported = subprocess.run(
        [sys.executable, "-c", listing], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    folder = new_home()
    for name in {"tuner", programs.PACKAGE, *(name.partition(".")[0] for name in imported)}:
        spec = None if name in sys.stdlib_module_names or name == "__main__" else find_spec(name)
        if spec is None or spec.origin is None:
            continue
        module = Path(spec.origin)
        if module.name != "__init__.py":
            shutil.copy(module, folder)
            continue
        package = module.parent
        for part in (package, *package.parent.glob(f"{name}*.libs")):
            shutil.copytree(part, folder / part.name, ignore=NOT_COPIED, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    yield folder
    shutil.rmtree(folder)


def run_as_nobody(script: str, home: Path, public: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python_of_nobody(), "-c", script, home],
        env={"PYTHONPATH": str(public), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


@as_root
def test_an_ordinary_user(fresh: Path, public: Path) -> None:
    os.chown(fresh, NOBODY, NOBODY)
    completed = run_as_nobody(AS_NOBODY, fresh, public)
    assert completed.stdout.split() == [str(NOBODY), "tuner", str(NOBODY)], completed.stderr
    # root does not meddle with another user's
    with pytest.raises(BadInputError, match="belongs to nobody"):
        embedded.hold(fresh, linger=0)
    shutil.rmtree(fresh / "postgres")


@as_root
def test_an_ordinary_user_in_somebody_elses_folder(fresh: Path, public: Path) -> None:
    completed = run_as_nobody(AS_NOBODY, fresh, public)
    assert completed.returncode == 1
    assert (
        f"BadInputError: {fresh}/postgres: cannot be written (Permission denied)"
        in completed.stderr
    )


@as_root
def test_roots_server_runs_as_another_user(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    at = find(home)
    assert at.base == home / "postgres"
    user = postmaster(home).uids()
    assert 0 not in (user.real, user.effective, user.saved)
    assert at.data.stat().st_uid == at.sockets.stat().st_uid == user.effective
    assert supervising(home).uids().effective == at.password.stat().st_uid == 0
    hold.release()


@as_root
def test_others_read_nothing_in_roots_home(fresh: Path) -> None:
    new = fresh / "new"
    hold = embedded.hold(new, linger=0)
    try:
        at = find(new)
        assert at.base == new / "postgres"  # the server's user passes through the home
        assert answers(hold.url)
        paths = [at.password, at.log, at.base / "hba.conf", at.data / "PG_VERSION"]
        for name in ("artifacts/1/0.0/weights", "cache/key/meta.json", "uploads/0/table.csv"):
            paths.append(new / name)
            files.write(new / name, "x")
        command = ["cat", *map(str, paths)]
        completed = subprocess.run(
            command,
            user=OTHER,
            group=OTHER,
            extra_groups=[],
            env={"LC_ALL": "C", "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.stdout == ""
        assert completed.stderr.count("Permission denied") == len(paths)
    finally:
        hold.release()
        remove_home(new)


@as_root
def test_roots_private_folders_stay_shut(home: Path) -> None:
    home.chmod(0o700)
    hold = embedded.hold(home / "inside", linger=0)
    at = find(home / "inside")
    try:
        assert at.base.parent == places.OUTSIDE
        assert answers(hold.url)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert at.data.stat().st_uid != 0
        with holder(home / "inside") as other:
            assert other.url == hold.url
        # opened later, the home keeps the data where it is
        home.chmod(0o755)
        embedded.stop(home / "inside", force=True)
        again = embedded.hold(home / "inside", linger=0)
        assert find(home / "inside").base == at.base
        again.release()
        embedded.stop(home / "inside", force=True)
    finally:
        hold.release()
        subprocess.run(["rm", "-r", at.base], check=True)
        with suppress(OSError):  # others use it
            places.OUTSIDE.rmdir()


@as_root
def test_programs_in_a_private_folder_are_copied_for_the_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "OUTSIDE", home / "outside")
    monkeypatch.setattr(places, "can_enter", lambda folder, _: "outside" in str(folder))
    user = places.server_user(home)
    copied = programs.make_reachable(programs.find(), user)
    assert copied.is_relative_to(home / "outside")
    assert programs.make_reachable(programs.find(), user) == copied
    completed = subprocess.run(
        [copied / "initdb", "-D", home / "data", "--no-sync", "-A", "reject", "-U", "x"],
        user=NOBODY,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "could not create directory" in completed.stderr  # it has found everything else


# sentences


def test_a_home_that_is_a_file(home: Path) -> None:
    (home / "file").touch()
    with pytest.raises(BadInputError, match=r"/file/postgres: cannot be written \(Not a dir"):
        embedded.hold(home / "file", linger=0)


@as_root
def test_a_full_disk(home: Path) -> None:
    small = home / "small"
    small.mkdir(mode=0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", small],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(DiskFullError, match="no space left on the device"):
            embedded.hold(small, linger=0)
        assert not (small / "postgres" / "data").exists()
        assert not list(small.glob("postgres/.init-*"))
    finally:
        eventually(lambda: subprocess.run(["umount", small], check=False).returncode == 0)


def test_data_of_another_postgresql(home: Path) -> None:
    embedded.hold(home, linger=0).release()
    embedded.stop(home, force=True)
    (find(home).data / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedServerError, match="was made by PostgreSQL 17, this tuner brings"):
        embedded.hold(home, linger=0)


def test_data_that_is_gone_is_not_begun_afresh(home: Path) -> None:
    embedded.hold(home, linger=0).release()
    embedded.stop(home, force=True)
    at = find(home)
    at.data.rename(home / "moved")
    with pytest.raises(EmbeddedServerError, match="is gone: restore it, or remove"):
        embedded.hold(home, linger=0)
    (home / "moved").rename(at.data)
    hold = embedded.hold(home, linger=0)
    assert answers(hold.url)
    hold.release()


def test_a_server_that_does_not_start_says_why(home: Path) -> None:
    embedded.hold(home, linger=0).release()
    embedded.stop(home, force=True)
    with (find(home).data / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = lots\n")
    with pytest.raises(EmbeddedServerError) as refused:
        embedded.hold(home, linger=0)
    sentence = str(refused.value)
    assert sentence.startswith("the embedded PostgreSQL server did not start: ")
    assert "postgresql.conf" in sentence
    assert "\n" not in sentence


def test_a_machine_without_the_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PACKAGE", "there_is_no_such_package")
    with pytest.raises(EmbeddedServerError, match="name a server in TUNER_DATABASE_URL"):
        embedded.hold(home, linger=0)


# the supervisor itself


def test_the_supervisor_imports_only_the_standard_library() -> None:
    script = (
        f"import sys; sys.path.append({str(ROOT)!r}); import tuner.database.embedded.daemon; "
        "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert set(completed.stdout.split()) <= {"tuner", "__main__"}


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_LIMIT", 1000)
    log = supervisor._Log(tmp_path / "server.log")
    for _ in range(100):
        log.write(b"x" * 99 + b"\n")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 1100


def test_a_lock_is_its_processes(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as mine, (tmp_path / "lock").open("w") as other:
        assert cluster.try_lock(mine.fileno())
        assert not cluster.try_lock(other.fileno())
