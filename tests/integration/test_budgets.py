"""Budgets of epochs and device seconds: reserved with the claim, given back, never exceeded."""

import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.bench import LEASE, Bench, in_rows
from tuner.database import leases, results, serving, studies, study_limits, trials
from tuner.database.claims import Claim
from tuner.database.engine import Database
from tuner.trials import Cause, Limits, Report, StudyState, TrialState

EPOCHS = 10  # of a trial


def report(bench: Bench, claim: Claim, last: int, first: int = 1) -> None:
    for step in range(first, last + 1):
        bench.do(results.report, claim, [Report(step, 0.5)], lease=LEASE)


def set_limits(bench: Bench, **limits: Any) -> None:
    with bench.database.transaction() as connection:
        study_limits.set_limits(connection, bench.id, Limits(trial_epochs=EPOCHS, **limits), {})


def ago(bench: Bench, claim: Claim, seconds: float) -> None:
    """Move all that happened to a held trial into the past."""
    with bench.database.transaction() as connection:
        connection.execute(
            text("""
                UPDATE tuner.trials
                SET started_at = started_at - :s * interval '1 second',
                    paid_until = paid_until - :s * interval '1 second',
                    lease_until = lease_until - :s * interval '1 second'
                WHERE id = :id
            """),
            {"id": claim.id, "s": seconds},
        )


# Epochs


def test_epochs_that_were_not_trained_are_there_for_others(database: Database) -> None:
    bench = Bench(database, max_epochs=25, trial_epochs=EPOCHS)
    first, second = bench.claim(), bench.claim()
    assert bench.study().epochs_issued == 20
    assert bench.try_claim() is None  # five are left, too few for another trial
    report(bench, first, 3)
    bench.finish(first, TrialState.PRUNED)
    assert bench.study().epochs_issued == 13
    third = bench.claim()
    report(bench, second, EPOCHS)
    bench.finish(second)
    bench.finish(second)  # finishing twice gives nothing back twice
    assert bench.study().epochs_issued == 23
    report(bench, third, EPOCHS - 2)
    last = [Report(EPOCHS - 1, 0.5), Report(EPOCHS, 0.5)]
    bench.finish(third, reports=last)  # with its last reports
    assert bench.study().epochs_issued == 23
    assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE)
    assert bench.study().reason == "its 25 epochs are used up but for 2, too few for another trial"


def test_an_interrupted_trial_keeps_its_epochs_and_they_count_once(database: Database) -> None:
    bench = Bench(database, max_epochs=15, trial_epochs=EPOCHS)
    claim = bench.claim()
    report(bench, claim, 4)
    bench.do(leases.requeue, claim, Cause.PREEMPTED)
    assert bench.study().epochs_issued == EPOCHS
    again = bench.claim()
    assert (again.number, again.attempt) == (0, 2)
    report(bench, again, 6, first=3)  # two epochs once more
    bench.finish(again)
    assert bench.study().epochs_issued == 6


def test_a_trial_that_is_lost_for_good_gives_its_epochs_back(database: Database) -> None:
    bench = Bench(database, max_epochs=EPOCHS, trial_epochs=EPOCHS)
    for attempt in (1, 2):
        claim = bench.claim()
        report(bench, claim, attempt)
        assert bench.study().epochs_issued == EPOCHS
        bench.lose(claim)
    assert bench.trials()[0].state is TrialState.FAILED
    assert bench.study().epochs_issued == 2


def test_trying_a_trial_again_takes_the_epochs_that_it_lacks(database: Database) -> None:
    bench = Bench(database, max_epochs=12, trial_epochs=EPOCHS)
    claim = bench.claim()
    report(bench, claim, 3)
    bench.finish(claim, TrialState.FAILED, cause=Cause.DIVERGED)
    assert bench.do(trials.retry, bench.id) == [0]
    again = bench.claim()
    assert (again.number, bench.study().epochs_issued) == (0, EPOCHS)
    bench.do(leases.requeue, again, Cause.PREEMPTED)
    set_limits(bench, max_epochs=EPOCHS)
    report(bench, bench.claim(), EPOCHS)


