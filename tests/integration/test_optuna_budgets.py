"""Budgets of trials that Optuna drives: counted as a worker's, never exceeded, clearly ended."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from sqlalchemy import text

import tuner
from tests.support import searching
from tests.support.waiting import STUCK
from tuner.commands import changing, reading, steering
from tuner.database.engine import Database
from tuner.errors import BadInputError, SpecError, StudyClosedError
from tuner.search.storage import Storage
from tuner.trials import StudyState, TrialState


@pytest.fixture
def sentences() -> Iterator[list[str]]:
    """What is logged of the ends of studies."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("optuna.tuner")
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    yield logged
    logger.removeHandler(handler)


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


def create(database: Database, **options: Any) -> Any:
    return tuner.create_study(study_name="notebook", storage=Storage(database), **options)


def stored(database: Database, name: str = "notebook") -> Any:
    return reading.find(database, name)


def launched(database: Database, **budget: Any) -> optuna.Study:
    """A study of tuner's own, of three trials, as Optuna sees it."""
    spec = searching.spec("launched", trials=3)
    changed = spec.budget.model_copy(update=budget)
    searching.launch(database, spec.model_copy(update={"budget": changed}))
    return optuna.load_study(study_name="launched", storage=Storage(database))


def test_a_launched_study_gives_optuna_no_more_than_its_budget(database: Database) -> None:
    study = launched(database)
    sentence = (
        r"^the study `launched` is finished \(all 3 trials are done\): "
        r"raise its budget with `tuner change launched budget.trials=4` or more to continue$"
    )
    with pytest.raises(StudyClosedError, match=sentence):
        study.optimize(objective, n_trials=4)
    with pytest.raises(StudyClosedError, match=sentence):
        study.ask()
    assert [t.state for t in study.trials] == [OptunaState.COMPLETE] * 3
    assert stored(database, "launched").issued == 3


def test_workers_and_optuna_share_a_budget(database: Database) -> None:
    study = launched(database)
    spec = searching.spec("launched", trials=3)
    worker = searching.Trainer(database, searching.search(database, study._study_id, spec))
    first = worker.claim()
    assert first is not None
    trial = study.ask()
    second = worker.claim()
    assert second is not None
    assert worker.claim() is None
    with pytest.raises(StudyClosedError, match=r"^all 3 trials of the study `launched` are given"):
        study.ask()
    worker.finish(first)
    worker.finish(second)
    assert stored(database, "launched").state is StudyState.ACTIVE  # one still runs
    study.tell(trial, 0.5)
    assert stored(database, "launched").reason == "all 3 trials are done"


def test_optimize_ends_with_its_budget(database: Database, sentences: list[str]) -> None:
    study = create(database, trials=5)
    study.optimize(objective, n_trials=100)
    assert len(study.trials) == 5
    assert sentences == [
        "the study `notebook` is finished (all 5 trials are done): "
        "raise its budget with `tuner change notebook budget.trials=6` or more to continue"
    ]
    changing.change(database, "notebook", ["budget.trials=6"])
    study.optimize(objective, n_trials=100)
    assert len(study.trials) == 6


def test_threads_end_with_their_budget(database: Database) -> None:
    study = create(database, trials=7)
    study.optimize(objective, n_trials=40, n_jobs=4)
    assert [t.state for t in study.trials] == [OptunaState.COMPLETE] * 7
    assert stored(database).reason == "all 7 trials are done"


def test_a_budget_is_kept_when_a_script_runs_again_and_grows_when_it_asks_for_more(
    database: Database,
) -> None:
    for trials, total in ((3, 3), (3, 3), (5, 5), (2, 5)):
        study = create(database, trials=trials, load_if_exists=True)
        study.optimize(objective, n_trials=10)
        assert len(study.trials) == total
        assert stored(database).state is StudyState.FINISHED
    create(database, load_if_exists=True)
    assert stored(database).max_trials == 5
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        create(database, trials=9)


@pytest.mark.parametrize("trials", [0, -1, 2.5, True, "many"])
def test_a_budget_is_a_number_of_trials(database: Database, trials: Any) -> None:
    with pytest.raises(
        BadInputError, match="trials: must be a whole number from 1 to 1,000,000, is"
    ):
        create(database, trials=trials)
    assert reading.list_studies(database) == []


def test_a_budget_may_be_numpys(database: Database) -> None:
    create(database, trials=np.int64(4))
    assert stored(database).max_trials == 4


def test_a_study_files_budget_is_changed_by_name(database: Database) -> None:
    launched(database)
    with pytest.raises(BadInputError, match=r"`tuner change launched budget\.trials=9` changes it"):
        tuner.create_study(
            study_name="launched", storage=Storage(database), trials=9, load_if_exists=True
        )
    assert stored(database, "launched").max_trials == 3


