"""Columns of a study are the same as its records, read at once or change by change."""

import random
from dataclasses import replace

import numpy as np
import optuna
import pytest

from tests.support.bench import Bench, one_trial
from tuner.database.engine import Database
from tuner.database.readers import columns, feed
from tuner.database.readers.live import LiveTrials
from tuner.origin import Origin
from tuner.search.storage import Storage
from tuner.trials import Trial, TrialState


def refreshed(database: Database, live: LiveTrials) -> LiveTrials:
    with database.statement() as connection:
        live.refresh(connection)
    return live


def stored(database: Database, study_id: int) -> list[Trial]:
    """The records as columns have them: without what columns leave in the database."""
    with database.statement() as connection:
        trials = feed.load(connection, study_id)
    return [
        replace(
            t,
            reports=(),
            message=None,
            log_tail=None,
            user_attrs={},
            id=0,
            values=t.values
            or ((t.reports[-1].value,) if t.reports and t.state is not TrialState.FAILED else None),
        )
        for t in trials
    ]


def records(live: LiveTrials) -> list[Trial]:
    return [replace(t, user_attrs={}) for t in live.trials(range(live.size))]


def test_columns_know_what_proposed_each_trial(database: Database) -> None:
    bench = Bench(database)
    early = refreshed(database, LiveTrials(bench.id, ["maximize"]))
    origins = [None, Origin(kind="random", sampler="tpe"), Origin(kind="model", learned_from=3)]
    for origin in [*origins, *origins]:
        bench.finish(bench.claim(origin=origin))
    bench.claim(origin=Origin(kind="grid"))
    refreshed(database, early)
    late = refreshed(database, LiveTrials(bench.id, ["maximize"]))
    kinds = [None, "random", "model", None, "random", "model", "grid"]
    for live in (early, late):
        assert [t.origin and t.origin.kind for t in live.trials(range(7))] == kinds


def test_columns_follow_every_change(database: Database) -> None:
    bench, rng = Bench(database, max_trials=60), random.Random(5)
    early = refreshed(database, LiveTrials(bench.id, ["maximize"]))
    for _ in range(12):
        for _ in range(4):
            one_trial(bench, rng)
        before = early.version
        refreshed(database, early)
        assert early.version > before
    late = refreshed(database, LiveTrials(bench.id, ["maximize"]))
    expected = stored(database, bench.id)
    assert records(early) == expected
    assert records(late) == expected
    states = [t.state for t in expected]
    for live in (early, late):
        assert live.counts == {state: states.count(state) for state in TrialState}
        assert refreshed(database, live).version == live.version


@pytest.fixture
def conditional(database: Database) -> optuna.Study:
    """Parameters that only some trials have, of all kinds, and constraints."""
    sampler = optuna.samplers.RandomSampler(seed=1)  # without one, 3 % of the runs have no `rate`
    study = optuna.create_study(
        storage=Storage(database), sampler=sampler, study_name="c", direction="minimize"
    )
    for i in range(12):
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ["a", None, True, 1])
        if kind == "a":
            trial.suggest_float("rate", 1e-4, 1.0, log=True)
        trial.suggest_int("layers", 1, 4)
        trial.report(float(i), 1)
        if i % 3 == 0:
            trial.set_constraint("room", float(i) - 4)
        study.tell(trial, float(i))
    return study


def test_parameters_keep_their_kinds(database: Database, conditional: optuna.Study) -> None:
    study_id = Storage(database).get_study_id_from_name("c")
    live = refreshed(database, LiveTrials(study_id, ["minimize"]))
    assert records(live) == stored(database, study_id)
    assert live.params["rate"].log
    assert {type(t.params["kind"]) for t in records(live)} <= {str, type(None), bool, int}
    assert np.flatnonzero(live.violated).tolist() == [6, 9]
    assert live.complete.sum() == 12
    assert [t.number for t in records(live) if t.violates_constraint] == [6, 9]
    with database.statement() as connection:
        reports = columns.reports_of(connection, study_id, [3, 5])
    assert reports.numbers.tolist() == [3, 5]
    assert reports.values.tolist() == [3.0, 5.0]
