"""Optuna and optuna-dashboard, as they come, see the studies that workers are writing."""

import json
import math
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState as OptunaState
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tests.support.bench import Bench
from tests.support.commands import tuner
from tests.support.databases import admin
from tests.support.optuna_studies import facts, trial
from tests.support.waiting import STUCK, eventually
from tuner.database import results, schema
from tuner.database.engine import Database
from tuner.errors import SchemaVersionError
from tuner.search.storage import Storage
from tuner.trials import Cause, Report, TrialState


@pytest.fixture
def views(database_url: URL) -> str:
    """What `tuner db url --optuna --show-password` prints."""
    return schema.views_url(database_url).render_as_string(hide_password=False)


@pytest.fixture
def writable(database_url: URL) -> Iterator[Any]:
    """An engine on the views that has not asked for read-only transactions."""
    engine = create_engine(database_url.update_query_dict({"options": "-csearch_path=optuna"}))
    yield engine
    engine.dispose()


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    n = trial.suggest_int("n", 1, 8, log=True)
    trial.suggest_categorical("c", [None, True, 1, 2.5, "é", float("nan")])
    trial.set_constraint("b", x - 1)
    trial.set_constraint("a", -1.0)
    trial.set_user_attr("nested", {"a": [1, math.inf]})
    for step, value in enumerate((x, math.nan, math.inf, -math.inf)):
        trial.report(value, step)
    if trial.number % 5 == 4:
        raise optuna.TrialPruned
    return math.inf if trial.number == 3 else x * n


