"""Changing limits, enqueueing, retrying: a study goes on only where there is something to try."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

import tuner
from tests.support import searching
from tests.support.waiting import eventually
from tuner.commands import changing, launching, preparing, reading, steering
from tuner.database import serving, studies
from tuner.database.engine import Database
from tuner.database.optuna import writes
from tuner.errors import SpecError, StudyStateError
from tuner.search.storage import Storage
from tuner.trials import StudyState, TrialState


def launched(database: Database, finished: int, **budget: Any) -> searching.Trainer:
    """A study of which so many trials have failed, the last of them or all but with 0.5."""
    spec = searching.spec("s", trials=3)
    spec = spec.model_copy(update={"budget": spec.budget.model_copy(update=budget)})
    study_id = searching.launch(database, spec)
    trainer = searching.Trainer(database, searching.search(database, study_id, spec))
    for number in range(finished):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial, TrialState.COMPLETE if number else TrialState.FAILED)
    finish(database)
    return trainer


def finish(database: Database, *, reason: str | None = None) -> None:
    """What a worker does that gets nothing; `reason`: that the target is reached."""
    with database.statement() as connection:
        study = studies.by_name(connection, "s")
        if reason is None:
            serving.finish_if_done(connection, [study.id], lease=searching.LEASE)
        else:
            allowed = [StudyState.ACTIVE]
            studies.set_state(
                connection, study.id, StudyState.FINISHED, allowed=allowed, reason=reason
            )


def now(database: Database) -> tuple[StudyState, int | None, Any]:
    """State, the budget of trials that claims obey and the one that the specification says."""
    study = reading.find(database, "s")
    trials = None if study.spec is None else study.spec["budget"]["trials"]
    return study.state, study.max_trials, trials


def test_a_smaller_budget_does_not_reopen_a_finished_study(database: Database) -> None:
    launched(database, 3)
    result = changing.change(database, "s", ["budget.trials=2"])
    assert result.changes == ()
    assert result.notes == (
        "budget.trials cannot be 2: 3 given out already",
        "the study stays finished: all 3 trials are done",
    )
    assert now(database) == (StudyState.FINISHED, 3, 3)


def test_a_budget_below_what_is_given_out_becomes_that_and_ends_the_study(
    database: Database,
) -> None:
    launched(database, 2, trials=9)
    result = changing.change(database, "s", ["budget.trials=1"])
    assert result.changes == ("budget.trials: 9 → 2",)
    assert result.notes == ("budget.trials cannot be 1: 2 given out already",)
    assert now(database) == (StudyState.FINISHED, 2, 2)


def test_what_gives_no_trial_does_not_reopen(database: Database) -> None:
    launched(database, 3)
    result = changing.change(database, "s", ["resources.priority=3"])
    assert result.changes == ("resources.priority: 0 → 3",)
    assert result.notes == ("the study stays finished: all 3 trials are done",)
    result = changing.change(database, "s", ["budget.hours=5"])
    assert now(database) == (StudyState.FINISHED, 3, 3)
    result = changing.change(database, "s", ["budget.trials=4"])
    assert (result.changes, result.notes) == (("budget.trials: 3 → 4",), ())
    assert now(database) == (StudyState.ACTIVE, 4, 4)


def test_more_trials_do_not_reopen_a_study_that_has_reached_its_target(database: Database) -> None:
    launched(database, 2, target=0.4)
    finish(database, reason="trial 1 reached the target 0.4 with 0.5")
    result = changing.change(database, "s", ["budget.trials=9"])
    assert result.notes == (
        "the study stays finished: trial 1 reached the target 0.4 with 0.5: remove that limit with "
        "`tuner change s budget.target=null` to continue",
    )
    changing.change(database, "s", ["budget.target=0.9"])
    assert now(database) == (StudyState.ACTIVE, 9, 9)


def test_running_a_file_with_a_smaller_budget_is_no_reason_to_go_on(database: Database) -> None:
    trainer = launched(database, 3)
    budget = trainer.search.spec.budget.model_copy(update={"trials": 2})
    prepared = preparing.PreparedStudy(
        trainer.search.spec.model_copy(update={"budget": budget}), None, {}
    )
    again = launching.launch(database, prepared, resume=True)
    assert again.notes == (
        "budget.trials cannot be 2: 3 given out already",
        "the study stays finished: all 3 trials are done",
    )
    assert now(database) == (StudyState.FINISHED, 3, 3)


def test_what_would_never_be_tried_is_not_queued(database: Database) -> None:
    trainer = launched(database, 2)
    running = trainer.claim()
    refused = (
        r"^all 3 trials of the study `s` are given out, so this one would not be tried: extend the "
        r"budget for it with `--extend`, or `tuner change s budget\.trials=4`$"
    )
    with pytest.raises(StudyStateError, match=refused):
        steering.enqueue(database, "s", {})
    assert running is not None
    trainer.finish(running)
    finish(database)
    with pytest.raises(StudyStateError, match=refused):
        steering.enqueue(database, "s", {})
    assert len(reading.load_trials(database, reading.find(database, "s"))) == 3
    assert steering.enqueue(database, "s", {}, extend=True) == 3
    assert now(database) == (StudyState.ACTIVE, 4, 4)
    with pytest.raises(StudyStateError, match=r"budget\.trials=5`$"):
        steering.enqueue(database, "s", {})
    trial = trainer.claim()
    assert trial is not None
    assert trial.number == 3
    trainer.finish(trial)
    finish(database)
    assert reading.find(database, "s").reason == "all 4 trials are done"


WAITING_FOR_A_LOCK = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def test_what_is_queued_while_the_last_unit_is_claimed_knows_of_it(database: Database) -> None:
    launched(database, 2)
    study_id = reading.find(database, "s").id

    def is_waiting() -> bool:
        with database.statement() as connection:
            return bool(connection.execute(WAITING_FOR_A_LOCK).scalar_one())

    with ThreadPoolExecutor(1) as other:
        with database.transaction() as connection:
            assert writes.create(connection, study_id, TrialState.RUNNING, starts_now=True)
            queued = other.submit(steering.enqueue, database, "s", {})
            eventually(is_waiting)
        with pytest.raises(StudyStateError, match=r"^all 3 trials .*budget\.trials=4`$"):
            queued.result()
    assert len(reading.load_trials(database, reading.find(database, "s"))) == 3


def test_a_retried_trial_needs_no_unit_whatever_else_is_queued(database: Database) -> None:
    trainer = launched(database, 2)
    steering.enqueue(database, "s", {})
    changing.change(database, "s", ["budget.trials=2"])
    assert now(database) == (StudyState.FINISHED, 2, 2)
    assert steering.retry(database, "s") == [0]
    assert now(database)[0] is StudyState.ACTIVE
    trial = trainer.claim()
    assert trial is not None
    assert trial.number == 0
    assert trainer.claim() is None  # what was enqueued has no unit
    trainer.finish(trial)
    finish(database)
    assert now(database)[0] is StudyState.FINISHED


def test_a_smaller_budget_says_what_it_leaves_in_the_queue(database: Database) -> None:
    launched(database, 1)
    for _ in range(2):
        steering.enqueue(database, "s", {})
    note = "the budget leaves out {}: `tuner change s budget.trials=3` includes {}"
    result = changing.change(database, "s", ["budget.trials=2"])
    assert result.notes == (note.format("1 queued configuration", "it"),)
    result = changing.change(database, "s", ["budget.trials=1"])
    assert result.notes == (note.format("2 queued configurations", "all of them"),)
    result = changing.change(database, "s", ["budget.trials=3"])
    assert (result.study.state, result.notes) == (StudyState.ACTIVE, ())


def test_what_has_ended_a_study_is_named_with_the_setting_that_lifts_it(database: Database) -> None:
    launched(database, 2, target=0.4, patience=7)
    finish(database, reason="trial 1 reached the target 0.4 with 0.5")
    with pytest.raises(StudyStateError) as refused:
        steering.resume(database, "s")
    assert str(refused.value) == (
        "the study `s` is finished (trial 1 reached the target 0.4 with 0.5); only paused or "
        "stopped studies can be resumed: remove these limits with `tuner change s "
        "budget.target=null budget.patience=null` to continue"
    )
    changing.change(database, "s", ["budget.target=null", "budget.patience=null"])
    assert now(database)[0] is StudyState.ACTIVE


def test_what_is_queued_of_a_paused_study_waits_for_it(database: Database) -> None:
    launched(database, 1)
    steering.pause(database, "s")
    assert steering.enqueue(database, "s", {}) == 1
    assert steering.retry(database, "s") == [0]
    assert now(database)[0] is StudyState.PAUSED


def test_queueing_does_not_reopen_what_has_reached_its_target(database: Database) -> None:
    launched(database, 2, target=0.4)
    finish(database, reason="trial 1 reached the target 0.4 with 0.5")
    reached = r"^trial 1 reached the target 0\.4 with 0\.5: remove that limit with `tuner ch"
    for queue in (steering.retry, lambda *of: steering.enqueue(*of, {}, extend=True)):
        with pytest.raises(StudyStateError, match=reached):
            queue(database, "s")
    trials = reading.load_trials(database, reading.find(database, "s"))
    assert [t.state for t in trials] == [TrialState.FAILED, TrialState.COMPLETE]


def test_a_retried_trial_needs_what_it_lacks(database: Database) -> None:
    launched(database, 3)
    changing.change(database, "s", ["budget.hours=1e-9"])
    hours = r"^the hours of the study `s` are over: raise its budget with `tuner change s bu"
    with pytest.raises(StudyStateError, match=hours):
        steering.retry(database, "s")
    assert now(database)[0] is StudyState.FINISHED
    changing.change(database, "s", ["budget.hours=null"])
    assert now(database)[0] is StudyState.FINISHED
    assert steering.retry(database, "s", 0) == [0]  # it has its unit of the budget
    assert now(database) == (StudyState.ACTIVE, 3, 3)


def test_a_finished_study_is_not_resumed_but_extended(database: Database) -> None:
    launched(database, 3)
    sentence = (
        r"^the study `s` is finished \(all 3 trials are done\); only paused or stopped studies can "
        r"be resumed: raise its budget with `tuner change s budget\.trials=4` or more to continue$"
    )
    with pytest.raises(StudyStateError, match=sentence):
        steering.resume(database, "s")


def test_a_study_of_optuna_has_a_budget_of_trials_alone(database: Database) -> None:
    study = tuner.create_study(study_name="s", storage=Storage(database))
    study.optimize(lambda trial: trial.number, n_trials=2)
    result = changing.change(database, "s", ["budget.trials=1"])
    assert result.changes == ("budget.trials: not set → 2",)
    assert result.notes == ("budget.trials cannot be 1: 2 given out already",)
    assert now(database) == (StudyState.FINISHED, 2, None)
    assert steering.enqueue(database, "s", {"x": 1}, extend=True) == 2
    assert now(database) == (StudyState.ACTIVE, 3, None)
    assert changing.change(database, "s", ["budget.trials=null"]).changes == (
        "budget.trials: 3 → not set",
    )
    with pytest.raises(SpecError, match=r"`budget\.hours` cannot be changed: the study was made"):
        changing.change(database, "s", ["budget.hours=3"])
    with pytest.raises(SpecError, match=r"^budget\.trials: "):
        changing.change(database, "s", ["budget.trials=0"])


def test_what_is_left_of_a_budget_is_said(database: Database) -> None:
    launched(database, 0, epochs=10, total_epochs=25, gpu_seconds=100.0)
    for column, value, sentence in (
        ("epochs_issued", 22, "the 25 epochs of the study `s` leave 3, too few for another trial"),
        ("epochs_issued", 25, "the 25 epochs of the study `s` are given out"),
        ("seconds_issued", 94, "the 100 GPU seconds of the study `s` leave 6.0, too few for anoth"),
        ("seconds_issued", 100, "the 100 GPU seconds of the study `s` are given out"),
    ):
        with database.transaction() as connection:
            connection.execute(text("UPDATE tuner.studies SET epochs_issued = 0"))
            connection.execute(text(f"UPDATE tuner.studies SET {column} = {value}"))
        with pytest.raises(StudyStateError, match=f"^{sentence}"):
            steering.enqueue(database, "s", {})
