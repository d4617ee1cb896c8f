"""Trials that failed because of their parameters: the sampler keeps away from where they are."""

import pytest
from sqlalchemy import text

from tests.support.searching import Trainer, launch, search, spec
from tuner.commands import steering
from tuner.database import leases, studies
from tuner.database.engine import Database
from tuner.search.storage import Storage
from tuner.trials import Cause, TrialState

# the fewer are searched besides, the sooner it shows
MORE = """
search: {learning_rate: {low: 1.0e-4, high: 1.0e-1}, optimizer: adam, depth: 2, kernel: 3,
         schedule: constant, warmup: 0.0, label_smoothing: 0.0, batch_norm: true, residual: false,
         shift: 0.0, flip: false}
pruner: none
"""
TOO_MUCH = 3e-3  # of the learning rate, in the middle of its range; as if it took memory


def run(
    trainer: Trainer, database: Database, trials: int, cause: Cause = Cause.OUT_OF_MEMORY
) -> list[bool]:
    """Claim so many trials; whether each was infeasible."""
    claimed = []
    for _ in range(trials):
        trial = trainer.claim()
        assert trial is not None
        infeasible = float(str(trial.params["learning_rate"])) > TOO_MUCH
        if infeasible and cause is Cause.DIVERGED:
            trainer.finish(trial, TrialState.FAILED, cause=cause)
        while (
            infeasible and cause is Cause.OUT_OF_MEMORY
        ):  # the second time it is not given back any more
            with database.statement() as connection:
                if leases.requeue(connection, trial.claim, Cause.OUT_OF_MEMORY) is (
                    TrialState.FAILED
                ):
                    break
            trial = trainer.claim()
            assert trial is not None
            assert trial.claim.exclusive
        if not infeasible:
            trainer.finish(trial, values=[0.5])
        claimed.append(infeasible)
    return claimed


@pytest.mark.parametrize("sampler", ["tpe", "{name: gp, options: {cost_aware: false}}"])
@pytest.mark.parametrize("cause", [Cause.OUT_OF_MEMORY, Cause.DIVERGED])
@pytest.mark.parametrize("reload", [False, True], ids=["as they come", "in columns"])
def test_samplers_keep_away(database: Database, reload: bool, cause: Cause, sampler: str) -> None:
    of = spec(more=f"{MORE}sampler: {sampler}\n")
    study_id = launch(database, of)
    trainer = Trainer(database, search(database, study_id, of))
    assert sum(run(trainer, database, 20, cause)) >= 3  # half of what is drawn at random
    if reload:
        trainer = Trainer(database, search(database, study_id, of))
    assert sum(run(trainer, database, 20, cause)) <= 5  # at random it would be ten


def test_a_trial_that_is_tried_again_is_feasible_until_it_fails_again(database: Database) -> None:
    of = spec(more=MORE)
    study_id = launch(database, of)
    trainer = Trainer(database, search(database, study_id, of))
    for state in (TrialState.WAITING, TrialState.FAILED):
        trial = trainer.claim()
        assert trial is not None
        with database.statement() as connection:
            assert leases.requeue(connection, trial.claim, Cause.OUT_OF_MEMORY) is state
    storage = Storage(database)
    stored = storage.get_trial(trial.claim.id)
    assert stored.constraints == {"memory": 1.0}
    with database.statement() as connection:
        name = studies.by_id(connection, study_id).name
        in_views = connection.execute(
            text("SELECT value_json FROM optuna.trial_system_attributes WHERE key = 'constraints'")
        ).scalars()
        assert list(in_views) == ["[1.0]"]

    assert steering.retry(database, name) == [0]
    assert storage.get_trial(trial.claim.id).constraints == {}