def test_what_needs_no_epochs_goes_before_what_needs_more_than_there_are(
    database: Database,
) -> None:
    bench = Bench(database, max_epochs=20, trial_epochs=EPOCHS)
    failed, interrupted = bench.claim(), bench.claim()
    bench.finish(failed, TrialState.FAILED, cause=Cause.DIVERGED)
    bench.finish(bench.claim(), TrialState.PRUNED)
    bench.do(leases.requeue, interrupted, Cause.PREEMPTED)
    bench.do(trials.retry, bench.id)
    set_limits(bench, max_epochs=15)
    assert bench.claim().number == interrupted.number
    assert bench.try_claim() is None
    assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE) == []


@pytest.mark.parametrize("workers", [8, 32])
def test_epochs_are_never_exceeded(database: Database, workers: int) -> None:
    bench = Bench(database, max_epochs=300, trial_epochs=EPOCHS)
    most = threading.Semaphore(12)  # of the connections

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while True:
            with most:
                claim = bench.try_claim()
                if claim is None:
                    return
                last = rng.randint(0, EPOCHS)
                report(bench, claim, last)
                match rng.randint(0, 4):
                    case 0:
                        bench.do(leases.requeue, claim, Cause.PREEMPTED)
                    case 1:
                        bench.finish(claim, TrialState.FAILED, cause=Cause.DIVERGED)
                    case _:
                        bench.finish(claim, TrialState.PRUNED)
                issued = bench.study().epochs_issued
            assert issued <= 300

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    while (claim := bench.try_claim()) is not None:
        report(bench, claim, EPOCHS)
        bench.finish(claim)
    issued = bench.study().epochs_issued
    assert issued == in_rows(bench)[0] == sum(len(t.reports) for t in bench.trials())
    assert 300 - EPOCHS < issued <= 300
    assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE)


# Seconds: so many that a slow machine makes no difference


def test_seconds_are_reserved_as_far_as_the_lease_reaches(database: Database) -> None:
    bench = Bench(database, max_seconds=10000.0, trial_epochs=EPOCHS)
    claim = bench.claim(lease=3000.0)
    assert claim.paid == 3000.0
    assert bench.study().seconds_issued == pytest.approx(3000.0)
    ago(bench, claim, 2000.0)
    renewed = bench.do(leases.renew, [claim.id], worker_id=claim.worker_id, lease=3000.0)
    assert renewed == {claim.id: (1, pytest.approx(3000.0, abs=90.0))}
    assert bench.study().seconds_issued == pytest.approx(5000.0, abs=90.0)
    ago(bench, claim, 500.0)
    bench.finish(claim)
    assert bench.study().seconds_issued == pytest.approx(2500.0, abs=90.0)
    assert in_rows(bench)[1] == pytest.approx(bench.study().seconds_issued, abs=1e-3)


def test_the_last_seconds_are_divided(database: Database) -> None:
    bench = Bench(database, max_seconds=6500.0, trial_epochs=EPOCHS)
    worker = bench.claim(lease=3000.0)
    other = bench.claim(worker=worker.worker_id, lease=3000.0)
    assert bench.try_claim(lease=3000.0) is None  # 500 are left, less than a tenth
    for claim in (worker, other):
        ago(bench, claim, 2000.0)
    ids = [worker.id, other.id]
    renewed = bench.do(leases.renew, ids, worker_id=worker.worker_id, lease=3000.0)
    assert [paid for _, paid in renewed.values()] == [pytest.approx(1250.0, abs=90.0)] * 2
    assert bench.study().seconds_issued == pytest.approx(6500.0)
    ago(bench, worker, 1250.0)
    renewed = bench.do(leases.renew, [worker.id], worker_id=worker.worker_id, lease=3000.0)
    assert renewed[worker.id][1] == pytest.approx(0.0, abs=90.0)
    assert bench.study().seconds_issued <= 6500.0


