"""Small spaces: each configuration once, by however many workers, and then the study ends."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import searching
from tests.support.searching import Trainer
from tuner.commands import changing, preparing, reading, steering
from tuner.database import leases, serving, studies
from tuner.database.engine import Database
from tuner.errors import StudyStateError
from tuner.settings import settings
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.space import Space
from tuner.trials import Cause, StudyState, Trial, TrialState

COLOURS: Mapping[str, Any] = {
    "colour": {"type": "categorical", "choices": ["red", "green", "blue"]},
    "size": {"type": "fixed", "value": 3},
}
REASON = "all 3 configurations of its space were tried"


def spec(parameters: Mapping[str, Any] = COLOURS, **sampler: Any) -> ResolvedSpec:
    """A study of eight trials in a space of three configurations."""
    whole = searching.spec("s", trials=8)
    space = Space.model_validate({"parameters": parameters})
    return whole.model_copy(
        update={
            "space": space,
            "sampler": whole.sampler.model_copy(update={"reason": None, **sampler}),
        }
    )


def launch(database: Database, of: ResolvedSpec, workers: int = 1) -> list[Trainer]:
    study_id = searching.launch(database, of)
    return [Trainer(database, searching.search(database, study_id, of)) for _ in range(workers)]


def end(database: Database, trainer: Trainer) -> Any:
    """What a worker does that gets nothing; returns the study."""
    used_up = trainer.search.used_up
    with database.statement() as connection:
        study = studies.by_name(connection, "s")
        serving.finish_if_done(connection, [study.id], lease=searching.LEASE)
        if used_up is not None:
            serving.finish_if_idle(connection, study.id, used_up)
        return studies.by_name(connection, "s")


def trials(database: Database) -> list[Trial]:
    return reading.load_trials(database, reading.find(database, "s"))


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_study_ends_when_its_space_is_used_up(database: Database, sampler: str) -> None:
    (trainer,) = launch(database, spec(name=sampler))
    for _ in range(3):
        trial = trainer.claim()
        assert trial is not None
        assert end(database, trainer).state is StudyState.ACTIVE
        assert trial.params["size"] == 3
        trainer.finish(trial)
    assert trainer.claim() is None
    study = end(database, trainer)
    assert (study.state, study.reason, study.issued) == (StudyState.FINISHED, REASON, 3)
    assert sorted(str(t.params["colour"]) for t in trials(database)) == ["blue", "green", "red"]


def test_many_workers_take_each_configuration_once(database: Database) -> None:
    parameters = {
        "a": {"type": "int", "low": 1, "high": 8},
        "b": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
    }
    of = spec(parameters, name="random")
    of = of.model_copy(update={"budget": of.budget.model_copy(update={"trials": 1000})})
    workers = launch(database, of, workers=6)

    def work(trainer: Trainer) -> None:
        while (trial := trainer.claim()) is not None:
            trainer.finish(trial)

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(work, workers))
    configurations = [(t.params["a"], t.params["b"]) for t in trials(database)]
    assert len(configurations) == 40
    assert len(set(configurations)) == 40
    study = end(database, workers[0])
    assert study.reason == "all 40 configurations of its space were tried"


def test_what_runs_or_waits_is_no_end(database: Database) -> None:
    first, second = launch(database, spec(), workers=2)
    trials = [first.claim(), second.claim(), first.claim()]
    assert second.claim() is None
    assert end(database, second).state is StudyState.ACTIVE
    assert all(trials)
    for trial, of in zip(trials[:2], (first, second), strict=True):
        assert trial is not None
        of.finish(trial)
    assert trials[2] is not None
    with database.statement() as connection:
        leases.requeue(connection, trials[2].claim, Cause.PREEMPTED)
    assert end(database, first).state is StudyState.ACTIVE
    again = second.claim()
    assert again is not None
    assert (again.number, again.params) == (trials[2].number, trials[2].params)
    second.finish(again)
    assert end(database, second).reason == REASON


def test_enqueued_configurations_count_and_may_repeat(database: Database) -> None:
    (trainer,) = launch(database, spec())
    for colour in ("red", "red"):
        steering.enqueue(database, "s", {"colour": colour})
    for _ in range(4):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)
    assert trainer.claim() is None
    assert end(database, trainer).reason == REASON
    colours = [t.params["colour"] for t in trials(database)]
    assert colours[:2] == ["red", "red"]
    assert sorted(map(str, colours[2:])) == ["blue", "green"]
    steering.enqueue(database, "s", {"colour": "blue"})  # once more, by name
    assert reading.find(database, "s").state is StudyState.ACTIVE
    trial = trainer.claim()
    assert trial is not None
    assert trial.params["colour"] == "blue"
    trainer.finish(trial)
    assert end(database, trainer).reason == REASON


def test_a_failed_configuration_was_tried_until_it_is_retried(database: Database) -> None:
    (trainer,) = launch(database, spec())
    for _ in range(3):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial, TrialState.FAILED, cause=Cause.USER_ERROR)
    assert trainer.claim() is None
    assert end(database, trainer).reason == REASON
    assert steering.retry(database, "s", 1) == [1]
    trial = trainer.claim()
    assert trial is not None
    assert trial.number == 1
    trainer.finish(trial)
    assert trainer.claim() is None
    assert end(database, trainer).reason == REASON


def test_repeats_come_when_they_are_asked_for(database: Database) -> None:
    (trainer,) = launch(database, spec(repeat=True))
    for _ in range(8):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)
    assert trainer.claim() is None
    assert end(database, trainer).reason == "all 8 trials are done"
    colours = [t.params["colour"] for t in trials(database)]
    assert len(set(colours[:3])) == 3


def test_a_study_that_its_space_ends_next_does_not_blame_the_budget_that_ended_it(
    database: Database,
) -> None:
    whole = spec()
    budget = whole.budget.model_copy(update={"trials": 3})
    (trainer,) = launch(database, whole.model_copy(update={"budget": budget}))
    for _ in range(3):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)
    assert end(database, trainer).reason == "all 3 trials are done"
    result = changing.change(database, "s", ["budget.trials=20"])
    assert result.notes[0].startswith(
        f"the study stays finished: {REASON}: `tuner change s sampler"
    )


def test_a_used_up_space_is_reopened_by_repeats_alone(database: Database) -> None:
    (trainer,) = launch(database, spec())
    for _ in range(3):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)
    end(database, trainer)
    result = changing.change(database, "s", ["budget.trials=20"])
    repeat = "`tuner change s sampler.repeat=true` repeats them"
    assert result.notes == (f"the study stays finished: {REASON}: {repeat}",)
    with pytest.raises(
        StudyStateError, match=r": `tuner change s sampler\.repeat=true` repeats them$"
    ):
        steering.resume(database, "s")
    result = changing.change(database, "s", ["sampler.repeat=true"])
    assert (result.changes, result.notes) == (("sampler.repeat: false → true",), ())
    assert result.study.state is StudyState.ACTIVE


@pytest.mark.parametrize(
    ("parameters", "forbidden", "count"),
    [
        ({"x": {"type": "fixed", "value": 1}}, [], 1),
        ({"x": {"type": "int", "low": 1, "high": 9, "step": 4}}, [], 3),
        ({"x": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1}}, [], 4),
        (
            {
                "kind": {"type": "categorical", "choices": ["a", "b"]},
                "depth": {"type": "int", "low": 1, "high": 3, "when": {"kind": ["b"]}},
            },
            [],
            4,
        ),
        (
            {
                "kind": {"type": "categorical", "choices": ["a", "b"]},
                "flag": {"type": "categorical", "choices": [True, False]},
            },
            [{"kind": ["a"], "flag": [True]}],
            3,
        ),
    ],
)
def test_pins_steps_conditions_and_what_is_forbidden_leave_so_many(
    database: Database, parameters: Any, forbidden: Any, count: int
) -> None:
    of = spec()
    space = Space.model_validate({"parameters": parameters, "forbidden": forbidden})
    (trainer,) = launch(database, of.model_copy(update={"space": space}))
    claimed = []
    while (trial := trainer.claim()) is not None:
        claimed.append(tuple(trial.params.items()))
        trainer.finish(trial)
    assert len(claimed) == len(set(claimed)) == count
    reason = end(database, trainer).reason
    tried = "the only configuration" if count == 1 else f"all {count} configurations"
    assert reason == f"{tried} of its space {'was' if count == 1 else 'were'} tried"


def test_a_launch_says_that_the_space_is_smaller_than_the_budget(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "code_of_mine.py").write_text("def train(trial):\n    return 1.0\n")
    file = tmp_path / "s.yaml"
    head = (
        "name: s\nfamily: function\nfunction: code_of_mine:train\n"
        "objective: {metric: loss, direction: minimize}\nsearch: {kind: [a, b, c]}\n"
    )
    file.write_text(f"{head}budget: {{trials: 8}}\n")
    prepared = preparing.prepare_study(database, file, settings())
    assert prepared.notes == (
        "its space has 3 configurations: the study ends once all of them have been tried, before "
        "8 trials",
    )
    file.write_text(head.replace("kind: [a, b, c]", "x: {low: 0, high: 1}"))
    (note,) = preparing.prepare_study(database, file, settings()).notes
    assert note.endswith("(`x` takes whole numbers only; to search fractions, write an end as 0.0)")
    for more in ("budget: {trials: 3}\n", "sampler: {repeat: true}\n"):
        file.write_text(head + more)
        assert preparing.prepare_study(database, file, settings()).notes == ()


def test_many_workers_take_each_configuration_of_a_grid_once(database: Database) -> None:
    parameters = {
        "kind": {"type": "categorical", "choices": ["plain", "deep"]},
        "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "layers": {"type": "int", "low": 1, "high": 9, "when": {"kind": ["deep"]}, "points": 3},
    }
    of = spec(parameters, name="grid", options={"points": 5})
    of = of.model_copy(update={"budget": of.budget.model_copy(update={"trials": 1000})})
    workers = launch(database, of, workers=4)

    def work(trainer: Trainer) -> None:
        while (trial := trainer.claim()) is not None:
            trainer.finish(trial)

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(work, workers))
    rows = [tuple(sorted(t.params.items())) for t in trials(database)]
    assert len(rows) == len(set(rows)) == 5 + 5 * 3
    assert {dict(row).get("layers") for row in rows} == {None, 1, 5, 9}
    study = end(database, workers[0])
    assert (study.state, study.reason) == (
        StudyState.FINISHED,
        "all 20 configurations of its grid were tried",
    )


def test_a_grid_that_is_used_up_goes_on_with_repetitions_alone(database: Database) -> None:
    of = spec(name="grid")
    (trainer,) = launch(database, of)
    for _ in range(3):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)
    assert end(database, trainer).reason == "all 3 configurations of its grid were tried"

    more = changing.change(database, "s", ["budget.trials=20"])
    assert "all 3 configurations of its grid were tried" in more.notes[0]
    assert changing.change(database, "s", ["sampler.repeat=true"]).study.state is StudyState.ACTIVE
