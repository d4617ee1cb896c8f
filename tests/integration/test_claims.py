"""Claims, fences and budgets: real connections, real commits, several of them at once."""

import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tests.support import searching
from tests.support.bench import LEASE, Bench
from tests.support.waiting import eventually
from tuner.database import claims, leases, results, serving, studies, trials
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.errors import LeaseLostError
from tuner.search import claim
from tuner.trials import Cause, Report, StudyState, TrialState


def test_eight_workers_claim_exactly_the_budget(database: Database) -> None:
    bench = Bench(database, max_trials=40)

    def work(_: int) -> list[int]:
        numbers = []
        while (claimed := bench.try_claim()) is not None:
            bench.finish(claimed)
            numbers.append(claimed.number)
        return numbers

    with ThreadPoolExecutor(8) as pool:
        numbers = [n for of_worker in pool.map(work, range(8)) for n in of_worker]
    assert sorted(numbers) == list(range(40))
    assert bench.study().issued == 40
    assert {t.state for t in bench.trials()} == {TrialState.COMPLETE}


def test_a_lost_lease_refuses_every_write(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    stale = bench.claim(x=0.25)
    bench.do(results.report, stale, [Report(1, 0.1)], lease=LEASE)
    bench.lose(stale)
    again = bench.claim()
    assert (again.number, again.attempt, again.params) == (stale.number, 2, (0.25,))
    assert bench.study().issued == 1
    with pytest.raises(LeaseLostError):
        bench.do(results.report, stale, [Report(2, 0.9)], lease=LEASE)
    with pytest.raises(LeaseLostError):
        bench.finish(stale)
    assert bench.do(leases.requeue, stale, Cause.PREEMPTED) is None
    assert bench.do(leases.renew, [stale.id], worker_id=stale.worker_id, lease=LEASE) == {}
    bench.finish(again)
    trial = bench.trials()[0]
    assert (trial.state, trial.attempt) == (TrialState.COMPLETE, 2)
    assert [r.step for r in trial.reports] == [1]


def test_a_trial_that_is_lost_too_often_fails(database: Database) -> None:
    bench = Bench(database, max_trials=5)
    for _ in range(2):
        bench.lose(bench.claim())
    trial = bench.trials()[0]
    assert (trial.state, trial.cause, trial.attempt) == (TrialState.FAILED, Cause.LOST, 2)
    assert bench.claim().number == 1


def test_an_interruption_is_no_loss(database: Database) -> None:
    bench = Bench(database, max_trials=5)
    for attempt in range(1, 6):
        claim = bench.claim()
        assert (claim.number, claim.attempt) == (0, attempt)
        assert bench.do(leases.requeue, claim, Cause.PREEMPTED) is TrialState.WAITING
    assert bench.study().issued == 1


def test_finishing_twice_is_no_error(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    claim = bench.claim()
    bench.finish(claim)
    bench.finish(claim)
    with pytest.raises(LeaseLostError):  # but a finished trial does not change its mind
        bench.finish(claim, TrialState.FAILED, cause=Cause.USER_ERROR)


def test_a_claim_whose_answer_was_lost_is_found_again(database: Database) -> None:
    bench = Bench(database, max_trials=3)
    worker, key = uuid.uuid4(), uuid.uuid4()
    claim = bench.claim(worker=worker, key=key)
    repeated = bench.do(claims.find_claim, bench.id, worker_id=worker, key=key)
    assert (repeated.id, repeated.number, repeated.attempt) == (
        claim.id,
        claim.number,
        claim.attempt,
    )
    assert bench.do(claims.find_claim, bench.id, worker_id=worker, key=uuid.uuid4()) is None


def test_enqueued_configurations_come_first_and_in_order(database: Database) -> None:
    bench = Bench(database, max_trials=3)
    assert [bench.do(trials.enqueue, bench.id, {"x": x}) for x in (0.1, 0.2)] == [0, 1]
    claims = [bench.claim() for _ in range(3)]
    assert [h.number for h in claims] == [0, 1, 2]
    assert [h.fixed_params.get("x") for h in claims] == [0.1, 0.2, None]
    assert bench.try_claim() is None


def test_a_row_that_another_worker_is_taking_is_skipped(database: Database) -> None:
    bench = Bench(database, max_trials=5)
    bench.do(trials.enqueue, bench.id, {"x": 0.1})
    with database.transaction() as other:
        other.execute(text("SELECT FROM tuner.trials WHERE number = 0 FOR UPDATE"))
        assert bench.claim().number == 1
    assert bench.claim().number == 0


@pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.STOPPED, StudyState.FINISHED])
def test_only_active_studies_give_trials(database: Database, state: StudyState) -> None:
    bench = Bench(database, max_trials=5)
    bench.do(trials.enqueue, bench.id, {"x": 0.1})
    bench.do(studies.set_state, bench.id, state, allowed=[StudyState.ACTIVE])
    assert bench.try_claim() is None


