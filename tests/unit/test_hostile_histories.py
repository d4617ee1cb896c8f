"""Whatever a study's history and space are, every sampler proposes something allowed."""

import math
import random
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from tests.support.spaces import spaces
from tuner.origin import NUMERICAL
from tuner.search.history import History
from tuner.search.sampler import Proposer
from tuner.search.samplers import genetic
from tuner.study_file.grid import Grid, NoGridError
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
)
from tuner.study_file.samplers import SAMPLERS
from tuner.study_file.space import Space
from tuner.study_file.study import Sampler

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "grid": {"points": 3},
    "cmaes": {"population_size": 4},
    "nsga2": {"population_size": 4},
    "nsga3": {"population_size": 4},
}
LARGE = sys.float_info.max
ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 1.0, 1e300, -1e300, LARGE, 5e-324)
_STATES = (
    TrialState.COMPLETE,
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.FAIL,
    TrialState.RUNNING,
    TrialState.WAITING,
)
_values = st.one_of(st.sampled_from(ODD), st.floats())
_outcomes = st.tuples(
    st.sampled_from(_STATES), _values, st.lists(_values, max_size=4), st.integers(0, 5)
)
ONE_POINT = Space(
    parameters={"a": FixedParameter(value=1), "b": CategoricalParameter(choices=(2,))}
)
EXTREME = {
    "one point": ONE_POINT,
    "neighbouring floats": Space(
        parameters={
            "x": FloatParameter(low=1.0, high=math.nextafter(1.0, 2.0)),
            "n": IntParameter(low=0, high=1),
        }
    ),
    "60 parameters": Space(
        parameters={
            f"p{i}": (
                FloatParameter(low=0, high=1)
                if i % 3
                else CategoricalParameter(choices=("a", "b", "c"))
            )
            for i in range(60)
        }
    ),
    "500 choices": Space(
        parameters={
            "c": CategoricalParameter(choices=tuple(range(500))),
            "x": FloatParameter(low=0, high=1),
        }
    ),
    "huge": Space(
        parameters={
            "n": IntParameter(low=-(2**53), high=2**53),
            "l": IntParameter(low=1, high=2**53, log=True),
            "x": FloatParameter(low=-LARGE / 4, high=LARGE / 4),
            "s": FloatParameter(low=0.0, high=1e15, step=0.125),
        }
    ),
    "logs at the limits": Space(
        parameters={
            "x": FloatParameter(low=5e-324, high=LARGE, log=True),
            "y": FloatParameter(low=1e-308, high=1e-300, log=True),
        }
    ),
}


def ended(
    number: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    outcome: tuple[TrialState, float, list[float], int],
    objectives: int,
) -> FrozenTrial:
    state, value, reports, seconds = outcome
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    # Optuna and tuner record a result of NaN as failed
    value = 0.0 if math.isnan(value) else value
    return FrozenTrial(
        trial_id=number,
        number=number,
        state=state,
        value=None,
        values=[value] * objectives if state is TrialState.COMPLETE else None,
        datetime_start=None,
        datetime_complete=at.replace(tzinfo=None) if state.is_finished() else None,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(enumerate(reports, 1)),
    )


def propose(
    space: Space,
    sampler: str,
    outcomes: list[tuple[TrialState, float, list[float], int]],
    objectives: int = 1,
    seed: int = 0,
) -> Mapping[str, Any]:
    spec = Sampler.model_validate(
        {"name": sampler, "startup_trials": 3, "options": OPTIONS.get(sampler, {})}
    )
    history = History(1)
    directions = ["minimize", "maximize", "minimize"][:objectives]
    proposer = Proposer(space, spec, directions, seed, history)  # type: ignore[arg-type]
    rng = random.Random(seed)
    for number, outcome in enumerate(outcomes):
        drawn = space.random(rng)
        distributions = dict(proposer.distributions(drawn))
        if outcome[3] == 5:  # of a space that the study had before
            drawn = {"other": 0.5}
            distributions = {"other": FloatDistribution(0.0, 1.0)}
        params = {name: drawn[name] for name in distributions}
        history.put(ended(number, params, distributions, outcome, objectives))
    drawn = {}
    for number in (len(outcomes), len(outcomes) + 1):
        drawn = proposer.complete(proposer.propose(number).params)
        check(space, drawn)
    assert not proposer.fallbacks  # no sampler has raised
    return drawn


