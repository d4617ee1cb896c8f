"""CMA-ES and the genetic algorithms: what they learn follows from the ended trials alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from tuner.search.history import History
from tuner.search.sampler import Proposer
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter
from tuner.study_file.space import Space
from tuner.study_file.study import Sampler
from tuner.trials import Direction, ParamValue

ROTATED = Space(parameters={name: FloatParameter(low=-5, high=5) for name in "abcd"})
TREE = Space(
    parameters={
        "kind": CategoricalParameter(choices=("plain", "deep", "wide")),
        "rate": FloatParameter(low=1e-5, high=1.0, log=True),
        "layers": IntParameter(low=1, high=30, when={"kind": ("deep",)}),
        "width": IntParameter(low=1, high=512, log=True, when={"kind": ("wide",)}),
    }
)
SMALL = {"population_size": 8}


class Study:
    """A search in one process; trials end in the order of their numbers unless they say when."""

    def __init__(
        self, space: Space, sampler: str, directions: Sequence[Direction] = ("minimize",), **o: Any
    ) -> None:
        self.history = History(1)
        self.spec = Sampler.model_validate({"name": sampler, "startup_trials": 4, "options": o})
        self.arguments = space, self.spec, directions, 3
        self.proposer = Proposer(*self.arguments, self.history)

    def propose(self, number: int, **fixed: ParamValue) -> Mapping[str, ParamValue]:
        return self.proposer.propose(number, fixed).params

    def restarted(self) -> "Study":
        """The same study in a process that has just read its history."""
        other = object.__new__(Study)
        other.history, other.spec, other.arguments = self.history, self.spec, self.arguments
        other.proposer = Proposer(*self.arguments, self.history)
        return other

    def end(
        self,
        number: int,
        params: Mapping[str, ParamValue],
        values: Sequence[float] | None,
        state: TrialState = TrialState.COMPLETE,
        reports: Mapping[int, float] | None = None,
        after: float | None = None,
    ) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(
            seconds=number if after is None else after
        )
        self.history.put(
            FrozenTrial(
                trial_id=number,
                number=number,
                state=state,
                value=None,
                values=None if values is None else list(values),
                datetime_start=None,
                datetime_complete=at.astimezone().replace(tzinfo=None),
                params=dict(params),
                distributions=self.proposer.distributions(params),
                user_attrs={},
                system_attrs={},
                intermediate_values=dict(reports or {}),
            )
        )


def ellipsoid(params: Mapping[str, Any]) -> float:
    x = np.array([params[name] for name in "abcd"])
    return float((x - 1) @ np.diag([1, 3, 10, 30]) @ (x - 1) + (x.sum() - 4) ** 2)


def tree(params: Mapping[str, Any]) -> float:
    penalty = {"plain": 4.0, "deep": 0.0, "wide": 6.0}[params["kind"]]
    layers = (params.get("layers", 20) - 7) ** 2 / 50
    return penalty + layers + (np.log10(params["rate"]) + 2) ** 2


def best_of(space: Space, sampler: str, trials: int, objective: Any, **options: Any) -> float:
    study = Study(space, sampler, **options)
    values = []
    for number in range(trials):
        params = study.propose(number)
        values.append(objective(params))
        study.end(number, params, [values[-1]])
    return min(values)


@pytest.mark.slow
def test_cmaes_finds_what_random_search_does_not() -> None:
    assert best_of(ROTATED, "cmaes", 200, ellipsoid) < 0.5
    assert best_of(ROTATED, "random", 200, ellipsoid) > 5


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["cmaes", "nsga2"])
def test_choices_and_conditions_are_searched_along(sampler: str) -> None:
    assert best_of(TREE, sampler, 150, tree, **SMALL) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_generations_approach_the_front(sampler: str) -> None:
    def distances(name: str, **options: Any) -> list[float]:
        study = Study(ROTATED, name, ["minimize", "maximize"], **options)
        out = []
        for number in range(240):
            params = study.propose(number)
            x = np.array(list(params.values()))
            away = float((x[1:] ** 2).sum())  # 0 on the front
            out.append(away)
            study.end(number, params, [x[0] ** 2 + away, 4 - (x[0] - 2) ** 2 - away])
        return out

    assert np.median(distances(sampler, population_size=16)[-60:]) < 3
    assert np.median(distances("random")[-60:]) > 15


@pytest.mark.parametrize("sampler", ["cmaes", "nsga2", "nsga3"])
def test_a_process_that_has_just_read_the_history_draws_the_same(sampler: str) -> None:
    study = Study(TREE, sampler, **SMALL)
    for number in range(40):
        params = study.propose(number)
        assert study.restarted().propose(number) == params
        study.end(number, params, [tree(params)])


@pytest.mark.parametrize("sampler", ["cmaes", "nsga2"])
def test_an_end_that_becomes_known_late_is_taken_into_account(sampler: str) -> None:
    study = Study(TREE, sampler, **SMALL)
    drawn = {number: study.propose(number) for number in range(30)}
    for number in range(29):
        study.end(number, drawn[number], [tree(drawn[number])])
    study.propose(30)
    study.end(29, drawn[29], [-50.0], after=2.5)  # of another worker, long ago

    assert study.propose(30) == study.restarted().propose(30)


def test_pruned_trials_teach_cmaes_and_are_worse_than_complete_ones() -> None:
    def with_state(state: TrialState) -> Mapping[str, ParamValue]:
        study = Study(ROTATED, "cmaes", population_size=4)
        for number in range(8):
            params = study.propose(number)
            if number % 2:
                study.end(number, params, None, TrialState.PRUNED, {1: -9.0})
            elif state is TrialState.COMPLETE:
                study.end(number, params, [ellipsoid(params)])
            else:
                study.end(number, params, None, state)
        return study.propose(8)

    assert with_state(TrialState.COMPLETE) != with_state(TrialState.FAIL)


@pytest.mark.parametrize("sampler", ["cmaes", "nsga2"])
def test_fixed_parameters_are_kept_and_the_rest_is_drawn(sampler: str) -> None:
    study = Study(TREE, sampler, **SMALL)
    for number in range(20):
        params = study.propose(number)
        study.end(number, params, [tree(params)])

    params = study.propose(20, kind="wide", rate=0.25)

    assert (params["kind"], params["rate"]) == ("wide", 0.25)
    assert params.keys() == {"kind", "rate", "width"}


@pytest.mark.parametrize("crossover", ["uniform", "blx_alpha", "sbx", "spx", "undx", "vsbx"])
def test_each_crossover_draws_inside_the_ranges_of_many_parameters(crossover: str) -> None:
    space = Space(parameters={f"p{i}": FloatParameter(low=0, high=1) for i in range(60)})
    study = Study(space, "nsga2", crossover=crossover, population_size=6)
    for number in range(14):
        params = study.propose(number)
        assert all(0 <= float(value) <= 1 for value in params.values())  # type: ignore[arg-type]
        study.end(number, params, [sum(params.values())])  # type: ignore[arg-type]


def test_parents_outside_of_their_ranges_are_crossed_inside() -> None:
    study = Study(ROTATED, "nsga2", population_size=4)
    for number in range(8):
        drawn = {**study.propose(number), "a": 77.0}
        study.end(number, drawn, [1.0])

    assert -5 <= float(study.propose(8)["a"]) <= 5  # type: ignore[arg-type]