def test_no_claim_after_the_deadline(database: Database) -> None:
    bench = Bench(database, max_trials=5, hours=0.0)
    assert bench.try_claim() is None
    assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE)
    assert bench.study().reason == "its hours are used up"


def test_a_study_finishes_when_nothing_of_it_runs(database: Database) -> None:
    bench = Bench(database, max_trials=2)
    first, second = bench.claim(), bench.claim()
    bench.finish(first)
    assert not bench.do(serving.finish_if_done, [bench.id], lease=LEASE)
    bench.do(leases.requeue, second, Cause.PREEMPTED)
    assert not bench.do(serving.finish_if_done, [bench.id], lease=LEASE)
    bench.finish(bench.claim())
    assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE)
    assert bench.study().state is StudyState.FINISHED


def test_the_reason_of_a_single_trial_and_epoch(database: Database) -> None:
    for limits, reason in (
        ({"max_trials": 1}, "its only trial is done"),
        ({"max_epochs": 1, "trial_epochs": 1}, "its 1 epoch is used up"),
    ):
        bench = Bench(database, name=reason, **limits)
        claim = bench.claim()
        bench.finish(claim, reports=[Report(1, 0.5)])
        assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE)
        assert bench.study().reason == reason


def test_failures_in_a_row_from_one_cause_pause_the_study(database: Database) -> None:
    bench = Bench(database, max_trials=20)

    def fail(cause: Cause) -> bool:
        bench.finish(bench.claim(), TrialState.FAILED, cause=cause, message=f"it was {cause}")
        return bool(bench.do(serving.pause_if_failing, [bench.id]))

    assert [fail(c) for c in (Cause.DIVERGED, Cause.DIVERGED, Cause.USER_ERROR)] == [False] * 3
    bench.finish(bench.claim())
    assert [fail(Cause.DIVERGED) for _ in range(3)] == [False, False, True]
    assert "3 trials in a row failed (diverged)" in bench.study().reason


@pytest.mark.parametrize(
    ("family", "max_failures", "messages", "paused"),
    [
        ("function", 5, ["no <A at 0x7f0a> in 1e-05", "no <A at 0x8F> in 0.25"], True),
        ("command", 5, ["exit code 2: usage", "exit code 2: usage"], True),
        ("function", 5, ["no such file: a", "no such file: b"], False),
        ("function", 9, ["the same", "the same"], False),  # so many are expected
        ("cnn", 5, ["the same", "the same"], False),
        ("function", 5, ["", "the same", "the same"], False),  # the first one is complete
    ],
)
def test_user_code_whose_first_trials_fail_alike_pauses(
    database: Database, family: str, max_failures: int, messages: list[str], paused: bool
) -> None:
    bench = Bench(database, family=family, max_failures=max_failures, max_trials=20)
    for message in messages:
        if message:
            bench.finish(bench.claim(), TrialState.FAILED, cause=Cause.USER_ERROR, message=message)
        else:
            bench.finish(bench.claim())
        hit = bench.do(serving.pause_if_failing, [bench.id])
        assert bool(hit) == (paused and message == messages[-1] and len(bench.trials()) > 1)
    if paused:
        assert bench.study().state is StudyState.PAUSED
        assert bench.study().reason == (
            f"its first 2 trials failed alike (user_error), the last: {messages[-1]}"
        )