def without_mirror(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    trial.system_attrs.pop("constraints", None)
    return facts(trial)


def test_an_unmodified_optuna_sees_what_our_storage_does(database: Database, views: str) -> None:
    ours = optuna.create_study(study_name="ж/1", storage=Storage(database), directions=["maximize"])
    ours.optimize(objective, n_trials=20)
    ours.enqueue_trial({"x": 0.5})
    ours.set_user_attr("note", ["a", math.nan])
    loaded = optuna.load_study(study_name="ж/1", storage=views)
    assert [without_mirror(t) for t in loaded.trials] == [facts(t) for t in ours.trials]
    assert repr(loaded.user_attrs) == repr(ours.user_attrs)
    assert loaded.directions == ours.directions
    assert loaded.best_trial.number == ours.best_trial.number == 3
    assert optuna.importance.get_param_importances(
        loaded
    ) == optuna.importance.get_param_importances(ours)
    assert len(loaded.trials_dataframe()) == 21


def test_a_study_that_workers_are_writing(database: Database, views: str) -> None:
    bench = Bench(database, metrics=["accuracy"])
    worker = uuid.uuid4()
    complete, lost, running = (bench.claim(worker=worker, x=x) for x in (0.25, 0.5, 0.75))
    loaded = optuna.load_study(study_name="bench", storage=views)
    assert {t.state for t in loaded.trials} == {OptunaState.RUNNING}
    for step in (1, 2):
        for claim in (complete, running):
            bench.do(results.report, claim, [Report(step, step / 10)], lease=60.0)
    bench.finish(complete)
    bench.do(results.finish, lost, TrialState.FAILED, cause=Cause.DIVERGED, message="x is NaN")
    first, second, third = loaded.trials
    assert (first.state, first.value, first.params) == (OptunaState.COMPLETE, 0.5, {"x": 0.25})
    assert first.duration is not None
    assert (second.state, second.system_attrs) == (
        OptunaState.FAIL,
        {"tuner:cause": "diverged", "tuner:message": "x is NaN"},
    )
    assert (third.state, third.intermediate_values) == (OptunaState.RUNNING, {1: 0.1, 2: 0.2})
    assert third.datetime_complete is None
    assert loaded.best_trial.number == 0
    assert loaded.metric_names == ["accuracy"]
    assert [s.study_name for s in optuna.get_all_study_summaries(storage=views)] == ["bench"]


def test_ends_of_what_the_columns_hold(database: Database, views: str) -> None:
    """Infinite values, NaN choices, odd names of parameters, studies of a hundred objectives."""
    ours = Storage(database)
    directions = [optuna.study.StudyDirection.MINIMIZE] * 100
    study_id = ours.create_new_study(directions, "ends")
    choices = (float("nan"), "\0", "\ud800", True, 1)
    names = ["a\\b", 'q"{},', "\t\n", "ж😀", "NULL", ""]
    for index in range(len(choices)):
        trial_id = ours.create_new_trial(study_id)
        for name in names:
            ours.set_trial_param(trial_id, name, index, CategoricalDistribution(choices))
        values = [math.inf, -math.inf, *[float(index)] * 98]
        ours.set_trial_state_values(trial_id, OptunaState.COMPLETE, values)
    loaded = optuna.load_study(study_name="ends", storage=views).trials
    assert [facts(t) for t in loaded] == [facts(t) for t in ours.get_all_trials(study_id)]
    # PostgreSQL's text has no NUL: the views alone show another character
    nul = ours.create_new_study(directions[:1], "nul")
    ours.create_new_trial(nul, trial(params={"\0": 1}, distributions={"\0": NUL}))
    (odd,) = optuna.load_study(study_name="nul", storage=views).trials
    assert odd.params == {"\ufffd": 1}


NUL = optuna.distributions.IntDistribution(0, 2)


def test_the_views_are_what_optuna_expects_to_find(database: Database, writable: Any) -> None:
    """Every table and column of Optuna's models, and a version that it takes for its own."""
    inspector = inspect(writable)
    for table in models.BaseModel.metadata.tables.values():
        there = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
        assert {c.name for c in table.columns} <= there.keys(), table.name
        for column in table.columns:
            enums = getattr(column.type, "enums", None)
            assert getattr(there[column.name], "enums", None) == enums, column
    with writable.connect() as connection:
        version = connection.execute(text("SELECT schema_version FROM version_info")).scalar_one()
    assert version == models.SCHEMA_VERSION
    storage = RDBStorage(writable.url.render_as_string(hide_password=False))
    assert storage.get_current_version() == storage.get_head_version()
    storage.engine.dispose()
    with database.statement() as connection:  # Optuna has made no table of its own anywhere
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('optuna', 'public')"
        assert connection.execute(text(tables)).scalar_one() == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO studies (study_name) VALUES ('x')",
        "UPDATE studies SET study_name = 'x'",
        "DELETE FROM studies",
        "UPDATE trials SET number = 1",
        "DELETE FROM trial_params",
        "DELETE FROM trial_intermediate_values",
        "INSERT INTO trial_heartbeats (trial_id) VALUES (1)",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
def test_the_views_refuse_to_be_written(database: Database, writable: Any, statement: str) -> None:
    bench = Bench(database)
    bench.do(results.report, bench.claim(), [Report(1, 0.5)], lease=60.0)
    table = next(word for word in statement.split() if word.islower())
    with (
        pytest.raises(DBAPIError, match=f"optuna.{table} is a read-only view") as caught,
        writable.begin() as connection,
    ):
        connection.execute(text(statement))
    assert caught.value.orig.pgcode == "25006"
    assert bench.study().name == "bench"
    assert len(bench.trials()) == 1


def test_optuna_hears_that_it_cannot_write(database: Database, views: str) -> None:
    Storage(database).create_new_study([optuna.study.StudyDirection.MINIMIZE], "mine")
    for act in (
        lambda: optuna.create_study(storage=views),
        lambda: optuna.delete_study(study_name="mine", storage=views),
        lambda: optuna.load_study(study_name="mine", storage=views).set_user_attr("a", 1),
    ):
        with pytest.raises(StorageInternalError) as caught:
            act()
        assert "read-only transaction" in str(caught.value.__cause__)
    assert [s.study_name for s in optuna.get_all_study_summaries(storage=views)] == ["mine"]


def test_a_role_that_may_only_look(database: Database, database_url: URL) -> None:
    """The one that the documentation makes."""
    page = (Path(__file__).parents[2] / "docs" / "optuna.md").read_text(encoding="utf-8")
    statements = page.split("```sql\n")[1].split("```")[0].replace("\n", " ").split(";")
    role = f"viewer_{uuid.uuid4().hex}"
    named = [s.replace("viewer", role) for s in statements if s.strip()]
    named = [s.replace("DATABASE tuner", f"DATABASE {database_url.database}") for s in named]
    try:
        admin(database_url, *named)
        Bench(database).claim()
        url = schema.views_url(database_url.set(username=role, password="secret"))
        address = url.render_as_string(hide_password=False)
        assert len(optuna.load_study(study_name="bench", storage=address).trials) == 1
        engine = create_engine(url)
        with pytest.raises(DBAPIError, match="permission denied"), engine.connect() as connection:
            connection.execute(text("SELECT * FROM tuner.workers"))
        engine.dispose()
    finally:
        admin(database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_schema_of_that_name_is_not_touched(empty_url: URL) -> None:
    admin(empty_url, "CREATE SCHEMA optuna", "CREATE TABLE optuna.studies (id int)")
    database = Database(empty_url)
    with pytest.raises(SchemaVersionError, match="ALTER SCHEMA optuna RENAME TO"):
        schema.check(database)
    admin(empty_url, "ALTER SCHEMA optuna RENAME TO theirs")
    schema.check(database)
    database.close()


def test_sets_of_distributions_from_before_the_views(empty_url: URL) -> None:
    database = Database(empty_url)
    schema.upgrade(database, "0001")
    stored = '[["a\\"b", {"name": "CategoricalDistribution", "attributes": {"choices": [NaN]}}]]'
    with database.transaction() as connection:
        for statement in (
            "INSERT INTO tuner.studies (name, directions) VALUES ('old', '{minimize}')",
            "INSERT INTO tuner.spaces (study_id, digest, distributions) VALUES (1, 'd', :stored)",
            "INSERT INTO tuner.trials (study_id, number, state, space_id, params)"
            " VALUES (1, 0, 'waiting', 1, '{0}')",
        ):
            connection.execute(text(statement), {"stored": stored} if ":" in statement else {})
    schema.upgrade(database)
    views = schema.views_url(empty_url).render_as_string(hide_password=False)
    (only,) = optuna.load_study(study_name="old", storage=views).trials
    assert repr(only.params) == "{'a\"b': nan}"
    database.close()


@pytest.fixture
def dashboard(views: str) -> Iterator[str]:
    """The address of optuna-dashboard's own server, on the views."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = Path(sys.executable).with_name("optuna-dashboard")
    served = subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", port, "--quiet", views],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert served.poll() is None, "it has ended"
        with suppress(OSError):
            return bool(get(f"{address}/api/meta"))
        return False

    try:
        eventually(answers)
        yield address
    finally:
        served.terminate()
        served.wait()


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=STUCK) as answer:
        return json.load(answer)


def test_optuna_dashboard_shows_live_studies(database: Database, dashboard: str) -> None:
    bench = Bench(database)
    running = bench.claim(x=0.25)
    bench.do(results.report, running, [Report(1, math.nan)], lease=60.0)
    constrained = optuna.create_study(study_name="constrained", storage=Storage(database))
    constrained.optimize(objective, n_trials=3)
    (first, second) = get(f"{dashboard}/api/studies")["study_summaries"]
    assert (first["study_name"], second["study_name"]) == ("bench", "constrained")
    assert first["directions"] == ["maximize"]
    content = get(f"{dashboard}/api/studies/{first['study_id']}")
    (shown_trial,) = content["trials"]
    assert (shown_trial["state"], shown_trial["trial_id"]) == ("Running", running.id)
    assert shown_trial["params"][0]["param_external_value"] == "0.25"
    assert shown_trial["intermediate_values"] == [{"step": 1, "value": "nan"}]
    content = get(f"{dashboard}/api/studies/{second['study_id']}")
    x = constrained.trials[0].params["x"]
    assert content["trials"][0]["constraints"] == [-1.0, x - 1]  # in the order of their names
    assert len(content["trials"]) == 3
    # what has changed since shows with the next poll
    bench.finish(running)

    def finished() -> bool:
        (trial,) = get(f"{dashboard}/api/studies/{first['study_id']}")["trials"]
        return bool(trial["state"] == "Complete" and trial["values"] == [0.5])

    eventually(finished)


def test_the_url_for_optuna(environment: dict[str, str], database: Database) -> None:
    bench = Bench(database)
    bench.claim()
    hidden = tuner("db", "url", "--optuna", environment=environment)
    assert ":***@" in hidden.stdout or ":" not in hidden.stdout.partition("://")[2].split("@")[0]
    completed = tuner("db", "url", "--optuna", "--show-password", environment=environment)
    assert len(optuna.load_study(study_name="bench", storage=completed.stdout.strip()).trials) == 1
