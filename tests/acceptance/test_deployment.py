"""What docker-compose.yml runs, without Docker: a server reached by TCP with a password.

The commands and environments are the compose file's own.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from tests.acceptance.studies import quick
from tests.conftest import eventually, tuner
from tuner import commands
from tuner.database.embedded import places, programs
from tuner.database.engine import Database, parse_url
from tuner.trials import StudyState

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PASSWORD = "0123456789abcdef"


@dataclass(frozen=True)
class Server:
    """What the service `database` is: an empty database, reached by TCP, SCRAM alone."""

    port: int

    def environment(self, service: str, home: Path, password: str = PASSWORD) -> dict[str, str]:
        """A service's environment with the variables of `.env` in their places."""
        values = {"POSTGRES_PASSWORD": password}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNER_")}
        for name, value in SERVICES[service]["environment"].items():
            environment[name] = re.sub(
                r"\$\{(\w+)(?::[?-]([^}]*))?\}", lambda m: values.get(m[1], m[2]), value
            ).replace("@database:5432", f"@127.0.0.1:{self.port}")
        return {**environment, "TUNER_HOME": str(home)}


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="tuner-test-"))
    user = places.server_user(folder)  # PostgreSQL refuses to run as root
    found = programs.reachable(programs.find(), user)
    how: dict[str, Any] = {"cwd": "/", "env": {"LC_ALL": "C", "PATH": os.defpath}}
    if user is not None:
        places.give(folder, user)
        how |= {"user": user.uid, "group": user.gid, "extra_groups": []}
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user is not None:
        places.give(secret, user)
    data = folder / "data"
    options = ["--username=tuner", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
    subprocess.run(
        [found / "initdb", "-D", data, *options], check=True, stdout=subprocess.DEVNULL, **how
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    postgres = subprocess.Popen(
        [found / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""],
        stderr=subprocess.DEVNULL, **how,
    )  # fmt: skip
    try:
        eventually(lambda: _answers(port))
        connection = psycopg2.connect(_dsn(port))
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE tuner")
        connection.close()
        yield Server(port)
    finally:
        postgres.send_signal(signal.SIGQUIT)  # immediate shutdown, its backends too
        postgres.wait(30)
        shutil.rmtree(folder)


def _dsn(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=tuner password={PASSWORD} dbname=postgres"


def _answers(port: int) -> bool:
    try:
        psycopg2.connect(_dsn(port)).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_migration_and_two_workers_finish_a_study(server: Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    migrated = tuner(
        *SERVICES["migration"]["command"], environment=server.environment("migration", home)
    )
    assert migrated.returncode == 0, migrated.stderr
    environment = server.environment("worker", home)
    file = quick(tmp_path, "deployed", trials=8, epochs=1)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    command = [*SERVICES["worker"]["command"], "--workers", "1"]
    with ExitStack() as started:
        workers = [
            started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tuner", *command],
                    env=environment,
                    stderr=subprocess.DEVNULL,
                )
            )
            for _ in range(2)
        ]
        for worker in workers:
            started.callback(worker.kill)
        database = Database(parse_url(environment["TUNER_DATABASE_URL"]))
        started.callback(database.close)

        def ended() -> bool:
            return commands.find(database, "deployed").state is StudyState.FINISHED

        eventually(ended, within=120)
        for worker in workers:
            worker.terminate()  # as `docker compose stop` does
        assert [worker.wait(40) for worker in workers] == [0, 0]
        study = commands.find(database, "deployed")
        trials = commands.load_trials(database, study)
    assert [t.number for t in trials] == list(range(8))
    assert all(t.state.is_finished for t in trials)
    assert study.issued == 8


@pytest.mark.parametrize("service", ["migration", "worker"])
def test_a_wrong_password_is_one_sentence(server: Server, service: str, tmp_path: Path) -> None:
    environment = server.environment(service, tmp_path, password="wrong0123")
    done = tuner(*SERVICES[service]["command"], environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == (
        f"error: PostgreSQL at 127.0.0.1:{server.port}/tuner refuses the connection: password "
        'authentication failed for user "tuner"; see TUNER_DATABASE_URL'
    )
