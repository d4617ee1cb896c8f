"""Studies go from Optuna's storages to ours and back with all they hold, whole or not at all."""

import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState as OptunaState
from sqlalchemy import text

from tests.support import optuna_studies as theirs
from tests.support.commands import tuner
from tests.support.optuna_studies import make, opened, sqlite_url, study_facts, trial
from tuner.commands import reading, steering
from tuner.database.engine import Database
from tuner.database.optuna import bulk, rdb_rows
from tuner.errors import BadInputError, StudyExistsError
from tuner.origin import Origin
from tuner.search.exchange import Copied, export_study, import_studies
from tuner.search.storage import Storage
from tuner.trials import Cause, TrialState

X = FloatDistribution(0.0, 1.0)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[RDBStorage]:
    storage = opened(tmp_path / "source.db")
    yield storage
    storage.engine.dispose()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[RDBStorage]:
    storage = opened(tmp_path / "target.db")
    yield storage
    storage.engine.dispose()


def names(database: Database) -> list[str]:
    return [overview.study.name for overview in reading.load_overviews(database)]


def there(database: Database, storage: RDBStorage, **options: str) -> list[Copied]:
    return import_studies(database, storage.url, **options)


def back(database: Database, name: str, storage: RDBStorage, **options: str) -> int:
    """Export a study; returns its id there."""
    copied = export_study(database, reading.find(database, name), storage.url, **options)
    return storage.get_study_id_from_name(copied.name)


_numbered = itertools.count()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(theirs.studies())
def test_there_and_back_nothing_is_lost(
    database: Database, source: RDBStorage, target: RDBStorage, study: object
) -> None:
    directions, user_attrs, trials = study
    name = f"study {next(_numbered)}"
    first = make(source, name, *trials, directions=directions)
    for key, value in user_attrs.items():
        source.set_study_user_attr(first, key, value)
        source.set_study_system_attr(first, key, value)
    there(database, source, name=name)
    ours = Storage(database)
    second = ours.get_study_id_from_name(name)
    third = back(database, name, target)
    assert study_facts(ours, second) == study_facts(source, first)
    assert study_facts(target, third) == study_facts(source, first)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=30))
def test_any_name_is_kept_or_refused_in_a_sentence(
    database: Database, tmp_path: Path, name: str
) -> None:
    source = opened(tmp_path / f"{next(_numbered)}.db")
    source.create_new_study([theirs.MINIMIZE], name)
    if "\0" in name:
        with pytest.raises(BadInputError, match="PostgreSQL cannot store"):
            there(database, source)
    elif name in names(database):
        with pytest.raises(StudyExistsError):
            there(database, source)
    else:
        assert there(database, source)[0].name == name
        assert name in names(database)
    source.engine.dispose()


def test_choices_that_python_holds_for_equal_are_told_apart(
    database: Database, source: RDBStorage, target: RDBStorage
) -> None:
    choices = (True, 1, 1.0, "1", None, float("nan"), False, 0, -0.0)
    study_id = make(source, "mixed")
    for index in range(len(choices)):
        trial_id = source.create_new_trial(study_id)
        source.set_trial_param(trial_id, "c", index, CategoricalDistribution(choices))
        source.set_trial_state_values(trial_id, OptunaState.COMPLETE, [0.0])
    there(database, source)
    stored = reading.load_trials(database, reading.find(database, "mixed"))
    assert repr([t.params["c"] for t in stored]) == repr(list(choices))
    returned = target.get_all_trials(back(database, "mixed", target))
    assert repr([t.params["c"] for t in returned]) == repr(list(choices))


def test_a_study_of_a_hundred_objectives(
    database: Database, source: RDBStorage, target: RDBStorage
) -> None:
    directions = [theirs.MINIMIZE, theirs.MAXIMIZE] * 50
    values = [math.inf, -math.inf, *map(float, range(98))]
    first = make(source, "many", trial(values=values), directions=directions)
    source.set_study_system_attr(first, "study:metric_names", [f"m{i}" for i in range(100)])
    there(database, source)
    study = reading.find(database, "many")
    assert study.metrics == tuple(f"m{i}" for i in range(100))
    assert study_facts(target, back(database, "many", target)) == study_facts(source, first)


