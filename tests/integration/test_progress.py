"""How far studies are: what is kept in memory equals what the database says, whatever happens."""

import random
from collections import Counter

import pytest
from sqlalchemy import text

from tests.support.bench import Bench
from tuner.database import leases, results, studies, trials
from tuner.database.engine import Database
from tuner.database.readers import progress
from tuner.database.readers.progress import Overviews, Progress
from tuner.trials import Cause, TrialState


def refreshed(database: Database, overviews: Overviews, study_id: int) -> Progress:
    with database.statement() as connection:
        overviews.refresh(connection)
    return overviews.of(study_id, "maximize")


def test_what_is_kept_follows_every_change(database: Database) -> None:
    rng = random.Random(0)
    benches = [Bench(database, name) for name in ("a", "b")]
    overviews = Overviews()
    for _ in range(60):
        bench = rng.choice(benches)
        claim = bench.claim()
        match rng.randrange(5):
            case 0:
                bench.do(results.finish, claim, TrialState.COMPLETE, [rng.random()])
            case 1:
                bench.finish(claim, TrialState.FAILED, cause=Cause.DIVERGED)
            case 2:
                bench.do(leases.requeue, claim, Cause.PREEMPTED)
            case 3:
                bench.do(trials.retry, bench.id)
        if rng.random() < 0.3:
            for study_bench in benches:
                progress = refreshed(database, overviews, study_bench.id)
                stored = study_bench.trials()
                counted = Counter(trial.state for trial in stored)
                assert {s: n for s, n in progress.counts.items() if n} == counted
                complete = [t for t in stored if t.state is TrialState.COMPLETE]
                assert progress.best_value == max((t.value for t in complete), default=None)  # type: ignore[type-var]
                assert progress.seconds == pytest.approx(
                    sum(t.seconds or 0.0 for t in stored), abs=1e-4
                )


def test_what_commits_late_is_not_missed(database: Database) -> None:
    bench = Bench(database)
    early, late = bench.claim(), bench.claim()
    overviews = Overviews()
    with database.transaction() as slow:
        slow.execute(text("SELECT pg_current_xact_id()"))
        bench.finish(early)  # its transaction is younger, and commits first
        assert refreshed(database, overviews, bench.id).finished == 1
        results.finish(slow, late, TrialState.COMPLETE, [0.25])
        assert refreshed(database, overviews, bench.id).finished == 1
    assert refreshed(database, overviews, bench.id).finished == 2


def test_a_value_that_is_not_finite_is_never_the_best(database: Database) -> None:
    bench = Bench(database)
    for value in (float("nan"), 0.5, float("inf")):
        bench.do(results.finish, bench.claim(), TrialState.COMPLETE, [value])
    progress = refreshed(database, Overviews(), bench.id)
    assert (progress.best_number, progress.best_value) == (1, 0.5)


def test_a_deleted_study_is_forgotten(database: Database) -> None:
    bench = Bench(database)
    bench.finish(bench.claim())
    overviews = Overviews()
    assert refreshed(database, overviews, bench.id).total == 1
    bench.do(studies.delete, bench.id)
    assert refreshed(database, overviews, bench.id).total == 0


def test_a_look_at_what_is_new_reads_no_old_trial(database: Database) -> None:
    bench = Bench(database)
    bench.fill(20_000)
    assert refreshed(database, Overviews(), bench.id).total == 20_001
    with database.statement() as connection:
        snapshot = connection.execute(text("SELECT pg_current_snapshot()::text")).scalar_one()
        plan = connection.execute(
            text(f"EXPLAIN {progress._CHANGED}"),
            {"xmax": snapshot.split(":")[1], "in_progress": []},
        ).scalars()
        assert "trials_study_id_changed" in "\n".join(plan)
