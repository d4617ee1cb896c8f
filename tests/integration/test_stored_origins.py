"""How each trial was proposed is stored with its claim, and stays what it was."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import answer, tuner
from tests.support.searching import LEASE, Trainer, launch, search, spec
from tuner.database import claims, leases, spaces, trials
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.origin import Origin
from tuner.search.distributions import as_json
from tuner.study_file.space import Space
from tuner.trials import Cause, TrialState

RANDOM = Origin(kind="random", sampler="random")


def stored(database: Database, study_id: int) -> list[Origin | None]:
    with database.statement() as connection:
        return [trial.origin for trial in feed.load(connection, study_id)]


@pytest.fixture
def trainer(database: Database) -> Trainer:
    of = spec(more="sampler: random\npruner: none")
    return Trainer(database, search(database, launch(database, of), of))


def study_of(trainer: Trainer) -> int:
    return trainer.search.study.id


def test_a_claim_stores_how_its_trial_was_drawn(database: Database, trainer: Trainer) -> None:
    trainer.claim()

    assert stored(database, study_of(trainer)) == [RANDOM]


def test_an_interrupted_trial_keeps_its_origin(database: Database, trainer: Trainer) -> None:
    first = trainer.claim()
    assert first is not None
    with database.statement() as connection:
        leases.requeue(connection, first.claim, Cause.PREEMPTED)
    again = trainer.claim()

    assert again is not None
    assert (again.number, again.claim.attempt) == (0, 2)
    assert stored(database, study_of(trainer)) == [RANDOM]


@pytest.mark.parametrize("small", [False, True])
def test_a_queued_trial_says_who_chose_it_and_who_drew_the_rest(
    database: Database, small: bool
) -> None:
    of = spec(more="sampler: random\npruner: none")
    if small:
        choices = {"optimizer": ["sgd", "adamw"], "kernel": [3, 5]}
        parameters = {
            name: {"type": "categorical", "choices": each} for name, each in choices.items()
        }
        space = Space.model_validate({"parameters": parameters})
        of = of.model_copy(update={"space": space})
    trainer = Trainer(database, search(database, launch(database, of), of))
    default = Origin(kind="default", study="earlier", trial=3)
    with database.transaction() as connection:
        trials.enqueue(connection, study_of(trainer), {"optimizer": "sgd"})
        trials.enqueue(connection, study_of(trainer), {"optimizer": "adamw"}, origin=default)
    before = stored(database, study_of(trainer))
    for _ in range(2):
        trainer.claim()

    assert before == [Origin(kind="enqueued"), default]
    assert stored(database, study_of(trainer)) == [
        Origin(kind="enqueued", sampler="random"),
        Origin(kind="default", sampler="random", study="earlier", trial=3),
    ]


def test_a_draw_for_another_number_replaces_the_first_one(
    database: Database, trainer: Trainer
) -> None:
    """Another worker has claimed between draw and claim; what is trained is the second draw."""
    of = trainer.search.spec
    tpe = of.model_copy(update={"sampler": of.sampler.model_copy(update={"name": "tpe"})})
    late = Trainer(database, search(database, study_of(trainer), tpe))
    late.search.refresh()
    for _ in range(10):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)
    late.search._known_at = float("inf")  # it has not noticed
    claimed = late.claim()

    assert claimed is not None
    assert claimed.number == 10
    assert stored(database, study_of(trainer))[10] == Origin(
        kind="model", sampler="tpe", learned_from=10
    )


def test_a_trial_of_an_earlier_version_has_no_origin(database: Database, trainer: Trainer) -> None:
    distributions = as_json(trainer.search._proposer.distributions({"optimizer": "sgd"}))
    with database.transaction() as connection:
        space = spaces.ensure(connection, study_of(trainer), distributions)
        claims.claim(
            connection,
            study_of(trainer),
            worker_id=uuid.uuid4(),
            key=uuid.uuid4(),
            lease=LEASE,
            space_id=space,
            params=[0.0],
        )

    assert stored(database, study_of(trainer)) == [None]


def test_show_prints_one_trial(
    database: Database, trainer: Trainer, environment: dict[str, str], tmp_path: Path
) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    trial = trainer.claim()
    assert trial is not None
    trainer.report(trial, 1, 0.4)
    reason = "rung at epoch 1: 0.4 ranks 3rd of 3; only the best goes on"
    trainer.finish(trial, TrialState.PRUNED, values=[0.4], message=reason)
    shown = tuner("show", "search", "--trial", "0", **run).stdout
    record = answer("show", "search", "--trial", "0", **run)

    assert f"search, trial 0  pruned ({reason})" in shown
    assert "proposed  random draw " in shown
    assert "batch_norm" in shown
    assert record["origin"] == {"kind": "random", "sampler": "random"}
    assert record["message"] == reason
    missing = tuner("show", "search", "--trial", "1", **run)
    assert missing.returncode == 2
    assert missing.stderr == "error: the study `search` has no trial 1\n"