def test_a_lost_attempt_costs_what_its_lease_allowed(database: Database) -> None:
    bench = Bench(database, max_seconds=100000.0, trial_epochs=EPOCHS)
    claim = bench.claim(lease=3000.0)
    ago(bench, claim, 4000.0)
    bench.do(leases.reap)
    assert bench.study().seconds_issued == pytest.approx(3000.0, abs=90.0)
    again = bench.claim(lease=3000.0)
    ago(bench, again, 1000.0)
    bench.do(leases.requeue, again, Cause.PREEMPTED)
    assert bench.study().seconds_issued == pytest.approx(4000.0, abs=90.0)


def test_what_short_trials_leave_of_the_seconds_is_used(database: Database) -> None:
    """A budget hardly longer than a lease: of 20 seconds, six used leave 14 for others."""
    bench = Bench(database, max_seconds=20000.0, trial_epochs=EPOCHS)
    for _ in range(3):
        claim = bench.claim(lease=15000.0)
        ago(bench, claim, 5900.0)
        bench.finish(claim)
        assert bench.do(serving.finish_if_done, [bench.id], lease=15000.0) == []
    last = bench.claim(lease=15000.0)
    assert last.paid == pytest.approx(2300.0, abs=90.0)
    ago(bench, last, 1800.0)
    bench.finish(last)
    assert bench.try_claim(lease=15000.0) is None
    assert bench.do(serving.finish_if_done, [bench.id], lease=15000.0) == [bench.id]
    reason = bench.study().reason or ""
    used_up = re.fullmatch(
        r"its 20000 GPU seconds are used up but for ([\d.]+), too few for another trial", reason
    )
    assert used_up is not None, reason
    assert float(used_up[1]) == pytest.approx(500.0, abs=90.0)


def test_a_study_without_seconds_ends_though_a_trial_waits(database: Database) -> None:
    bench = Bench(database, max_seconds=2000.0, trial_epochs=EPOCHS)
    claim = bench.claim(lease=1500.0)
    ago(bench, claim, 1500.0)
    bench.do(leases.requeue, claim, Cause.PREEMPTED)
    claim = bench.claim(lease=1500.0)
    assert claim.paid == pytest.approx(500.0, abs=90.0)  # what is left
    ago(bench, claim, 500.0)
    bench.do(leases.requeue, claim, Cause.PREEMPTED)
    assert bench.try_claim(lease=1500.0) is None
    assert bench.do(serving.finish_if_done, [bench.id], lease=1500.0)
    assert bench.study().reason == "its 2000 GPU seconds are used up"
    set_limits(bench, max_seconds=6000.0)  # as `tuner run` with a larger budget
    bench.do(studies.set_state, bench.id, StudyState.ACTIVE, allowed=[StudyState.FINISHED])
    assert bench.claim(lease=1500.0).attempt == 3


# Changes while the study runs


def test_a_budget_that_comes_late_counts_what_was_before(database: Database) -> None:
    bench = Bench(database, trial_epochs=EPOCHS)
    finished, running, waiting = bench.claim(), bench.claim(), bench.claim()
    report(bench, finished, 4)
    bench.finish(finished, TrialState.PRUNED)
    report(bench, running, 2)
    bench.do(leases.requeue, waiting, Cause.PREEMPTED)
    ago(bench, running, 4000.0)
    set_limits(bench, max_epochs=30, max_seconds=10000.0)
    study = bench.study()
    assert study.epochs_issued == 4 + EPOCHS + EPOCHS
    assert study.seconds_issued == pytest.approx(4000.0, abs=90.0)
    assert bench.claim(lease=1500.0).number == waiting.number
    assert bench.try_claim(lease=1500.0) is None
    report(bench, running, 5, first=3)
    renewed = bench.do(leases.renew, [running.id], worker_id=running.worker_id, lease=1500.0)
    assert renewed[running.id][1] == pytest.approx(1500.0, abs=90.0)
    bench.finish(running)
    assert bench.study().epochs_issued == 4 + 5 + EPOCHS
    assert in_rows(bench) == (19, pytest.approx(bench.study().seconds_issued, abs=1e-3))
    set_limits(bench)
    assert bench.try_claim() is not None
    assert in_rows(bench)[0] == 0  # nobody counts any more