def test_one_failure_is_one_trial(database: Database) -> None:
    bench = Bench(database, max_failures=1, max_trials=20)
    bench.finish(bench.claim(), TrialState.FAILED, cause=Cause.DIVERGED, message="it was nan")
    assert bench.do(serving.pause_if_failing, [bench.id])
    assert bench.study().reason == "1 trial failed (diverged), the last: it was nan"


def test_a_report_with_nan_is_kept(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    claim = bench.claim()
    nan = float("nan")
    bench.do(results.report, claim, [Report(1, nan, {"train_loss": nan, "f1": 0.5})], lease=LEASE)
    report = bench.trials()[0].reports[0]
    assert report.value != report.value
    assert report.metrics["train_loss"] != report.metrics["train_loss"]
    assert report.metrics["f1"] == 0.5


def test_hostile_messages_are_stored(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    message = "NUL \0, half a character \ud800, and 'quotes'"
    bench.finish(bench.claim(), TrialState.FAILED, cause=Cause.USER_ERROR, message=message)
    assert bench.trials()[0].message == "NUL \ufffd, half a character ?, and 'quotes'"


def test_the_feed_misses_nothing_when_commits_overtake_each_other(database: Database) -> None:
    bench = Bench(database, max_trials=10)
    reader = feed.Feed(bench.id)

    def poll() -> list[int]:
        with database.statement() as connection:
            return [row.number for row in reader.poll(connection)]

    claims = [bench.claim() for _ in range(3)]
    assert poll() == [0, 1, 2]
    slow = database.engine.connect()
    results.finish(slow, claims[0], TrialState.COMPLETE, [0.1])  # older transaction, not committed
    bench.finish(claims[1])  # younger transaction, committed first
    bench.finish(claims[2])
    assert poll() == [0, 1, 2]
    slow.commit()
    slow.close()
    with database.statement() as connection:
        changed = {row.number: row.state for row in reader.poll(connection)}
    assert changed[0] == "complete"
    assert poll() == []


def test_claim_and_feed_read_through_their_indexes(database: Database) -> None:
    bench = Bench(database)
    bench.fill(20_000)
    waiting = "SELECT id FROM tuner.trials WHERE study_id = :study AND state = 'waiting'"
    changed = "SELECT id FROM tuner.trials WHERE study_id = :study AND changed >= '999999999'"
    for query, index in ((waiting, "trials_open"), (changed, "trials_study_id_changed")):
        with database.statement() as connection:
            plan = connection.execute(text("EXPLAIN " + query), {"study": bench.id}).scalars()
            assert index in "\n".join(plan)


def test_a_lease_ends_on_the_databases_clock(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    bench.claim(lease=0.05)
    reaped: list[Any] = []
    eventually(lambda: reaped.extend(bench.do(leases.reap)) or reaped)
    assert reaped == [(bench.id, 0, TrialState.WAITING)]


def test_a_claim_needs_no_second_connection(database: Database) -> None:
    of = searching.spec(trials=4)
    study_id = searching.launch(database, of)
    for optimizer in ("sgd", "adam"):  # with and without momentum: two spaces
        with database.statement() as connection:
            trials.enqueue(connection, study_id, {"optimizer": optimizer})
    single = Database(database.url, pool_size=1, max_overflow=0)
    try:
        trainer = searching.Trainer(single, searching.search(single, study_id, of))
        first, second = trainer.claim(), trainer.claim()
    finally:
        single.close()
    assert first is not None
    assert second is not None
    assert [first.params["optimizer"], second.params["optimizer"]] == ["sgd", "adam"]


def test_an_enqueued_trial_that_is_interrupted_at_once_keeps_its_parameters(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "FRESH", math.inf)  # nothing is read in between
    of = searching.spec()
    study_id = searching.launch(database, of)
    with database.statement() as connection:
        trials.enqueue(connection, study_id, {"depth": 3})
    trainer = searching.Trainer(database, searching.search(database, study_id, of))
    first = trainer.claim()
    assert first is not None
    with database.statement() as connection:
        leases.requeue(connection, first.claim, Cause.PREEMPTED)
    again = trainer.claim()
    assert again is not None
    assert (again.number, again.claim.attempt) == (0, 2)
    assert again.params == first.params
    assert again.params["depth"] == 3
