"""What a user may do to what runs: kill a trial, drain a worker."""

import uuid

import pytest

from tests.support.bench import LEASE, Bench
from tuner.commands import steering
from tuner.database import leases, results, serving, trials, workers
from tuner.database.engine import Database
from tuner.errors import LeaseLostError, StudyStateError, TrialNotFoundError, WorkerNotFoundError
from tuner.trials import Cause, Report, StudyState, TrialState


def kill(bench: Bench, number: int) -> None:
    steering.kill(bench.database, "bench", number, by="ada")


def test_a_killed_trial_has_failed_for_good_and_its_worker_learns_of_it(database: Database) -> None:
    bench = Bench(database, max_trials=2)
    claim = bench.claim()
    bench.do(results.report, claim, [Report(1, 0.5)], lease=LEASE)
    kill(bench, claim.number)
    with pytest.raises(LeaseLostError):
        bench.do(results.report, claim, [Report(2, 0.6)], lease=LEASE)
    with pytest.raises(LeaseLostError):
        bench.finish(claim)
    assert bench.do(leases.renew, [claim.id], worker_id=claim.worker_id, lease=LEASE) == {}
    (trial,) = bench.trials()
    assert (trial.state, trial.cause, trial.message) == (
        TrialState.FAILED,
        Cause.KILLED,
        "killed by ada",
    )
    assert [report.step for report in trial.reports] == [1]
    assert bench.try_claim() is not None, "the rest of the budget is there"
    assert bench.try_claim() is None, "and no more than that"
    assert steering.retry(database, "bench", claim.number) == [claim.number]


def test_killing_gives_the_rest_of_the_epochs_back(database: Database) -> None:
    bench = Bench(database, max_epochs=20, trial_epochs=10)
    claim = bench.claim()
    bench.do(results.report, claim, [Report(3, 0.5)], lease=LEASE)
    kill(bench, claim.number)
    assert bench.study().epochs_issued == 3


def test_an_enqueued_trial_is_taken_back(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    number = bench.do(trials.enqueue, bench.id, {"x": 0.5})
    kill(bench, number)
    assert bench.claim().number != number
    assert bench.study().issued == 1


def test_what_neither_runs_nor_was_enqueued_cannot_be_killed(database: Database) -> None:
    bench = Bench(database)
    claim = bench.claim()
    bench.finish(claim)
    with pytest.raises(StudyStateError, match="trial 0 of `bench` is complete; only running"):
        kill(bench, 0)
    interrupted = bench.claim()
    bench.do(leases.requeue, interrupted, Cause.PREEMPTED)
    with pytest.raises(StudyStateError, match="is waiting for another attempt"):
        kill(bench, interrupted.number)
    with pytest.raises(TrialNotFoundError):
        kill(bench, 17)


def test_killed_trials_do_not_pause_their_study(database: Database) -> None:
    bench = Bench(database)
    for _ in range(4):
        kill(bench, bench.claim().number)
    assert bench.do(serving.pause_if_failing, [bench.id]) == []
    assert bench.study().state is StudyState.ACTIVE


def test_a_worker_is_told_to_drain_once_somebody_asks(database: Database) -> None:
    worker_id = uuid.uuid4()
    with database.statement() as connection:
        workers.register(
            connection, worker_id, host="h", pid=1, slots=1, devices=["cpu"], version="0"
        )
        assert not workers.record_heartbeat(connection, worker_id)
    steering.drain(database, worker_id)
    with database.statement() as connection:
        assert workers.record_heartbeat(connection, worker_id)
        workers.record_stop(connection, worker_id)
    for gone in (worker_id, uuid.uuid4()):
        with pytest.raises(WorkerNotFoundError):
            steering.drain(database, gone)
