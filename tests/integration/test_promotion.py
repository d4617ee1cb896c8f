"""Trials that pause at a rung: who promotes them, what that costs, and when their study is over."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from sqlalchemy import text
from sqlalchemy.engine import URL

from tests.support import searching
from tests.support.bench import LEASE, Bench
from tests.support.optuna_studies import facts, sqlite_url
from tests.support.searching import Trainer
from tuner.commands import reading, steering
from tuner.database import claims, leases, results, schema, serving, studies, study_limits
from tuner.database.claims import Claim
from tuner.database.engine import Database
from tuner.database.readers import attempts, feed
from tuner.errors import LeaseLostError, NothingToExportError
from tuner.search import exchange, promotions
from tuner.search.claim import ClaimedTrial, Search
from tuner.search.storage import Storage
from tuner.settings import Settings
from tuner.trials import Cause, Limits, Report, StudyState, Trial, TrialState
from tuner.worker.consent import Consent
from tuner.worker.served_studies import ServedStudies
from tuner.worker.timers import Timers

NEVER_PROMOTED = "paused at a rung, never promoted"
EPOCHS = 9  # rungs at 1 and 3


def pause(bench: Bench, claim: Claim, *steps: int) -> None:
    for step in steps:
        bench.do(results.report, claim, [Report(step, 0.5)], lease=LEASE)
    bench.do(results.finish, claim, TrialState.PAUSED, [0.5])


# Claims


def test_a_promotion_takes_no_unit_of_the_budget_and_keeps_the_trial(database: Database) -> None:
    bench = Bench(database, max_trials=2, max_epochs=18, trial_epochs=9)
    first = bench.claim(x=0.25)
    pause(bench, first, 1)
    assert (bench.study().issued, bench.study().epochs_issued) == (1, 1), "the rest is given back"
    again = bench.claim(promotable={first.number: 1})
    assert (again.number, again.attempt, again.params) == (first.number, 2, (0.25,))
    assert again.promoted
    assert (bench.study().issued, bench.study().epochs_issued) == (1, 9)
    (trial,) = bench.trials()
    assert (trial.state, trial.values, trial.finished_at) == (TrialState.RUNNING, None, None)
    with pytest.raises(LeaseLostError):
        bench.finish(first)
    bench.finish(again)
    assert bench.claim().number == 1
    assert bench.try_claim(promotable={0: 1}) is None


def test_both_attempts_are_remembered(database: Database) -> None:
    bench = Bench(database)
    pause(bench, bench.claim(), 1)
    bench.finish(bench.claim(promotable={0: 1}))
    (trial,) = bench.trials()
    listed = bench.do(attempts.of_trial, trial.id)
    assert [(a.attempt, a.cause) for a in listed] == [(1, None), (2, None)]
    assert all(a.seconds is not None and a.worker_id is not None for a in listed)
    outcomes = [a.outcome for a in bench.do(attempts.of_study, bench.id)]
    assert outcomes == ["paused", "complete"]
    assert bench.do(attempts.failures_by_cause, bench.id) == []
    assert bench.do(attempts.without_result, bench.id) == []


def test_paused_trials_are_nobodys_until_they_are_promoted(database: Database) -> None:
    bench = Bench(database, max_trials=1)
    pause(bench, bench.claim(), 1)
    assert bench.try_claim() is None
    assert bench.try_claim(promotable={7: 1}) is None
    assert bench.do(leases.reap) == []


def test_interrupted_trials_come_first_then_promotions_then_what_is_queued(
    database: Database,
) -> None:
    bench = Bench(database)
    paused, interrupted = bench.claim(), bench.claim()
    pause(bench, paused, 1)
    bench.do(leases.requeue, interrupted, Cause.PREEMPTED)
    queued = steering.enqueue(database, "bench", {})
    taken = [bench.claim(promotable={paused.number: 1}) for _ in range(4)]
    assert [c.number for c in taken] == [interrupted.number, paused.number, queued, 3]
    assert [c.promoted for c in taken] == [False, True, False, False]


def test_the_callers_first_choice_goes_first(database: Database) -> None:
    bench = Bench(database)
    for claim in [bench.claim() for _ in range(3)]:
        pause(bench, claim, 1)
    assert [bench.claim(promotable={2: 1, 0: 1, 1: 1}).number for _ in range(3)] == [2, 0, 1]


def test_no_two_workers_promote_the_same_trial(database: Database) -> None:
    bench = Bench(database, max_trials=8)
    for claim in [bench.claim() for _ in range(8)]:
        pause(bench, claim, 1)
    with ThreadPoolExecutor(16) as pool:
        taken = list(
            pool.map(lambda _: bench.try_claim(promotable=dict.fromkeys(range(8), 1)), range(32))
        )
    numbers = [claim.number for claim in taken if claim is not None]
    assert sorted(numbers) == sorted(set(numbers))
    while (
        claim := bench.try_claim(promotable=dict.fromkeys(range(8), 1))
    ) is not None:  # some were only skipped
        numbers.append(claim.number)
    assert sorted(numbers) == list(range(8))
    assert {trial.attempt for trial in bench.trials()} == {2}


def test_a_trial_that_has_paused_again_is_not_promoted_by_who_knows_of_its_first_pause(
    database: Database,
) -> None:
    bench = Bench(database)
    pause(bench, bench.claim(), 1)
    pause(bench, bench.claim(promotable={0: 1}), 2, 3)
    assert bench.claim(promotable={0: 1}).number == 1
    again = bench.claim(promotable={0: 2})
    assert (again.number, again.attempt) == (0, 3)


def test_a_lost_answer_to_a_promotion_is_found_again(database: Database) -> None:
    bench = Bench(database)
    pause(bench, bench.claim(), 1)
    worker, key = uuid.uuid4(), uuid.uuid4()
    claim = bench.claim(worker=worker, key=key, promotable={0: 1})
    found = bench.do(claims.find_claim, bench.id, worker_id=worker, key=key)
    assert (found.number, found.attempt, found.promoted) == (0, 2, True)
    assert found.id == claim.id


def test_a_paused_trial_can_be_killed(database: Database) -> None:
    bench = Bench(database)
    pause(bench, bench.claim(), 1)
    steering.kill(database, "bench", 0, by="ada")
    (trial,) = bench.trials()
    assert (trial.state, trial.cause) == (TrialState.FAILED, Cause.KILLED)
    assert bench.claim(promotable={0: 1}).number == 1


def test_optuna_sees_a_paused_trial_wait_and_cannot_take_it(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    bench = Bench(database, max_trials=2)
    pause(bench, bench.claim(x=0.25), 1, 3)
    ours = optuna.load_study(study_name="bench", storage=Storage(database))
    view = schema.views_url(database_url).render_as_string(hide_password=False)
    theirs = optuna.load_study(study_name="bench", storage=view)
    assert [facts(t) for t in ours.trials] == [facts(t) for t in theirs.trials]
    (trial,) = ours.trials
    assert (trial.state, trial.values) == (OptunaState.WAITING, None)
    assert (trial.params, trial.intermediate_values) == ({"x": 0.25}, {1: 0.5, 3: 0.5})
    assert trial.datetime_complete is None
    assert ours.ask().number == 1, "the paused one is not Optuna's to take"
    exchange.export_study(database, bench.study(), sqlite_url(tmp_path / "copy.db"))
    copied = optuna.load_study(study_name="bench", storage=sqlite_url(tmp_path / "copy.db"))
    assert (copied.trials[0].state, copied.trials[0].value) == (OptunaState.PRUNED, 0.5)


def test_limits_may_change_while_trials_are_paused(database: Database) -> None:
    bench = Bench(database, max_trials=9, trial_epochs=9)
    pause(bench, bench.claim(), 1, 2, 3)
    limits = Limits(max_trials=5, max_epochs=90, trial_epochs=9)
    with database.transaction() as connection:
        study_limits.set_limits(connection, bench.id, limits, None)
    assert (bench.study().issued, bench.study().epochs_issued) == (1, 3)
    assert bench.claim(promotable={0: 1}).promoted
    assert bench.study().epochs_issued == 9


# The end of a study


def test_only_who_knows_what_is_due_ends_a_study_with_paused_trials(database: Database) -> None:
    bench = Bench(database, max_trials=2)
    for claim in [bench.claim() for _ in range(2)]:
        pause(bench, claim, 1)
    assert bench.do(serving.finish_if_done, [bench.id], lease=LEASE) == []
    assert not bench.do(serving.finish_if_idle, bench.id, "nothing is left")
    assert bench.do(serving.used_up, bench.id, lease=LEASE) == "trials"
    assert bench.do(serving.in_turn, [bench.id], labels={}, lease=LEASE) == []
    due = {bench.id: [1]}
    assert bench.do(serving.in_turn, [bench.id], labels={}, lease=LEASE, due=due) == [bench.id]


def of_study(name: str, more: str = "", *, trials: int = 10) -> searching.ResolvedSpec:
    lines = f"sampler: random\npruner: {{name: rungs, resume: true}}\n{more}"
    spec = searching.spec(name, lines, trials)
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"epochs": EPOCHS})})


class Studio:
    """Workers that train trials of a study whose values are known before."""

    def __init__(self, database: Database, folder: Path, more: str = "", **budget: int) -> None:
        self.database = database
        self.spec = of_study("promoting", more, **budget)
        self.id = searching.launch(database, self.spec)
        self.settings = Settings(home=folder, lease_seconds=3_600.0)

    def worker(self) -> tuple[Trainer, ServedStudies]:
        """Start one: its search, and what ends the study."""
        served = ServedStudies(
            self.database,
            Timers(),
            only=(),
            labels={},
            settings=self.settings,
            consent=Consent(allow_code=False),
        )
        with self.database.statement() as connection:
            served.update(served.find_active(connection), lambda _: None)
        search = served.searches[self.id]
        search.promotions._reaches = lambda number, attempt: True
        return Trainer(self.database, search), served

    def train(self, trainer: Trainer, trial: ClaimedTrial) -> int:
        """Train a claimed trial until it ends or pauses; returns the epoch."""
        (stored,) = [t for t in self.trials() if t.number == trial.number]
        for step in range(len(stored.reports) + 1, EPOCHS + 1):
            value = trial.number / 100 + step
            if trainer.report(trial, step, value) and step < EPOCHS:
                trainer.finish(trial, TrialState.PAUSED, values=[value])
                return step
        trainer.finish(trial, values=[trial.number / 100 + EPOCHS])
        return EPOCHS

    def run(self, trainer: Trainer, served: ServedStudies) -> list[tuple[int, int]]:
        """Work until nothing is left; returns the number and last epoch of each attempt."""
        done = []
        while True:
            trial = trainer.claim()
            if trial is None:
                was_closing = trainer.search.promotions.is_closing
                served.finish_done()
                if was_closing or self.study().state is StudyState.FINISHED:
                    return done
                continue
            done.append((trial.number, self.train(trainer, trial)))

    def trials(self) -> list[Trial]:
        with self.database.statement() as connection:
            loaded: list[Trial] = feed.load(connection, self.id)
        return loaded

    def study(self) -> studies.Study:
        with self.database.statement() as connection:
            return studies.by_id(connection, self.id)


@pytest.fixture
def studio(database: Database, tmp_path: Path) -> Studio:
    return Studio(database, tmp_path)


def test_one_worker_serves_all_promotions_and_then_ends_the_study(studio: Studio) -> None:
    done = studio.run(*studio.worker())
    study, trials = studio.study(), studio.trials()
    assert (study.state, study.reason) == (StudyState.FINISHED, "all 10 trials are done")
    assert study.issued == len(trials) == 10
    reached = {t.number: t.reports[-1].step for t in trials}
    # values rise with the number: each third of the first nine goes on at once; so does the very
    # best at the end
    assert [n for n, step in reached.items() if step > 1] == [2, 5, 8, 9]
    assert reached[9] == EPOCHS
    assert {t.number for t in trials if t.state is TrialState.COMPLETE} >= {9}
    never = [t for t in trials if t.state is TrialState.PRUNED]
    assert {t.message for t in never} == {NEVER_PROMOTED}
    assert all(t.values == (t.reports[-1].value,) for t in never)
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(done) == len(set(done)), "no trial trains a rung twice"
    assert all([r.step for r in t.reports] == list(range(1, reached[t.number] + 1)) for t in trials)


def test_a_worker_that_starts_later_promotes_what_others_have_paused(studio: Studio) -> None:
    trainer, _ = studio.worker()
    values = {0: 0.9, 1: 0.5, 2: 0.4}
    for number, value in values.items():
        trial = trainer.claim()
        assert trial is not None
        assert trainer.report(trial, 1, value), "the best of three came first"
        trainer.finish(trial, TrialState.PAUSED, values=[value])
        assert trial.number == number
    for fresh in (studio.worker()[0], trainer):
        fresh.search.refresh()
        assert fresh.search.promotions.due == [0]
    promoted = studio.worker()[0].claim()
    assert promoted is not None
    assert (promoted.number, promoted.claim.promoted, promoted.claim.attempt) == (0, True, 2)
    for other in (studio.worker()[0], trainer):
        other.search.refresh()
        assert other.search.promotions.due == []
        drawn = other.claim()
        assert drawn is not None
        assert not drawn.claim.resumed


def test_many_workers_keep_the_budget_and_lose_no_promotion(
    database: Database, tmp_path: Path
) -> None:
    studio = Studio(database, tmp_path, trials=30)
    workers = [studio.worker() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [step for part in pool.map(lambda w: studio.run(*w), workers) for step in part]
    while studio.study().state is StudyState.ACTIVE:  # all have looked while others were at work
        done += studio.run(*studio.worker())
    trials = studio.trials()
    assert studio.study().issued == len(trials) == 30
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    at_least_3 = sum(len(t.reports) >= 3 for t in trials)
    assert 10 <= at_least_3 <= 10 + 4, "a third of 30; others knew late of each other's"
    assert len(done) == len(set(done))
    assert len(done) == sum(t.attempt for t in trials)


def test_a_pause_that_is_stored_late_ends_with_its_study(studio: Studio) -> None:
    trainer, _ = studio.worker()
    trial = trainer.claim()
    assert trial is not None
    trainer.report(trial, 1, 0.5)
    with studio.database.statement() as connection:
        assert serving.finish(connection, studio.id, "the target is reached")
    trainer.finish(trial, TrialState.PAUSED, values=[0.5])
    (stored,) = studio.trials()
    assert (stored.state, stored.message) == (TrialState.PRUNED, NEVER_PROMOTED)


def test_a_study_that_ended_without_a_result_says_why(database: Database) -> None:
    bench = Bench(database, "ended")
    pause(bench, bench.claim(), 1)
    with database.statement() as connection:
        study = studies.by_id(connection, bench.id)
    ended = replace(study, state=StudyState.FINISHED, reason="its hours are used up")
    with pytest.raises(NothingToExportError) as caught:
        reading.load_best(database, ended)
    assert str(caught.value) == (
        "the study `ended` has no complete trial, so there is no best one (1 paused); it is "
        "finished: its hours are used up"
    )


def test_a_target_ends_the_paused_trials(database: Database, tmp_path: Path) -> None:
    studio = Studio(database, tmp_path, "", trials=10)
    trainer, served = studio.worker()
    trainer.search._ending._budget = studio.spec.budget.model_copy(update={"target": 9.0})
    for _ in range(3):
        trial = trainer.claim()
        assert trial is not None
        studio.train(trainer, trial)
    trainer.search._ending._best = (-9.5, 2, 0.0)
    served.finish_done()
    assert studio.study().state is StudyState.FINISHED
    assert {t.state for t in studio.trials()} <= {TrialState.PRUNED, TrialState.COMPLETE}


def test_a_stopped_study_keeps_its_paused_trials_for_when_it_is_resumed(studio: Studio) -> None:
    trainer, _ = studio.worker()
    trial = trainer.claim()
    assert trial is not None
    studio.train(trainer, trial)
    steering.stop(studio.database, "promoting")
    assert trainer.claim() is None
    assert [t.state for t in studio.trials()] == [TrialState.PAUSED]
    steering.resume(studio.database, "promoting")
    studio.run(*studio.worker())
    assert studio.study().state is StudyState.FINISHED


def test_epochs_that_do_not_suffice_for_a_promotion_end_the_study(
    database: Database, tmp_path: Path
) -> None:
    studio = Studio(database, tmp_path)
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE tuner.studies SET max_epochs = 15, trial_epochs = 9 WHERE id = :id"),
            {"id": studio.id},
        )
    studio.run(*studio.worker())
    study = studio.study()
    assert study.state is StudyState.FINISHED
    assert study.reason is not None
    assert study.reason.startswith("its 15 epochs are used up")
    assert study.epochs_issued == sum(len(t.reports) for t in studio.trials()) <= 15


# Faults


def test_a_worker_that_dies_before_the_pause_is_stored_costs_no_decision(studio: Studio) -> None:
    trainer, _ = studio.worker()
    trial = trainer.claim()
    assert trial is not None
    assert trainer.report(trial, 1, 0.5)
    with studio.database.transaction() as connection:
        connection.execute(
            text("UPDATE tuner.trials SET lease_until = clock_timestamp() - interval '1 s'")
        )
        leases.reap(connection)
    other, _ = studio.worker()
    other.search.refresh()
    taken = other.claim()
    assert taken is not None
    assert taken.number == 1, "trial 0 is paused now, although its checkpoint may be of its rung"
    assert [t.state for t in studio.trials()] == [TrialState.PAUSED, TrialState.RUNNING]


def test_a_promoted_trial_whose_worker_dies_goes_on(studio: Studio) -> None:
    trainer, _ = studio.worker()
    for value in (0.9, 0.5, 0.4):
        trial = trainer.claim()
        assert trial is not None
        trainer.report(trial, 1, value)
        trainer.finish(trial, TrialState.PAUSED, values=[value])
    watching, _ = studio.worker()
    watching.search.refresh()
    assert trainer.claim() is not None
    watching.search.refresh()
    with studio.database.transaction() as connection:
        connection.execute(
            text("UPDATE tuner.trials SET lease_until = clock_timestamp() - interval '1 s'")
        )
        leases.reap(connection)
    for other in (watching, studio.worker()[0]):
        other.search.refresh()
        taken = other.claim()
        assert taken is not None
        assert (taken.number, taken.claim.promoted) == (0, False)
        other.finish(taken, TrialState.FAILED, cause=Cause.LOST)
        steering.retry(studio.database, "promoting", 0)


class Clock:
    """The monotonic clock as the search sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = promotions.time.monotonic
        monkeypatch.setattr(promotions.time, "monotonic", lambda: real() + self.ahead)


def test_a_trial_whose_checkpoint_is_elsewhere_is_left_to_others_for_a_while(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    trainer, _ = studio.worker()
    for value in (0.9, 0.5, 0.4):
        trial = trainer.claim()
        assert trial is not None
        trainer.report(trial, 1, value)
        trainer.finish(trial, TrialState.PAUSED, values=[value])
    elsewhere: Search = studio.worker()[0].search
    asked = []

    def reaches(number: int, attempt: int) -> bool:
        asked.append((number, attempt))
        return False

    elsewhere.promotions._reaches = reaches
    elsewhere.refresh()
    claimed = elsewhere.claim(uuid.uuid4(), 60.0)
    assert claimed is not None
    assert claimed.number == 3
    assert asked == [(0, 1)]
    clock.ahead = promotions.LEASES * 60.0
    claimed = elsewhere.claim(uuid.uuid4(), 60.0)
    assert claimed is not None
    assert (claimed.number, claimed.claim.promoted) == (0, True), "it starts over"
