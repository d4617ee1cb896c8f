"""The study file of an export allows nothing but the exported trial."""

import random
from typing import Any

import pytest

from tests.support.study_texts import TEXTS
from tuner.export.result import reproducing, yaml_text
from tuner.families import registry, resolve
from tuner.search.history import History
from tuner.search.sampler import Proposer
from tuner.study_file.load import loads
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.seeds import trial_seed
from tuner.trials import Study, StudyState, Trial, TrialState


def reproduced(spec: ResolvedSpec, params: dict[str, Any], number: int) -> ResolvedSpec:
    """What the exported study file means."""
    study = Study(
        name=spec.name,
        state=StudyState.FINISHED,
        directions=(spec.objective.direction,),
        metrics=(spec.objective.metric,),
        family=spec.family,
        spec=spec.as_json(),
        max_trials=spec.budget.trials,
    )
    trial = Trial(number=number, state=TrialState.COMPLETE, params=params)
    return resolve(loads(yaml_text(reproducing(study, spec, trial)), name="reproduce.yaml"))


@pytest.mark.parametrize("name", TEXTS)
def test_the_configuration_and_the_seed_are_the_trials(name: str) -> None:
    spec = resolve(loads(TEXTS[name]))
    rng = random.Random(0)
    for number in range(20):
        params = spec.space.random(rng)
        again = reproduced(spec, params, number)
        proposes = Proposer(again.space, again.sampler, ["minimize"], again.seed, History(1))

        assert all(isinstance(p, FixedParameter) for p in again.space.parameters.values())
        assert proposes.complete(proposes.propose(0).params) == params
        assert trial_seed(again, 0) == trial_seed(spec, number)
        assert again.budget.trials == 1
        assert again.budget.epochs == spec.budget.epochs
        assert again.data == spec.data
        assert again.code == spec.code
        assert again.objective == spec.objective
        assert again.training.early_stop == spec.training.early_stop


def test_every_family_is_covered() -> None:
    assert set(registry.BUILT_IN) <= TEXTS.keys()
