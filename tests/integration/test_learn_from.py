"""`learn_from`: what a study takes from earlier ones, and keeps whatever happens to them."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from fastapi.testclient import TestClient

from tests.support.commands import answer, tuner
from tests.support.searching import LEASE, Trainer, search, spec
from tests.support.waiting import eventually
from tuner.commands import launching, learning, reading
from tuner.commands.preparing import PreparedStudy
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Board
from tuner.database import studies
from tuner.database.engine import Database
from tuner.errors import SpecError
from tuner.origin import EXPECTED
from tuner.search.storage import Storage
from tuner.search.warm_start.past_study import WarmStart
from tuner.settings import Settings
from tuner.study_file.resolved import ResolvedSpec

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

RATE = "search: {learning_rate: {low: 1e-5, high: 1}}\nsampler: random\n"


def value(params: Any) -> float:
    """Best at a learning rate of 0.01."""
    return 1 - abs(math.log10(params["learning_rate"]) + 2) / 10


def of(name: str, more: str = "") -> ResolvedSpec:
    return spec(name, RATE + more)


def run(database: Database, study: ResolvedSpec, data: str = "data", trials: int = 12) -> Trainer:
    """Launch a study on some data, as a study file does, and train some trials."""
    learned, _ = learning.learn(database, study, data)
    prepared = PreparedStudy(study, data, {}, learned=learned)
    study_id = launching.launch(database, prepared).study.id
    trainer = Trainer(database, search(database, study_id, study))
    for _ in range(trials):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial, values=[value(trial.params)])
    return trainer


def names(database: Database, study: ResolvedSpec, data: str = "new") -> list[str]:
    """The studies that it would learn from."""
    learned, _ = learning.learn(database, study, data)
    if learned is None:
        return []
    return [past.name for past in WarmStart.from_text(learned).studies]


def test_a_study_starts_with_the_best_of_an_earlier_one_and_outlives_it(database: Database) -> None:
    old = run(database, of("old"))
    new = of("new", "learn_from: old")
    trainer = run(database, new, "other data", trials=0)
    with database.transaction() as connection:
        studies.delete(connection, old.search.study.id)

    first = trainer.claim()

    assert first is not None
    (learned,) = learning.load_learned(database, trainer.search.study)
    assert (learned.study, learned.trials, learned.total) == ("old", 12, 12)
    assert learned.weight is None
    assert len(learned.portfolio) == 5
    assert value(first.params) > 0.9
    with database.statement() as connection:
        study = studies.by_name(connection, "new")
    other = Trainer(database, search(database, study.id, new))
    trainer.finish(first, values=[value(first.params)])
    other.search.refresh()
    trainer.search.refresh()
    again = trainer.search._proposer.propose(4)
    assert again.origin.study == "old"
    assert other.search._proposer.propose(4) == again


def test_a_sampler_by_class_starts_with_earlier_studies_and_priors_too(database: Database) -> None:
    run(database, of("old"))
    file = RATE.replace("1}", "1, prior: 0.5}").replace("random", "'optuna.samplers:TPESampler'")
    trainer = run(database, spec("new", f"{file}learn_from: old"), "other data", trials=0)
    numbers = range(5)
    trials = {number: trainer.claim() for number in numbers}

    def are_drawn() -> bool:
        trainer.search.advance(trainer.id, LEASE)
        return all(trial is not None and trainer.search.drawn(trial) for trial in trials.values())

    eventually(are_drawn)
    trainer.search.close()
    stored = reading.load_trials(database, reading.find(database, "new"))
    origins = [trial.origin for trial in stored]
    kinds = [None if origin is None else origin.kind for origin in origins]
    assert kinds == ["portfolio", "model", "model", "random", "portfolio"]
    assert all(o is not None and o.study == "old" for o in (origins[0], origins[4]))
    assert origins[3] is not None
    assert origins[3].reason == EXPECTED
    assert stored[3].params["learning_rate"] > 0.01  # near the value that is expected


@pytest.mark.parametrize("name", ["GridSampler", "BruteForceSampler"])
def test_optunas_grids_refuse_what_they_would_not_try(name: str) -> None:
    file = f"""