def test_enqueued_trials_keep_their_order_when_a_budget_comes_between(database: Database) -> None:
    bench = Bench(database, trial_epochs=EPOCHS)
    bench.do(trials.enqueue, bench.id, {"x": 0.1})
    set_limits(bench, max_epochs=100)
    bench.do(trials.enqueue, bench.id, {"x": 0.2})
    assert [bench.claim().number for _ in range(2)] == [0, 1]


def test_a_budget_never_falls_below_what_is_given_out(database: Database) -> None:
    bench = Bench(database, max_trials=9, max_epochs=90, max_seconds=90000.0, trial_epochs=EPOCHS)
    claim = bench.claim(lease=1500.0)
    set_limits(bench, max_trials=0, max_epochs=1, max_seconds=100.0)
    study = bench.study()
    assert (study.max_trials, study.max_epochs) == (1, EPOCHS)
    assert study.max_seconds == pytest.approx(1500.0)
    assert bench.try_claim(lease=1500.0) is None
    bench.finish(claim)


def test_limits_may_change_while_trials_end(database: Database) -> None:
    """Nobody waits for somebody who waits for him, and every epoch is accounted for."""
    bench = Bench(database, trial_epochs=EPOCHS)
    stop = threading.Event()

    def work(_: int) -> None:
        while not stop.is_set():
            claim = bench.try_claim()
            if claim is None:
                continue
            report(bench, claim, 2)
            bench.finish(claim, TrialState.PRUNED)

    with ThreadPoolExecutor(5) as pool:
        working = [pool.submit(work, n) for n in range(4)]
        try:
            for change in range(30):
                set_limits(bench, max_epochs=10_000 if change % 2 else None, max_seconds=1e6)
            set_limits(bench, max_epochs=10_000, max_seconds=1e6)
        finally:
            stop.set()
        for worker in working:
            worker.result()
    epochs, seconds = in_rows(bench)
    study = bench.study()
    assert study.epochs_issued == epochs == sum(len(t.reports) for t in bench.trials())
    assert study.seconds_issued == pytest.approx(seconds, abs=1e-3)


# Concurrency


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_trials_run_at_once_than_the_study_allows(database: Database, limit: int) -> None:
    bench = Bench(database, max_trials=40, max_concurrent=limit)
    running: set[int] = set()
    lock = threading.Lock()
    most = 0

    def work(_: int) -> None:
        nonlocal most
        while bench.study().issued < 40:
            claim = bench.try_claim()
            if claim is None:
                continue
            with lock:
                running.add(claim.number)
                most = max(most, len(running))
            with lock:
                running.remove(claim.number)
            bench.finish(claim)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 1 <= most <= limit
    assert [t.number for t in bench.trials()] == list(range(40))


def test_what_waits_counts_when_it_runs_again(database: Database) -> None:
    bench = Bench(database, max_concurrent=1)
    claim = bench.claim()
    bench.do(leases.requeue, claim, Cause.PREEMPTED)
    again = bench.claim()
    assert bench.try_claim() is None
    set_limits(bench, max_concurrent=2)
    assert bench.try_claim() is not None
    bench.finish(again)


def test_only_a_worker_with_the_studys_labels_gets_a_trial(database: Database) -> None:
    bench = Bench(database, labels={"gpu": "h200"})
    assert bench.try_claim() is None
    assert bench.try_claim(labels={"gpu": "a100"}) is None
    assert bench.try_claim(labels={"gpu": "h200", "zone": "b"}) is not None
