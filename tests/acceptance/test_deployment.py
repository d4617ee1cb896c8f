"""What docker-compose.yml runs, without Docker: a server reached by TCP with a password.

The commands and environments are the compose file's own.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import tuner
from tests.support.postgres import PASSWORD, Server, separate_server
from tests.support.studies import quick
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database, parse_url
from tuner.trials import StudyState

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture
def server() -> Iterator[Server]:
    """What the service `database` is: an empty database, reached by TCP."""
    with separate_server() as server:
        server.create("tuner")
        yield server


def environment_of(
    service: str, server: Server, home: Path, password: str = PASSWORD
) -> dict[str, str]:
    """A service's environment with the variables of `.env` in their places."""
    values = {"POSTGRES_PASSWORD": password}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNER_")}
    for name, value in SERVICES[service]["environment"].items():
        environment[name] = re.sub(
            r"\$\{(\w+)(?::[?-]([^}]*))?\}", lambda m: values.get(m[1], m[2]), value
        ).replace("@database:5432", f"@127.0.0.1:{server.port}")
    return {**environment, "TUNER_HOME": str(home)}


def test_migration_and_two_workers_finish_a_study(server: Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    migrated = tuner(
        *SERVICES["migration"]["command"], environment=environment_of("migration", server, home)
    )
    assert migrated.returncode == 0, migrated.stderr
    environment = environment_of("worker", server, home)
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
            return reading.find(database, "deployed").state is StudyState.FINISHED

        eventually(ended)
        for worker in workers:
            worker.terminate()  # as `docker compose stop` does
        assert [worker.wait(STUCK) for worker in workers] == [0, 0]
        study = reading.find(database, "deployed")
        trials = reading.load_trials(database, study)
    assert [t.number for t in trials] == list(range(8))
    assert all(t.state.is_finished for t in trials)
    assert study.issued == 8


@pytest.mark.parametrize("service", ["migration", "worker"])
def test_a_wrong_password_is_one_sentence(server: Server, service: str, tmp_path: Path) -> None:
    environment = environment_of(service, server, tmp_path, password="wrong0123")
    done = tuner(*SERVICES[service]["command"], environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == (
        f"error: PostgreSQL at 127.0.0.1:{server.port}/tuner refuses the connection: password "
        'authentication failed for user "tuner"; see TUNER_DATABASE_URL'
    )
