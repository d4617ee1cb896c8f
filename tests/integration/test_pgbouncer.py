"""A real PgBouncer in transaction mode between tuner and PostgreSQL."""

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.commands import tuner
from tests.support.homes import new_home
from tests.support.searching import Trainer, launch, search, spec
from tests.support.studies import quick
from tests.support.waiting import eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.database.prepared_statements import PreparedStatement
from tuner.trials import StudyState, TrialState

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")

IGNORED = "ignore_startup_parameters = extra_float_digits, options"
# two connections for all clients: a statement rarely gets the one of the statement before
CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
{more}
"""

Start = Callable[[str], URL]


@pytest.fixture
def pooled(database_url: URL) -> Iterator[Start]:
    """Starts a PgBouncer with further lines of configuration; returns the database's URL there."""
    folder = new_home()
    started: list[subprocess.Popen[bytes]] = []

    def start(more: str) -> URL:
        assert PGBOUNCER is not None
        host = str(database_url.query.get("host") or database_url.host)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            listen = free.getsockname()[1]
        (folder / "users").write_text(f'"{database_url.username}" "{database_url.password}"\n')
        config = CONFIG.format(
            host=host, port=database_url.port or 5432, listen=listen, folder=folder, more=more
        )
        (folder / "pgbouncer.ini").write_text(config)
        command = [PGBOUNCER, "-q", str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0:  # it refuses to run as root
            owner = Path(host).stat().st_uid if host.startswith("/") else 0
            command += ["-u", pwd.getpwuid(owner).pw_name if owner else "nobody"]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        eventually(lambda: answers(listen))
        return database_url.set(host="127.0.0.1", port=listen, query={})

    yield start
    for process in started:
        process.kill()
        process.wait()
    shutil.rmtree(folder)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def with_password(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize("listen", ["false", "true"])
def test_a_study_runs_through_it(
    pooled: Start, environment: dict[str, str], database: Database, tmp_path: Path, listen: str
) -> None:
    """Also where nobody has said that hints do not arrive there."""
    environment["TUNER_DATABASE_URL"] = with_password(pooled(IGNORED))
    environment["TUNER_LISTEN"] = listen
    completed = tuner(
        "run", str(quick(tmp_path, trials=8)), "-w", "2", environment=environment, cwd=tmp_path
    )
    assert completed.returncode == 0, completed.stderr
    study = reading.find(database, "quick")
    assert (study.state, study.issued) == (StudyState.FINISHED, 8)
    trials = reading.load_trials(database, study)
    assert [t.number for t in trials] == list(range(8))
    assert all(t.state.is_finished and t.reports for t in trials)
    assert all(t.started_at and t.finished_at and t.started_at < t.finished_at for t in trials)


def test_workers_share_its_connections(pooled: Start, database: Database) -> None:
    url = pooled(IGNORED)
    of = spec(trials=60, more="sampler: random\npruner: none\n")
    study_id = launch(database, of)
    own: list[Counter[int]] = []

    def work() -> None:
        mine = Database(url)
        trainer = Trainer(mine, search(mine, study_id, of))
        mine_trials: Counter[int] = Counter()
        while (trial := trainer.claim()) is not None:
            for step in (1, 2, 3):
                trainer.report(trial, step, 0.1 * step)
            trainer.finish(trial, TrialState.COMPLETE)
            mine_trials[trial.number] += 1
        own.append(mine_trials)
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(own, Counter()) == Counter(range(60))
    trials = reading.load_trials(database, reading.find(database, of.name))
    assert all([r.step for r in t.reports] == [1, 2, 3] for t in trials)


def test_a_statement_that_another_connection_has_prepared(
    pooled: Start, database: Database
) -> None:
    url = pooled(IGNORED)
    client, *others = (Database(url) for _ in range(3))
    statement = PreparedStatement("SELECT CAST(:number AS integer) + 1, pg_backend_pid()")

    def run(number: int) -> int:
        """Where the client's statement ran."""
        with client.statement() as connection:
            result, backend = statement.run(connection, {"number": number}).one()
        assert result == number + 1
        return int(backend)

    prepared = run(1)
    with ExitStack() as trial:
        where = {}
        for other in others:  # both of the pool's connections are taken
            transaction = ExitStack()
            connection = transaction.enter_context(other.transaction())
            backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            where[backend] = trial.enter_context(transaction)
        (unprepared,) = where.keys() - {prepared}
        where[unprepared].close()
        assert [run(2), run(3)] == [unprepared, unprepared]
    for each in (client, *others):
        each.close()


def test_what_it_must_let_pass_is_said(pooled: Start, environment: dict[str, str]) -> None:
    url = pooled("")
    environment["TUNER_DATABASE_URL"] = with_password(url)
    completed = tuner("list", environment=environment)
    assert (completed.returncode, completed.stdout) == (2, "")
    (line,) = completed.stderr.splitlines()
    assert "unsupported startup parameter" in line
    assert line.endswith("a PgBouncer needs `ignore_startup_parameters = options`")