search: {{depth: {{value: 1}}, learning_rate: {{low: 1e-5, high: 1, prior: 1e-3}}}}
sampler: 'optuna.samplers:{name}'
learn_from: old
"""
    with pytest.raises(SpecError) as raised:
        spec("new", file)

    sentence = f"has no meaning with `sampler: optuna.samplers:{name}`, which tries its own points"
    assert f"learn_from: {sentence}" in str(raised.value)
    assert f"search.learning_rate.prior: {sentence}" in str(raised.value)


def test_weights_follow_from_the_trials(database: Database) -> None:
    run(database, of("old"), trials=20)
    trainer = run(database, of("new", "learn_from: [old]"), "other data", trials=12)

    (learned,) = learning.load_learned(database, trainer.search.study)

    assert learned.weight is not None
    assert 0 <= learned.weight <= 1


def test_auto_takes_studies_of_the_same_family_and_metric_on_other_data(
    database: Database,
) -> None:
    run(database, of("related"), "a")
    run(database, of("same data"), "new")
    run(database, of("other metric", "objective: {metric: f1_macro}\n"), "a")
    run(database, of("too short"), "a", trials=2)
    run(database, of("related-confirm"), "a")

    assert names(database, of("x", "learn_from: auto")) == ["related"]
    assert names(database, of("x", "learn_from: [same data, other metric]")) == [
        "same data",
        "other metric",
    ]


def test_nothing_related_is_said(database: Database) -> None:
    learned, notes = learning.learn(database, of("x", "learn_from: auto"), "data")

    assert learned is None
    assert notes == (
        "learn_from: no other study of `cnn` by accuracy on other data has 5 trials with a result, "
        "so this one starts from nothing",
    )


def test_what_cannot_teach_is_refused(database: Database) -> None:
    run(database, of("empty"), trials=0)
    unrelated = Storage(database)
    _optuna_study(unrelated, "unrelated", "depth_of_trees")

    with pytest.raises(SpecError) as raised:
        learning.learn(database, of("x", "learn_from: [emtpy, empty, unrelated]"), "data")

    assert [(issue.loc, issue.message) for issue in raised.value.issues] == [
        (
            ("learn_from", 0),
            "there is no study named `emtpy`; did you mean `empty`?",
        ),
        (("learn_from", 1), "the study `empty` has no trial with a result yet"),
        (
            ("learn_from", 2),
            "the study `unrelated` searched depth_of_trees: it has no parameter in common with "
            "this one",
        ),
    ]


def _optuna_study(storage: Storage, name: str, parameter: str) -> None:
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_metric_names(["accuracy"])

    def objective(trial: optuna.Trial) -> float:
        return value({"learning_rate": trial.suggest_float(parameter, 1e-4, 0.1, log=True)})

    study.optimize(objective, n_trials=8)


def test_studies_of_optuna_teach_as_well(database: Database) -> None:
    _optuna_study(Storage(database), "from optuna", "learning_rate")

    learned, notes = learning.learn(database, of("x", "learn_from: from optuna"), "data")

    assert learned is not None
    assert notes[0] == (
        "learns from `from optuna` (8 trials), and tries 5 configurations of theirs"
    )
    assert "was not searched there" in notes[1] or "were not searched there" in notes[1]
    # `auto` asks for all parameters of this study
    assert names(database, of("x", "learn_from: auto")) == []


def test_a_study_that_exists_keeps_what_it_learned(database: Database) -> None:
    run(database, of("old"))
    run(database, of("new", "learn_from: auto"), "other", trials=0)
    run(database, of("later"), "third")

    assert learning.learn(database, of("new", "learn_from: auto"), "other") == (None, ())
    with database.statement() as connection:
        study = studies.by_name(connection, "new")
    assert [source.study for source in learning.load_learned(database, study)] == ["old"]


def test_show_says_what_was_learned(
    database: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    run(database, of("old"))
    run(database, of("new", "learn_from: old"), "other", trials=1)

    text = tuner("show", "new", environment=environment, cwd=tmp_path).stdout
    record = answer("show", "new", environment=environment, cwd=tmp_path)

    assert "learned from: the weight is how well a study ranks the trials here so far" in text
    assert record["learned_from"][0]["study"] == "old"
    assert record["learned_from"][0]["weight"] is None
    assert len(record["learned_from"][0]["portfolio"]) == 5


def test_the_dashboard_says_what_was_learned(database: Database, tmp_path: Path) -> None:
    run(database, of("old"))
    trainer = run(database, of("new", "learn_from: old"), "other", trials=1)
    board = Board(database, Settings(home=tmp_path / "home"))
    client = TestClient(create_app(board), base_url="http://localhost")
    client.headers |= board.access.secret.header
    here = trainer.search.study.id

    (record,) = client.get(f"/api/v1/studies/{here}/learned").json()
    page = client.get(f"/studies/{here}/configuration").text

    assert (record["study"], record["trials"], record["weight"]) == ("old", 12, None)
    assert record["differences"] == []
    assert "Learned from" in page
    assert "unknown yet" in page
    assert client.get(f"/api/v1/studies/{here - 1}/learned").json() == []
