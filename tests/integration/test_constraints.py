"""Several objectives and constraints, from one worker's reports to another worker's decisions."""

import math
from pathlib import Path

import optuna
import pytest
from fastapi.testclient import TestClient

from tests.support.searching import Trainer, launch, search, spec
from tuner import shell
from tuner.commands import reading
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Board
from tuner.database import studies
from tuner.database.engine import Database
from tuner.database.readers.live import LiveTrials
from tuner.errors import NothingToExportError
from tuner.search.storage import Storage
from tuner.settings import Settings
from tuner.trials import TrialState
from tuner.winner import choice

TWO = "objective: {metric: [accuracy, latency]}\npruner: {startup_trials: 3}\n"
BOUNDED = "constraints: {latency: {below: 5}, accuracy: {above: 0.5}}\n"


@pytest.mark.parametrize("reload", [False, True], ids=["as they come", "in columns"])
def test_a_rung_compares_all_objectives_of_all_workers(database: Database, reload: bool) -> None:
    of = spec(more=TWO)
    study_id = launch(database, of)
    others = Trainer(database, search(database, study_id, of))
    mine = Trainer(database, search(database, study_id, of))
    mine.search.refresh()
    for accuracy, latency in ((0.9, 9.0), (0.8, 8.0), (0.5, 5.0)):
        trial = others.claim()
        assert trial is not None
        others.report(trial, 1, accuracy, latency=latency)
        if reload:
            others.finish(trial, TrialState.PRUNED, values=[accuracy])
    if reload:
        mine = Trainer(database, search(database, study_id, of))
    mine.search.refresh()
    fast, beaten = mine.claim(), mine.claim()
    assert fast is not None
    assert beaten is not None
    assert not mine.report(fast, 1, 0.1, latency=1.0)  # the fastest, however wrong
    assert mine.report(beaten, 1, 0.49, latency=5.5)


@pytest.mark.parametrize("reload", [False, True], ids=["as they come", "in columns"])
def test_a_rung_puts_what_violates_a_constraint_last(database: Database, reload: bool) -> None:
    of = spec(more=BOUNDED + "pruner: {startup_trials: 2}\n")
    study_id = launch(database, of)
    others = Trainer(database, search(database, study_id, of))
    mine = Trainer(database, search(database, study_id, of))
    mine.search.refresh()
    for accuracy, latency in ((0.99, 6.0), (0.98, 7.0), (0.6, 4.0)):
        trial = others.claim()
        assert trial is not None
        others.report(trial, 1, accuracy, latency=latency)
        if reload:
            others.finish(trial, TrialState.PRUNED, values=[accuracy])
    if reload:
        mine = Trainer(database, search(database, study_id, of))
    mine.search.refresh()
    slow, feasible = mine.claim(), mine.claim()
    assert slow is not None
    assert feasible is not None
    assert mine.report(slow, 1, 1.0, latency=5.5)
    assert not mine.report(feasible, 1, 0.7, latency=4.9)


def test_what_violates_a_constraint_is_stored_and_never_the_best(database: Database) -> None:
    of = spec(more=BOUNDED)
    study_id = launch(database, of)
    trainer = Trainer(database, search(database, study_id, of))
    violating = {"latency below 5": 0.2, "size": 3.0}
    for value, constraints in ((0.9, violating), (0.8, {"latency below 5": math.inf})):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial, values=[value], constraints=constraints)
    with database.statement() as connection:
        study = studies.by_id(connection, study_id)
    sentence = r"trial 0 is nearest.* latency below 5 by 20 %"
    with pytest.raises(NothingToExportError, match=sentence) as caught:
        reading.load_best(database, study)
    export = shell.command("export", study.name, options=("--trial", "0"))
    assert str(caught.value).endswith(f" `{export}` exports it all the same")

    trial = trainer.claim()
    assert trial is not None
    trainer.finish(trial, values=[0.6], constraints={"latency below 5": -0.4})
    first, second, third = reading.load_trials(database, study)
    assert first.constraints == violating
    assert first.violation == 3.2
    assert [t.violates_constraint for t in (first, second, third)] == [True, True, False]
    assert reading.load_best(database, study).number == 2
    assert [t.number for t in choice.select_leading((first, second, third), study, 5)] == [2]
    live = LiveTrials(study_id, study.directions)
    with database.statement() as connection:
        live.refresh(connection)
    assert live.feasible.tolist() == [False, False, True]
    assert [t.constraints for t in live.trials(range(3))] == [
        t.constraints for t in (first, second, third)
    ]
    # in Optuna's words, and for the samplers of a worker that has only just started
    assert Storage(database).get_trial(first.id).constraints == violating
    fresh = search(database, study_id, of)
    fresh.refresh()
    assert [t.constraints for t in fresh._history.trials] == [
        t.constraints for t in (first, second, third)
    ]


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_samplers_go_on_after_trials_with_several_objectives_were_pruned(
    database: Database, sampler: str
) -> None:
    of = spec(more=f"{TWO}sampler: {{name: {sampler}, startup_trials: 3}}\n")
    study_id = launch(database, of)
    trainer = Trainer(database, search(database, study_id, of))
    for number in range(8):
        trial = trainer.claim()
        assert trial is not None
        trainer.report(trial, 1, number / 10, latency=1.0)
        if number % 4:
            trainer.finish(trial, TrialState.PRUNED, values=[number / 10], pruned_after=1)
        else:
            trainer.finish(trial, values=[number / 10, 1.0])
    fresh = Trainer(database, search(database, study_id, of))
    claimed = fresh.claim()
    assert claimed is not None
    # Optuna's own samplers, in a notebook, as well
    study = optuna.load_study(
        study_name=of.name, storage=Storage(database), sampler=optuna.samplers.TPESampler(seed=0)
    )
    study.sampler._n_startup_trials = 3  # type: ignore[attr-defined]
    assert study.ask().suggest_float("learning_rate", 1e-4, 1e-1, log=True) > 0
    with database.statement() as connection:
        trials = reading.load_trials(database, studies.by_id(connection, study_id))
    assert not any(t.violates_constraint for t in trials)  # a pruned trial violates none


def test_the_pages_say_that_no_trial_is_feasible_and_draw_the_hypervolume(
    database: Database, tmp_path: Path
) -> None:
    more = "objective: {metric: [accuracy, latency], reference: {accuracy: 0.5, latency: 9}}\n"
    of = spec(more=more + BOUNDED)
    study_id = launch(database, of)
    trainer = Trainer(database, search(database, study_id, of))
    trial = trainer.claim()
    assert trial is not None
    trainer.finish(trial, values=[0.9, 6.0], constraints={"latency below 5": 0.2000000001})
    board = Board(database, Settings(home=tmp_path / "home"))
    headers = board.access.secret.header
    client = TestClient(create_app(board), base_url="http://localhost", headers=headers)
    overview = client.get(f"/studies/{study_id}/overview").text
    assert "no feasible trial: the only complete trial violates a constraint" in overview
    page = client.get(f"/studies/{study_id}/trials/0").text
    assert "latency below 5 by 20 %" in page
    assert "<dt>latency below 5</dt><dd>0.2</dd>" in page
    assert '<p class="detail">latency 6</p>' in page  # the second objective
    assert "it misses latency below 5 by 20 %" in client.get(f"/studies/{study_id}/export").text
    figure = client.get(f"/api/v1/studies/{study_id}/figures/hypervolume").json()
    assert figure["table"]["rows"] == [["1", "0"]]
    assert "Reference point: accuracy 0.5, latency 9." in figure["caption"]
