"""`tuner import` of databases that no Optuna has left so: a sentence, or pages that show it."""

import itertools
import json
import re
import sqlite3
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sqlalchemy import text

from tests.support import optuna_studies as theirs
from tests.support.commands import tuner_here
from tests.support.optuna_studies import make, opened, sqlite_url, trial
from tuner.commands import reading
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Board
from tuner.dashboard.pages.study.page import TABS
from tuner.database.engine import Database
from tuner.figures.registry import FIGURES
from tuner.settings import Settings

DISTRIBUTIONS = {
    "x": FloatDistribution(0.0, 1.0),
    "n": IntDistribution(1, 64, log=True),
    "kind": CategoricalDistribution(("a", "b")),
}
X = "param_name = 'x' AND trial_id = 2"
KIND = "param_name = 'kind' AND trial_id = 2"
FLOAT = '{"name": "FloatDistribution", "attributes": {"low": %s, "high": %s, "log": false, "step": null}}'  # noqa: E501
MANY_DIGITS = "9" * 5_000
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A good database's bytes: a study of three complete trials and one that was pruned."""
    path = tmp_path_factory.mktemp("optuna") / "good.db"
    storage = opened(path)
    trials = [
        trial(
            params={"x": n / 4, "n": 2**n, "kind": "ab"[n % 2]},
            distributions=DISTRIBUTIONS,
            values=[n / 3],
            intermediate_values={1: 0.5, 2: n / 3},
            user_attrs={"note": "fine"},
            system_attrs={"tuner:message": "none", "fixed": {"x": n}},
        )
        for n in range(3)
    ]
    make(storage, "good", *trials, directions=[theirs.MINIMIZE])
    storage.engine.dispose()
    return path.read_bytes()