def test_long_and_nested_attributes_and_constraints(
    database: Database, source: RDBStorage, target: RDBStorage
) -> None:
    attrs = {"long": "ж\\\t\n\"'" * 10_000, "nested": {"a": [{"b": [None, {"c": math.nan}]}]}}
    system = {"constraints:a": 0.5, "constraints": [0.5, -1.0], "zero": "\0", "half": "\ud800"}
    only = trial(user_attrs=attrs, system_attrs=system)
    first = make(source, "attributes", only)
    there(database, source)
    (stored,) = reading.load_trials(database, reading.find(database, "attributes"))
    assert json.dumps(stored.user_attrs) == json.dumps(attrs)
    assert stored.origin == Origin(kind="imported")
    third = back(database, "attributes", target)
    assert study_facts(target, third) == study_facts(source, first)
    assert target.get_all_trials(third)[0].constraints == only.constraints


@pytest.fixture(params=["America/New_York", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process's time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_local_times_become_moments(
    database: Database, source: RDBStorage, target: RDBStorage, zone: str
) -> None:
    first = make(source, "times", trial())
    there(database, source)
    (stored,) = reading.load_trials(database, reading.find(database, "times"))
    hour = {"America/New_York": (16, 0), "Asia/Kolkata": (6, 30)}[zone]
    assert stored.started_at == datetime(2026, 7, 1, *hour, 0, 123456, tzinfo=UTC)
    assert stored.seconds == 60
    assert study_facts(target, back(database, "times", target)) == study_facts(source, first)


@pytest.mark.parametrize("zone", ["America/New_York"], indirect=True)
def test_the_hour_that_comes_twice_is_told_apart(
    database: Database, source: RDBStorage, zone: str
) -> None:
    twice = datetime(2026, 11, 1, 1, 30)
    times = [{"datetime_start": twice.replace(fold=fold)} for fold in (0, 1)]
    make(source, "twice", *(trial(**fields, datetime_complete=None) for fields in times))
    there(database, source)
    stored = reading.load_trials(database, reading.find(database, "twice"))
    assert [t.started_at for t in stored] == [
        datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6)
    ], zone