def test_trials_that_were_there_before_a_budget_count(database: Database) -> None:
    study = create(database)
    study.optimize(objective, n_trials=3)
    study.enqueue_trial({"x": 0.5})
    with database.transaction() as connection:  # as an older tuner stored it
        connection.execute(text("UPDATE tuner.studies SET issued = 0"))
    study = create(database, trials=5, load_if_exists=True)
    study.optimize(objective, n_trials=10)
    assert len(study.trials) == 5
    assert study.trials[3].params == {"x": 0.5}


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"dropout": 0.35}, r"^dropout: must be 0 plus a multiple of 0\.1, is 0\.35$"),
        ({"dropout": 99.0}, r"^dropout: must be between 0 and 0\.5, is 99$"),
        ({"dropout": "x"}, r"^dropout: must be a number, is the text `x`$"),
        ({"dropouts": 0.1}, r"^unknown parameter `dropouts`; did you mean `dropout`\?$"),
        ({"dropout": 0.2}, r"^is one of the forbidden combinations$"),
    ],
)
def test_what_optuna_enqueues_lies_in_the_space_of_the_study_file(
    database: Database, params: dict[str, Any], sentence: str
) -> None:
    more = (
        "search:\n  dropout: {low: 0.0, high: 0.5, step: 0.1}\n  depth: {low: 1, high: 3}\n"
        "forbidden:\n  - {dropout: 0.2}\n"
    )
    searching.launch(database, searching.spec("launched", more))
    study = optuna.load_study(study_name="launched", storage=Storage(database))
    study.enqueue_trial({"dropout": 3 * 0.1, "depth": np.int64(2)})
    with pytest.raises(SpecError, match=sentence):
        study.enqueue_trial(params)
    assert [t.system_attrs["fixed_params"] for t in study.trials] == [{"dropout": 0.3, "depth": 2}]


def test_what_is_enqueued_takes_its_unit_when_it_starts(database: Database) -> None:
    study = create(database, trials=2)
    for x in (0.1, 0.2, 0.3):
        study.enqueue_trial({"x": x})
    study.optimize(objective, n_trials=10)
    assert [t.state for t in study.trials] == [
        OptunaState.COMPLETE,
        OptunaState.COMPLETE,
        OptunaState.WAITING,
    ]
    changing.change(database, "notebook", ["budget.trials=3"])
    study.optimize(objective, n_trials=10)
    assert [t.params["x"] for t in study.trials] == [0.1, 0.2, 0.3]


def test_what_is_enqueued_beyond_the_budget_is_noted(
    database: Database, sentences: list[str]
) -> None:
    study = create(database, trials=1)
    study.enqueue_trial({"x": 0.5})
    assert sentences == []
    study.enqueue_trial({"x": 0.25})
    assert sentences == [
        "the budget leaves out 1 queued configuration: `tuner change notebook budget.trials=2` "
        "includes it"
    ]


def test_a_trial_that_is_tried_again_is_the_same_one(database: Database) -> None:
    study = create(database, trials=2)

    def failing(trial: optuna.Trial) -> float:
        trial.suggest_float("x", -1, 1)
        raise ValueError

    study.optimize(failing, n_trials=2, catch=ValueError)
    assert steering.retry(database, "notebook") == [0, 1]
    assert stored(database).state is StudyState.ACTIVE
    study.optimize(objective, n_trials=10)
    assert [t.state for t in study.trials] == [OptunaState.COMPLETE] * 2


def test_a_trial_that_is_added_takes_a_unit_in_any_state(database: Database) -> None:
    study = create(database, trials=2)
    complete = optuna.trial.create_trial(value=1.0)
    study.add_trial(complete)
    steering.pause(database, "notebook")
    study.add_trial(complete)  # it runs nowhere
    with pytest.raises(StudyClosedError, match="is paused"):
        study.add_trial(complete)
    steering.resume(database, "notebook")
    with pytest.raises(StudyClosedError, match=r"all 2 trials are done.*budget\.trials=3"):
        study.add_trial(complete)
    assert len(study.trials) == 2


