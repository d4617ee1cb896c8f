"""A claim that happened although its answer never came: it is found again as it was."""

import uuid
from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.searching import Trainer, launch, search, spec
from tuner.database import claims, leases, trials
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.errors import DatabaseUnreachableError
from tuner.search import claim
from tuner.trials import Cause


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The answers of the next claims are lost: as many as the list has entries."""
    lost: list[int] = []
    ask = claims.claim

    def asking(*arguments: Any, **more: Any) -> Any:
        answer = ask(*arguments, **more)
        if lost:
            lost.pop()
            raise DatabaseUnreachableError
        return answer

    monkeypatch.setattr(claim.claims, "claim", asking)
    monkeypatch.setattr(claim, "CLAIM_BACKOFF", 0.0)
    return lost


def test_an_interrupted_trial_keeps_its_parameters(database: Database, deaf: list[int]) -> None:
    of = spec(trials=5)
    study_id = launch(database, of)
    trainer = Trainer(database, search(database, study_id, of))
    first, second = trainer.claim(), trainer.claim()
    assert first is not None
    assert second is not None
    with database.statement() as connection:
        leases.requeue(connection, first.claim, Cause.PREEMPTED)
    deaf.append(1)
    again = trainer.claim()
    assert again is not None
    assert (again.number, again.claim.attempt) == (0, 2)
    assert again.params == first.params
    with database.statement() as connection:
        stored = feed.load(connection, study_id)[0].params
    assert stored.items() <= first.params.items()


def test_an_enqueued_trial_keeps_what_was_given(database: Database, deaf: list[int]) -> None:
    of = spec(trials=5)
    study_id = launch(database, of)
    with database.statement() as connection:
        trials.enqueue(connection, study_id, {"learning_rate": 0.0123})
    deaf.append(1)
    trial = Trainer(database, search(database, study_id, of)).claim()
    assert trial is not None
    assert (trial.number, trial.params["learning_rate"]) == (0, 0.0123)


def test_a_new_trial_is_found_with_its_parameters(database: Database, deaf: list[int]) -> None:
    of = spec(trials=5)
    study_id = launch(database, of)
    deaf += [1, 1]
    trainer = Trainer(database, search(database, study_id, of))
    claimed = trainer.claim()
    assert claimed is not None
    with database.statement() as connection:
        (stored,) = feed.load(connection, study_id)
    assert (stored.number, claimed.number) == (0, 0)
    assert stored.params.items() <= claimed.params.items()


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_record_tells_whether_it_had_been_waiting(
    database: Database, interrupted: bool
) -> None:
    bench = Bench(database, max_trials=3)
    if interrupted:
        bench.do(leases.requeue, bench.claim(), Cause.PREEMPTED)
    worker, key = uuid.uuid4(), uuid.uuid4()
    claim = bench.claim(worker=worker, key=key)
    assert claim.resumed is interrupted
    assert bench.do(claims.find_claim, bench.id, worker_id=worker, key=key) == claim