@pytest.mark.parametrize("trusted", [True, False])
def test_many_batches_keep_every_trial_and_report(
    database: Database, source: RDBStorage, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    """With foreign keys checked, as for an ordinary role, and without."""
    monkeypatch.setattr(bulk, "BATCH", 3)
    monkeypatch.setattr(rdb_rows, "BATCH", 4)
    monkeypatch.setattr(bulk, "_MAY_TRUST", text(f"SELECT {trusted}"))
    wide = FloatDistribution(0.0, 2.0)
    first = make(
        source,
        "batches",
        *(
            trial(
                params={"x": i / 10},
                distributions={"x": X if i % 4 else wide},
                intermediate_values={step: float(i * step) for step in range(i)},
            )
            for i in range(10)
        ),
    )
    (copied,) = there(database, source)
    assert (copied.trials, copied.were_running) == (10, 0)
    ours = Storage(database)
    study_id = ours.get_study_id_from_name("batches")
    assert study_facts(ours, study_id) == study_facts(source, first)
    assert optuna.load_study(study_name="batches", storage=ours).ask().number == 10
    with database.statement() as connection:
        spaces = connection.execute(text("SELECT count(*) FROM tuner.spaces")).scalar_one()
        checked = connection.execute(text("SHOW session_replication_role")).scalar_one()
    assert (spaces, checked) == (2, "origin")


@pytest.mark.parametrize("others", [1, 3])
def test_trials_of_other_studies_lie_between(
    database: Database, source: RDBStorage, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Few strangers are read and passed over, many are left to the source."""
    monkeypatch.setattr(rdb_rows, "BATCH", 4)
    studies = [make(source, f"study-{which}") for which in range(1 + others)]
    for i in range(10):
        for which, study in enumerate(studies):
            only = trial(
                params={"x": i / 10, f"y{i % 2}": which / 10},
                distributions={"x": X, f"y{i % 2}": X},
                intermediate_values={0: float(which), i: float(i)},
                user_attrs={"which": which, "i": i},
                system_attrs={"of": which},
            )
            source.create_new_trial(study, only)
    ours = Storage(database)
    there(database, source)
    for which, study in enumerate(studies):
        copy = ours.get_study_id_from_name(f"study-{which}")
        assert study_facts(ours, copy) == study_facts(source, study)


def test_what_ran_fails_in_the_copy_and_can_be_tried_again(
    database: Database, source: RDBStorage, target: RDBStorage
) -> None:
    running = trial(
        OptunaState.RUNNING,
        params={"x": 0.5},
        distributions={"x": X},
        intermediate_values={1: 0.25},
    )
    make(source, "interrupted", trial(), running, trial(OptunaState.WAITING))
    (copied,) = there(database, source)
    assert copied.were_running == 1
    study = reading.find(database, "interrupted")
    complete, failed, waiting = reading.load_trials(database, study)
    assert (failed.state, failed.cause) == (TrialState.FAILED, Cause.LOST)
    assert failed.message == "it was running when the study was copied"
    assert failed.finished_at is not None
    assert (dict(failed.params), failed.reports[0].value) == ({"x": 0.5}, 0.25)
    assert (complete.state, waiting.state) == (TrialState.COMPLETE, TrialState.WAITING)
    # the reason goes on to the next copy and comes back from there
    exported = export_study(database, study, target.url)
    assert exported.were_running == 0  # it ran at an earlier copy
    there_again = target.get_all_trials(target.get_study_id_from_name("interrupted"))
    assert there_again[1].state is OptunaState.FAIL
    assert there_again[1].system_attrs["tuner:cause"] == "lost"
    import_studies(database, target.url, rename="again")
    again = reading.load_trials(database, reading.find(database, "again"))[1]
    assert (again.cause, again.message) == (failed.cause, failed.message)
    # queued again, Optuna hands it out with its parameters
    assert steering.retry(database, "interrupted") == [1]
    ours = optuna.load_study(study_name="interrupted", storage=Storage(database))
    retried = ours.ask()
    assert (retried.number, retried.suggest_float("x", 0, 1)) == (1, 0.5)


def test_what_runs_here_fails_in_the_export(database: Database, target: RDBStorage) -> None:
    ours = optuna.create_study(study_name="live", storage=Storage(database))
    ours.ask().report(0.5, step=1)
    study = reading.find(database, "live")
    assert export_study(database, study, target.url).were_running == 1
    (copy,) = target.get_all_trials(target.get_study_id_from_name("live"))
    assert (copy.state, copy.intermediate_values) == (OptunaState.FAIL, {1: 0.5})
    assert copy.datetime_complete is not None
    (still,) = reading.load_trials(database, study)
    assert still.state is TrialState.RUNNING


def test_all_studies_come_or_none(database: Database, source: RDBStorage) -> None:
    make(source, "good", trial())
    make(source, "bad", trial(user_attrs={"zero\0": 1}))
    with pytest.raises(BadInputError, match=r"trial 0 has an attribute named 'zero\\x00'"):
        there(database, source)
    assert names(database) == []
    there(database, source, name="good")
    assert names(database) == ["good"]


def test_an_import_that_breaks_leaves_nothing(
    database: Database, source: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    trials = [trial(user_attrs={"n": n} if n < 5 else {"\0": n}) for n in range(6)]
    make(source, "breaks", *trials)
    with pytest.raises(BadInputError, match="trial 5"):
        there(database, source)
    with database.statement() as connection:
        for table in ("studies", "spaces", "trials", "reports"):
            count = connection.execute(text(f"SELECT count(*) FROM tuner.{table}")).scalar_one()
            assert count == 0, table


def test_an_export_that_breaks_leaves_nothing(database: Database, target: RDBStorage) -> None:
    ours = Storage(database)
    half = trial(params={"\ud800": 0.5}, distributions={"\ud800": X})
    make(ours, "odd", trial(), half)  # a name that is no Unicode: SQLite refuses it
    with pytest.raises(BadInputError, match="surrogates not allowed"):
        export_study(database, reading.find(database, "odd"), target.url)
    assert target.get_all_studies() == []


def test_a_taken_name_is_not_touched(
    database: Database, source: RDBStorage, target: RDBStorage
) -> None:
    make(source, "free")
    make(source, "taken", trial())
    make(target, "taken")
    Storage(database).create_new_study([theirs.MAXIMIZE], "taken")
    with pytest.raises(StudyExistsError, match="--study taken --as NAME"):
        there(database, source)
    assert names(database) == ["taken"]
    there(database, source, name="taken", rename="other")
    assert names(database) == ["taken", "other"]
    with pytest.raises(StudyExistsError, match="--as NAME"):
        export_study(database, reading.find(database, "taken"), target.url)
    back(database, "other", target, rename="third")
    assert sorted(s.study_name for s in target.get_all_studies()) == ["taken", "third"]


def test_from_the_command_line(
    database: Database, environment: dict[str, str], source: RDBStorage, tmp_path: Path
) -> None:
    make(source, "a", trial(), trial(OptunaState.RUNNING))
    completed = tuner("import", "--from", source.url, environment=environment)
    assert (completed.returncode, completed.stdout) == (0, "imported a with 2 trials\n"), (
        completed.stderr
    )
    assert "1 trial had not ended" in completed.stderr
    again = tuner("import", "--from", source.url, environment=environment)
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert "a study named `a` exists already" in again.stderr
    assert "add `--study a --as NAME` to import it under another name" in again.stderr
    none = tuner("logs", "a", "0", environment=environment)
    assert "trial 0 ran outside tuner, so it has no log" in none.stderr
    options = ("--study", "a", "--as", "b", "--json")
    renamed = tuner("import", "--from", source.url, *options, environment=environment)
    assert json.loads(renamed.stdout)[0]["name"] == "b"
    copy = tmp_path / "copy.db"
    options = ("--optuna", sqlite_url(copy), "--as", "c")
    exported = tuner("export", "a", *options, environment=environment)
    assert exported.stdout == "exported c with 2 trials\n", exported.stderr
    assert len(optuna.load_study(study_name="c", storage=sqlite_url(copy)).trials) == 2
    twice = tuner("export", "a", *options, environment=environment)
    assert (twice.returncode, len(twice.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///missing.db", "there is no file missing.db"),
        ("sqlite:///empty.db", "is no Optuna storage or does not answer: no such table"),
        ("study.db", "that is not a database's URL"),
        ("redis://localhost/0", "there is no kind of database `redis`"),
        ("postgresql://u:s3cret@127.0.0.1:1/x", "Connection refused"),
        ("mysql://u:s3cret@127.0.0.1/x", "needs a driver that is not installed"),
    ],
)
def test_a_source_that_cannot_be_read(
    environment: dict[str, str], tmp_path: Path, url: str, sentence: str
) -> None:
    (tmp_path / "empty.db").touch()
    completed = tuner("import", "--from", url, environment=environment, cwd=tmp_path)
    assert completed.returncode == 2, completed.stderr
    (line,) = completed.stderr.splitlines()
    assert sentence in line
    assert "s3cret" not in line
    assert set(os.listdir(tmp_path)) - {"home"} == {"empty.db"}


def test_steps_come_as_their_decimals(database: Database, source: RDBStorage) -> None:
    stepped = FloatDistribution(0.0, 0.7, step=0.1)
    sums = [n * 0.1 for n in range(8)]
    trials = [trial(params={"x": x, "a": x}, distributions={"x": X, "a": stepped}) for x in sums]
    make(source, "steps", *trials)
    there(database, source)
    ours = Storage(database)
    copies = ours.get_all_trials(ours.get_study_id_from_name("steps"))
    assert [t.params["a"] for t in copies] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert [t.params["x"] for t in copies] == sums  # without a step, to the last bit