@pytest.mark.parametrize(
    ("steer", "sentence"),
    [
        (steering.pause, "the study `notebook` is paused (paused by the user)"),
        (steering.stop, "the study `notebook` is stopped (stopped by the user)"),
    ],
)
def test_pausing_ends_what_optimizes(
    database: Database, sentences: list[str], steer: Any, sentence: str
) -> None:
    study = create(database)
    study.enqueue_trial({"x": 0.5})

    def steered(trial: optuna.Trial) -> float:
        if trial.number == 1:
            steer(database, "notebook")
            study.enqueue_trial({"x": 0.25})  # not even that
        return objective(trial)

    study.optimize(steered, n_trials=10)
    goes_on = ": continue it with `tuner resume notebook`"
    assert sentences == [sentence + goes_on]
    states = [t.state for t in study.trials]
    assert states == [OptunaState.COMPLETE, OptunaState.COMPLETE, OptunaState.WAITING]
    steering.resume(database, "notebook")
    study.optimize(objective, n_trials=1)
    assert study.trials[2].params == {"x": 0.25}


def test_epochs_are_reserved_and_what_was_not_reported_is_given_back(database: Database) -> None:
    study = launched(database, trials=9, total_epochs=25, epochs=10)
    first, second = study.ask(), study.ask()
    with pytest.raises(StudyClosedError, match=r"^the 25 epochs of the study `launched` leave 5,"):
        study.ask()
    for step in range(4):  # Optuna's users count from 0
        first.report(0.5, step)
    study.tell(first, 0.5)
    assert stored(database, "launched").epochs_issued == 4 + 10
    for step in range(1, 40):  # more than a trial may report
        second.report(0.5, step)
    study.tell(second, 0.5)
    assert stored(database, "launched").epochs_issued == 4 + 10
    study.tell(study.ask(), 0.5)
    study.tell(study.ask(), state=OptunaState.FAIL)
    assert stored(database, "launched").epochs_issued == 4 + 10


def test_seconds_are_counted_when_a_trial_ends(database: Database) -> None:
    study = launched(database, gpu_seconds=5000.0)
    trial = study.ask()
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE tuner.trials SET started_at = started_at - interval '4000 seconds'")
        )
    study.tell(trial, 0.5)
    assert stored(database, "launched").seconds_issued == pytest.approx(4000.0, abs=90.0)
    trial = study.ask()
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE tuner.trials SET started_at = started_at - interval '4000 seconds'")
        )
    study.tell(trial, 0.5)
    assert stored(database, "launched").seconds_issued == 5000.0
    assert stored(database, "launched").reason == "its 5000 GPU seconds are used up"
    with pytest.raises(StudyClosedError, match=r"budget\.gpu_seconds=N` to continue$"):
        study.ask()


def test_a_target_ends_what_optuna_optimizes(database: Database) -> None:
    launched(database, trials=9, target=0.75)  # of an accuracy
    study = tuner.load_study("launched", storage=Storage(database))
    study.optimize(lambda trial: trial.number / 4, n_trials=9)
    assert len(study.trials) == 4
    assert stored(database, "launched").reason == "trial 3 reached the target 0.75 with 0.75"
    changing.change(database, "launched", ["budget.target=null", "budget.patience=2"])
    study.optimize(lambda _: 0.5, n_trials=9)
    assert len(study.trials) == 6
    assert stored(database, "launched").state is StudyState.FINISHED


def test_no_trial_starts_after_the_hours(database: Database) -> None:
    study = launched(database, hours=0.0)
    with pytest.raises(StudyClosedError, match=r"\(its hours are used up\).*budget\.hours=N`"):
        study.ask()
    assert stored(database, "launched").state is StudyState.FINISHED


def test_a_dead_processs_trial_can_be_killed_and_the_study_ends(database: Database) -> None:
    study = create(database, trials=2)
    study.ask()
    study.optimize(objective, n_trials=10)
    assert stored(database).state is StudyState.ACTIVE
    steering.kill(database, "notebook", 0, by="test")
    assert stored(database).reason == "all 2 trials are done"
    assert [t.state for t in reading.load_trials(database, stored(database))] == [
        TrialState.FAILED,
        TrialState.COMPLETE,
    ]


PROCESSES, TRIALS = 6, 40
SCRIPT = f"""
import sys
import optuna, tuner

study = tuner.create_study(study_name="notebook", trials={TRIALS}, load_if_exists=True)
print("ready", flush=True)
sys.stdin.readline()
study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=1000)
"""


def test_many_processes_share_a_budget_to_the_trial(
    database: Database, environment: dict[str, str]
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ends = [process.communicate("go\n", timeout=STUCK)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    for end in ends:
        assert "Traceback" not in end
        assert end.count(f"budget.trials={TRIALS + 1}` or more to continue") == 1
    study = stored(database)
    assert (study.state, study.issued) == (StudyState.FINISHED, TRIALS)
    trials = reading.load_trials(database, study)
    assert [t.number for t in trials] == list(range(TRIALS))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
