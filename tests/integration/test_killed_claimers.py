"""Workers that are killed at any instant: budgets are exact, every trial ends, and ends once."""

import multiprocessing
import random
import uuid
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.support.bench import Bench, in_rows
from tests.support.waiting import STUCK, eventually
from tuner.database import claims, leases, results, serving, studies, trials
from tuner.database.engine import Database
from tuner.errors import LeaseLostError
from tuner.trials import Report, StudyState, TrialState

SPAWN = multiprocessing.get_context("spawn")  # a forked process would share connections
PROCESSES = 4
KILLS = 8
LEASE = 1.0  # seconds
EPOCHS = 10  # of a trial
TRIALS, MAX_EPOCHS = 60, 350


def work(url: str, study: int, space: int, seed: int) -> None:
    """Claim, report and finish until the study has ended; whoever is dead is reaped meanwhile."""
    database, worker, rng = Database(make_url(url)), uuid.uuid4(), random.Random(seed)
    while True:
        with database.statement() as connection:
            leases.reap(connection)
            claim = claims.claim(
                connection, study, worker_id=worker, key=uuid.uuid4(), lease=LEASE,
                space_id=space, params=[rng.random()],
            )  # fmt: skip
            if claim is None:
                serving.finish_if_done(connection, [study], lease=LEASE)
                if studies.by_id(connection, study).state is StudyState.FINISHED:
                    return
                continue
            try:
                for step in range(1, rng.randint(1, EPOCHS) + 1):
                    results.report(connection, claim, [Report(step, 0.5)], lease=LEASE)
                results.finish(connection, claim, TrialState.PRUNED, [0.5])
            except LeaseLostError:  # a slow machine
                continue


def finished(bench: Bench) -> int:
    with bench.database.statement() as connection:
        counts = trials.counts(connection, bench.id)[bench.id] if bench.study().issued else {}
    return counts.get("pruned", 0)


def test_budgets_are_exact_however_many_workers_are_killed(database: Database) -> None:
    bench = Bench(
        database, max_trials=TRIALS, max_epochs=MAX_EPOCHS, max_seconds=1e5, trial_epochs=EPOCHS,
        max_concurrent=3,
    )  # fmt: skip
    url = database.url.render_as_string(hide_password=False)
    seeds = iter(range(1_000))

    def start() -> Any:
        process = SPAWN.Process(target=work, args=(url, bench.id, bench.space, next(seeds)))
        process.start()
        return process

    rng = random.Random(0)
    processes = [start() for _ in range(PROCESSES)]
    try:
        for kill in range(1, KILLS + 1):
            eventually(
                lambda at=3 * kill: finished(bench) >= at,  # type: ignore[misc]
                progress=lambda: finished(bench),
            )
            victim = processes.pop(rng.randrange(PROCESSES))
            victim.kill()
            victim.join()
            processes.append(start())
        for process in processes:
            process.join(STUCK)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()

    study, ended = bench.study(), bench.trials()
    assert study.state is StudyState.FINISHED
    assert [t.number for t in ended] == list(range(len(ended)))
    assert {t.state for t in ended} <= {TrialState.PRUNED, TrialState.FAILED}  # lost twice
    assert study.issued == len(ended) <= TRIALS
    epochs, seconds = in_rows(bench)
    assert study.epochs_issued == epochs == sum(len(t.reports) for t in ended) <= MAX_EPOCHS
    assert len(ended) == TRIALS or epochs > MAX_EPOCHS - EPOCHS
    assert abs(study.seconds_issued - seconds) < 1e-3
    with database.statement() as connection:
        row = connection.execute(
            text("SELECT count(*) FROM tuner.trials WHERE lease_until > now()")
        )
        assert row.scalar_one() == 0