@pytest.fixture
def copy(good: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    path.write_bytes(good)
    return path


def spoil(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("PRAGMA ignore_check_constraints = on")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rows(database: Database) -> dict[str, int]:
    with database.statement() as connection:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM tuner.{table}")).scalar_one()
            for table in ("studies", "spaces", "trials", "reports")
        }


def set_param(where: str, value: str) -> str:
    return f"UPDATE trial_params SET param_value = {value} WHERE {where}"


def set_distribution(json_text: str, where: str = X) -> str:
    return f"UPDATE trial_params SET distribution_json = '{json_text}' WHERE {where}"


DAMAGED = {
    "choice out of range": ([set_param(KIND, "2.0")], "has choice 2.0 of its parameter 'kind'"),
    "choice below": ([set_param(KIND, "-1.0")], "has choice -1.0"),
    "half a choice": ([set_param(KIND, "0.5")], "has choice 0.5"),
    "choice inf": ([set_param(KIND, "9e999")], "has choice inf"),
    "no value": ([set_param(X, "NULL")], "has None for its parameter 'x'"),
    "text for a value": ([set_param(X, "'much'")], "study.db: could not convert|has 'much' for"),
    "no JSON": ([set_distribution("{")], "which Optuna cannot read"),
    "null distribution": (
        ["UPDATE trial_params SET distribution_json = NULL WHERE " + X],
        "the distribution '', which Optuna cannot read",
    ),
    "JSON of something else": ([set_distribution("[1, 2]")], "which Optuna cannot read"),
    "unknown kind": ([set_distribution('{"name": "Other", "attributes": {}}')], "cannot read"),
    "low above high": ([set_distribution(FLOAT % (2, 1))], "cannot read"),
    "endless range": ([set_distribution(FLOAT % ("-Infinity", "Infinity"))], "cannot read"),
    "NaN bound": ([set_distribution(FLOAT % ("NaN", 1))], "cannot read"),
    "text bound": ([set_distribution(FLOAT % ('"a"', '"b"'))], "cannot read"),
    "many digits": ([set_distribution(FLOAT % (0, MANY_DIGITS))], "cannot read"),
    "beyond all floats": (
        [set_distribution('{"name": "IntDistribution", "attributes": {"low": 1, "high": 1%s, "log": false, "step": 1}}' % ("0" * 400))],  # noqa: E501
        "cannot read",
    ),
    "no choices": ([set_distribution('{"name": "CategoricalDistribution", "attributes": {"choices": []}}', KIND)], "cannot read"),  # noqa: E501
    "deep distribution": ([set_distribution(DEEP)], "cannot read"),
    "NUL in a parameter's name": (["UPDATE trial_params SET param_name = 'x' || char(0) WHERE " + X], "which PostgreSQL cannot store"),  # noqa: E501
    "text that is no UTF-8": (["UPDATE studies SET study_name = CAST(x'ff41' AS TEXT)"], ""),
    "duplicate numbers": (["UPDATE trials SET number = 0 WHERE trial_id = 2"], "two trials of the study have the number 0"),  # noqa: E501
    "negative number": (["UPDATE trials SET number = -1 WHERE trial_id = 2"], "has the number -1"),
    "huge number": (["UPDATE trials SET number = 1000000 WHERE trial_id = 2"], "has the number 1000000; Optuna numbers trials from 0"),  # noqa: E501
    "no number": (["UPDATE trials SET number = NULL WHERE trial_id = 2"], "has the number None"),
    "unknown state": (["UPDATE trials SET state = 'DONE' WHERE trial_id = 2"], "has the state 'DONE'; Optuna has"),  # noqa: E501
    "complete without a value": (["DELETE FROM trial_values WHERE trial_id = 2"], "trial 1 is complete and has no value"),  # noqa: E501
    "null value": (["UPDATE trial_values SET value = NULL WHERE trial_id = 2"], "has the value None"),  # noqa: E501
    "more values than objectives": (["INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (2, 1, 0.5, 'FINITE')"], "has 2 values; the study has 1"),  # noqa: E501
    "null report": (["UPDATE trial_intermediate_values SET intermediate_value = NULL WHERE trial_id = 2"], "has reported None at step 1"),  # noqa: E501
    "text for a step": (["UPDATE trial_intermediate_values SET step = 'one' WHERE trial_id = 2 AND step = 1"], "has a report at step 'one'"),  # noqa: E501
    "no time": (["UPDATE trials SET datetime_start = 'noon' WHERE trial_id = 2"], ""),
    "year 1": (["UPDATE trials SET datetime_start = '0001-01-01 00:00:00.000000' WHERE trial_id = 2"], "has its start in the year 1,"),  # noqa: E501
    "year 9999": (["UPDATE trials SET datetime_complete = '9999-12-31 23:59:59.999999' WHERE trial_id = 2"], "has its end in the year 9999,"),  # noqa: E501
    "attribute that is no JSON": (["UPDATE trial_user_attributes SET value_json = '{' WHERE trial_id = 2"], ""),  # noqa: E501
    "null attribute": (["UPDATE trial_user_attributes SET value_json = NULL WHERE trial_id = 2"], ""),  # noqa: E501
    "attribute of many digits": ([f"UPDATE trial_user_attributes SET value_json = '{MANY_DIGITS}'"], ""),  # noqa: E501
    "deep attribute": ([f"UPDATE trial_user_attributes SET value_json = '{DEEP}'"], ""),
    "attribute named NUL": (["UPDATE trial_user_attributes SET key = char(0)"], "has an attribute named"),  # noqa: E501
    "study attribute that is no JSON": (["INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, 'a', '{')"], ""),  # noqa: E501
    "no direction": (["DELETE FROM study_directions"], "has no direction"),
    "direction not set": (["UPDATE study_directions SET direction = 'NOT_SET'"], "has no direction"),  # noqa: E501
    "unknown direction": (["UPDATE study_directions SET direction = 'UP'"], ""),
    "missing table": (["DROP TABLE trial_values"], "no such table: trial_values"),
    "missing column": (["ALTER TABLE trial_params DROP COLUMN param_value"], "no such column"),
    "another alembic version": (["UPDATE alembic_version SET version_num = 'v9'"], ""),
    "no study": (["DELETE FROM studies"], "the source has no studies"),
}  # fmt: skip


def check_refused(
    environment: dict[str, str], database: Database, source: str, message: str
) -> None:
    completed = tuner_here(("import", "--from", source), environment)
    assert completed.returncode == 2, (completed.returncode, completed.stdout, completed.stderr)
    (line,) = completed.stderr.splitlines()
    assert len(line) < 500
    assert any(part in line for part in message.split("|")), line
    assert rows(database) == {"studies": 0, "spaces": 0, "trials": 0, "reports": 0}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_database_is_a_sentence(
    environment: dict[str, str], database: Database, copy: Path, kind: str
) -> None:
    statements, message = DAMAGED[kind]
    spoil(copy, *statements)
    check_refused(environment, database, sqlite_url(copy), message)


def test_files_that_are_no_database_of_optuna(
    environment: dict[str, str], database: Database, good: bytes, tmp_path: Path
) -> None:
    journal = b'{"op_code": 0, "worker_id": "a", "study_name": "s", "dir'  # cut in the middle
    for name, content, message in (
        ("cut.db", good[: len(good) // 2], "malformed|is no Optuna storage"),
        ("head.db", good[:100], "is no Optuna storage"),
        ("spoiled.db", good[:4096] + b"\xff" * 4096 + good[8192:], "malformed"),
        ("text.db", b"name: study\n" * 1_000, "file is not a database"),
        ("journal.log", journal, "file is not a database"),
        ("empty.db", b"", "is no Optuna storage"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        check_refused(environment, database, sqlite_url(path), message)
        assert path.read_bytes() == content
    check_refused(environment, database, str(tmp_path / "journal.log"), "not a database's URL")
    check_refused(environment, database, sqlite_url(tmp_path), "unable to open")


LONG = "ж" * 1_000_000
ODD = {
    "beyond its range": [set_param(X, "7.5")],
    "infinite": [set_param(X, "9e999")],
    "no width": [set_distribution(FLOAT % (0, 0))],
    "whole range": [set_distribution(FLOAT % (-1.7e308, 1.7e308))],
    "huge integers": [
        set_distribution(
            '{"name": "IntDistribution", "attributes": {"low": 1, "high": 1%s, "log": false, "step": 1}}'  # noqa: E501
            % ("0" * 30),
            "param_name = 'n' AND trial_id = 2",
        )
    ],
    "odd choices": [
        set_distribution(
            json.dumps(
                {
                    "name": "CategoricalDistribution",
                    "attributes": {"choices": ["\ud800\0\x1b[2J", float("nan"), None, 10**300]},
                }
            ),
            KIND,
        )
    ],
    "infinite values": [
        "UPDATE trial_values SET value = NULL, value_type = 'INF_POS' WHERE trial_id = 1",
        "UPDATE trial_values SET value = NULL, value_type = 'INF_NEG' WHERE trial_id = 2",
    ],
    "largest values": [
        "UPDATE trial_values SET value = 1.7e308 WHERE trial_id = 1",
        "UPDATE trial_values SET value = -1.7e308 WHERE trial_id = 2",
    ],
    "odd reports": [
        "UPDATE trial_intermediate_values SET intermediate_value = NULL, "
        "intermediate_value_type = 'NAN' WHERE trial_id = 1",
        "UPDATE trial_intermediate_values SET intermediate_value = NULL, "
        "intermediate_value_type = 'INF_NEG' WHERE trial_id = 2 AND step = 1",
        "UPDATE trial_intermediate_values SET step = 9223372036854775807 WHERE trial_id = 2 "
        "AND step = 2",
        "UPDATE trial_intermediate_values SET step = -9223372036854775808 WHERE trial_id = 3 "
        "AND step = 2",
    ],
    "first and last times": [
        "UPDATE trials SET datetime_start = '0001-01-03 00:00:00.000000' WHERE trial_id = 1",
        "UPDATE trials SET datetime_complete = '9999-12-28 23:59:59.999999' WHERE trial_id = 2",
        "UPDATE trials SET datetime_complete = '2001-01-01 00:00:00.000000' WHERE trial_id = 3",
    ],
    "numbers far apart": ["UPDATE trials SET number = 999999 WHERE trial_id = 3"],
    "half pairs": [
        """UPDATE trial_user_attributes SET value_json = '{"\\ud800": "\\u0000\\udfff"}'""",
        "UPDATE trial_user_attributes SET key = '<script>alert(1)</script>' WHERE trial_id = 2",
    ],
    "huge attributes": [f"UPDATE trial_user_attributes SET value_json = '\"{LONG}\"'"],
    "tuner's own attributes": [
        f"INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, '{key}', '{text}')"  # noqa: E501
        for key, text in (
            ("tuner:confirmation", "[1]"),
            ("tuner:test_looks", "7"),
            ("tuner:repeats", '"x"'),
        )
    ]
    + [
        f"INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (2, '{key}', '[]')"
        for key in ("parameters", "seconds", "peak_memory", "training_seconds", "throughput")
    ]
    + [
        "UPDATE trial_system_attributes SET key = 'tuner:cause', value_json = '[1]' "
        "WHERE key = 'fixed'"
    ],
    "metric names": [
        "INSERT INTO study_system_attributes (study_id, key, value_json) "
        """VALUES (1, 'study:metric_names', '["a\\u0000"]')"""
    ],
    "constraints that are none": [
        "INSERT INTO trial_system_attributes (trial_id, key, value_json) "
        """VALUES (2, 'constraints', '"x"'), (3, 'constraints:a', '[null]')"""
    ],
    "open trials": [
        "UPDATE trials SET state = 'WAITING', datetime_start = NULL, datetime_complete = NULL "
        "WHERE trial_id = 2",
        "DELETE FROM trial_params WHERE trial_id = 2",
        "DELETE FROM trial_values WHERE trial_id = 2",
    ],
    "no trials": ["DELETE FROM trials"],
    "name": [f"UPDATE studies SET study_name = '../..\x1b[2J<b>{'%' * 400}'"],
    "no version": ["DELETE FROM version_info"],
}


def addresses(client: TestClient, study_id: int, numbers: list[int]) -> list[str]:
    """All pages and answers about one study and its trials, but those that never end."""
    values = {
        "study_id:int": [study_id],
        "number:int": numbers,
        "attempt": [1],
        "name:path": ["log.txt"],
        "tab": list(TABS),
        "figure": list(FIGURES),
        "action": ["pause"],
        "name": ["nothing"],
    }
    urls = []
    for route in iter_route_contexts(client.app.routes):
        names = re.findall(r"{([^}]*)}", route.path)
        if "GET" in route.methods and "study_id:int" in names and "stream" not in route.path:
            for choice in itertools.product(*(values[name] for name in names)):
                path = route.path
                for name, value in zip(names, choice, strict=True):
                    path = path.replace(f"{{{name}}}", str(value))
                urls.append(path)
    return urls


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_can_be_shown(
    environment: dict[str, str], database: Database, copy: Path, tmp_path: Path, kind: str
) -> None:
    spoil(copy, *ODD[kind])
    completed = tuner_here(("import", "--from", sqlite_url(copy)), environment)
    assert completed.returncode == 0, completed.stderr
    (overview,) = reading.load_overviews(database)
    study = overview.study
    for command in (
        ("show", study.name),
        ("trials", study.name),
        ("trials", study.name, "--json"),
        ("best", study.name),
        ("report", study.name, "--to", str(tmp_path / "report.html")),
    ):
        output = tuner_here(command, environment)
        has_best = kind != "no trials"
        allowed = (0,) if has_best or command[0] in ("show", "trials") else (0, 1, 2)
        assert output.returncode in allowed, (command, output.stderr)
        assert "Traceback" not in output.stderr
    board = Board(database, Settings(home=tmp_path / "home"))
    app = create_app(board, hosts=("localhost",))
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    client.headers |= board.access.secret.header
    numbers = [t.number for t in reading.load_trials(database, study)] or [0]
    urls = addresses(client, study.id, numbers)
    assert len(urls) > 20
    statuses = {address: client.get(address).status_code for address in urls}
    assert {address: status for address, status in statuses.items() if status >= 500} == {}
    assert sum(status == 200 for status in statuses.values()) > 15