def check(space: Space, drawn: Mapping[str, Any]) -> None:
    """The proposal has exactly the active parameters, each a possible value; none is forbidden."""
    params: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if space.is_active(name, params):
            value = params[name] = drawn[name]
            if isinstance(parameter, CategoricalParameter):
                assert value in parameter.choices
            elif isinstance(parameter, FloatParameter | IntParameter):
                assert parameter.low <= value <= parameter.high
    assert drawn.keys() == params.keys()
    assert not space.is_forbidden(params)


def has_grid(space: Space) -> bool:
    try:
        return Grid(space, 3).size > 0
    except NoGridError:
        return False


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spaces(), st.sampled_from(sorted(SAMPLERS)), st.lists(_outcomes, max_size=24), st.integers(1, 3)
)
def test_any_history_in_any_space_has_a_proposal(
    space: Space,
    sampler: str,
    outcomes: list[tuple[TrialState, float, list[float], int]],
    objectives: int,
) -> None:
    if sampler == "grid" and not has_grid(space):
        return
    if sampler == "cmaes":  # the launch refuses several
        objectives = 1
    propose(space, sampler, outcomes, objectives)


def test_a_sampler_that_raises_is_replaced_by_a_sobol_point_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(genetic.GeneticSampler, "_find_parents", fail)
    space = EXTREME["500 choices"]
    spec = Sampler.model_validate({"name": "nsga2"})
    proposer = Proposer(space, spec, ["minimize"], 0, History(1))
    proposals = [proposer.propose(number) for number in range(2)]

    for proposal in proposals:
        check(space, proposer.complete(proposal.params))
        assert (proposal.origin.kind, proposal.origin.sampler) == ("quasi-random", "nsga2")
        assert proposal.origin.reason == NUMERICAL
    assert proposer.fallbacks == 2
    assert "nsga2 raised LinAlgError: Singular matrix" in caplog.messages[0]
    assert caplog.messages[1].endswith("drawn without a model, as 2 trials of this worker")


HISTORIES: Mapping[str, list[tuple[TrialState, float, list[float], int]]] = {
    "empty": [],
    "one trial": [(TrialState.COMPLETE, 0.5, [0.7], 1)],
    "failures only": [(TrialState.FAIL, 0.0, [], i) for i in range(4)] * 4,
    "ties": [(TrialState.COMPLETE, 1.0, [1.0, 1.0], i % 5) for i in range(30)],
    "1e300": [(TrialState.COMPLETE, (-1) ** i * 1e300, [1e300], i % 5) for i in range(30)],
    "infinite": [(TrialState.COMPLETE, math.inf, [math.nan], i % 5) for i in range(30)],
    "one good among infinite": [
        (TrialState.COMPLETE, 0.1 if i == 7 else math.inf, [math.inf], i % 5) for i in range(30)
    ],
    "pruned at NaN": [(TrialState.PRUNED, 0.0, [math.nan, math.nan], i % 5) for i in range(30)],
    "running only": [(TrialState.RUNNING, 0.0, [], 0)] * 30,
    "of another space": [(TrialState.COMPLETE, float(i), [1.0], 5) for i in range(30)],
}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("space", EXTREME)
def test_extreme_spaces_have_a_proposal_after_every_kind_of_history(
    space: str, sampler: str
) -> None:
    for outcomes in HISTORIES.values():
        propose(EXTREME[space], sampler, outcomes)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS.keys() - {"cmaes"}))
def test_several_objectives_that_are_all_equal_have_a_proposal(sampler: str) -> None:
    outcomes = [(TrialState.COMPLETE, 1.0, [1.0], i % 5) for i in range(20)]

    propose(EXTREME["500 choices"], sampler, outcomes, objectives=3)
