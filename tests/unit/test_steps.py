"""Values of a parameter with a step are the decimals as written, whatever proposed them."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from tuner.errors import SpecError
from tuner.search.distributions import internal
from tuner.search.history import History
from tuner.search.sampler import Proposer
from tuner.study_file.fit import NotFittingError, in_range
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter, on_step
from tuner.study_file.resolve import fit_configuration, fit_possible
from tuner.study_file.space import Range, Space
from tuner.study_file.study import Sampler
from tuner.trials import ParamValue

TENTHS = FloatParameter(low=0.0, high=0.7, step=0.1)
DECIMALS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SUMS = [n * 0.1 for n in range(8)]  # 0.30000000000000004, 0.6000000000000001, 0.7000000000000001


@pytest.mark.parametrize(
    ("value", "low", "step", "decimal"),
    [
        (3 * 0.1, 0.0, 0.1, 0.3),
        (7 * 0.1, 0.0, 0.1, 0.7),
        (1e-5 + 6 * 1e-5, 1e-5, 1e-5, 7e-5),
        (-0.3 + 3 * 0.1, -0.3, 0.1, 0.0),
        (1e6 + 0.1 + 0.2, 1e6, 0.1, 1000000.3),
        (0.35, 0.0, 0.1, 0.35),  # between two steps, as a user may enqueue it
        (math.inf, 0.0, 0.1, math.inf),
    ],
)
def test_a_sum_of_steps_becomes_its_decimal(
    value: float, low: float, step: float, decimal: float
) -> None:
    assert on_step(value, low, step) == decimal


def test_zero_has_no_sign() -> None:
    assert math.copysign(1.0, on_step(-0.3 + 3 * 0.1, -0.3, 0.1)) == 1.0


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "qmc"])
def test_every_sampler_draws_decimals(sampler: str) -> None:
    space = Space(parameters={"a": TENTHS, "b": FloatParameter(low=0.0, high=1.0)})
    spec = Sampler(name=sampler, startup_trials=2)  # type: ignore[arg-type]
    proposer = Proposer(space, spec, ["maximize"], 0, History(1))
    drawn = {proposer.propose(number).params["a"] for number in range(40)}
    assert drawn == set(DECIMALS)


def test_enqueued_sums_become_decimals() -> None:
    space = Space(parameters={"a": TENTHS})
    proposer = Proposer(space, Sampler(), ["maximize"], 0, History(1))
    for value, decimal in zip(SUMS, DECIMALS, strict=True):
        assert in_range(value, TENTHS) == decimal
        assert fit_configuration(space, {"a": value}) == {"a": decimal}
        assert fit_possible({"a": value}, space) == {"a": decimal}
        assert proposer.propose(0, {"a": value}).params == {"a": decimal}


def test_no_value_lies_above_the_range() -> None:
    assert in_range(0.7000000000000001, TENTHS) == 0.7
    with pytest.raises(NotFittingError, match=r"between 0 and 0\.7"):
        in_range(0.8, TENTHS)


def test_what_optuna_hands_over_is_stored_in_decimals() -> None:
    stepped = FloatDistribution(0.0, 0.7, step=0.1)
    for value, decimal in zip(SUMS, DECIMALS, strict=True):
        assert internal({"a": value}, {"a": stepped}) == [decimal]
    assert internal({"a": 0.1 + 0.2}, {"a": FloatDistribution(0.0, 1.0)}) == [0.1 + 0.2]
    assert internal({"n": 4}, {"n": IntDistribution(0, 8, step=2)}) == [4.0]


@pytest.mark.parametrize("written", [0.3, 3 * 0.1])
def test_conditions_and_forbidden_values_meet_decimals_and_sums(written: float) -> None:
    space = Space(
        parameters={
            "a": TENTHS,
            "b": IntParameter(low=1, high=3, when={"a": (written,)}),
        },
        forbidden=({"a": (2 * written,)}, {"a": Range(above=2.5 * written, below=0.8)}),
    )
    active: list[Mapping[str, Any]] = [{"a": 0.3}, {"a": 3 * 0.1}]
    assert all(space.is_active("b", params) for params in active)
    assert space.is_forbidden({"a": 0.6}) and space.is_forbidden({"a": 6 * 0.1})
    assert not space.is_forbidden({"a": 0.3, "b": 1})
    assert Space.model_validate(space.model_dump(mode="json")) == space


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "qmc"])
def test_what_a_file_forbids_in_decimals_is_never_drawn(sampler: str) -> None:
    space = Space(
        parameters={
            "a": FloatParameter(low=0.0, high=1.0, step=0.1),
            "b": CategoricalParameter(choices=("x", "y"), when={"a": (0.2, 0.7)}),
            "c": FloatParameter(low=0.0, high=1.0),
        },
        forbidden=({"a": (0.3, 0.6)}, {"a": Range(above=0.7)}),
    )
    spec = Sampler(name=sampler, startup_trials=2)  # type: ignore[arg-type]
    proposer = Proposer(space, spec, ["maximize"], 0, History(1))
    drawn = [proposer.propose(number).params for number in range(40)]
    assert {params["a"] for params in drawn} == {0.0, 0.1, 0.2, 0.4, 0.5, 0.7}
    assert all(("b" in params) == (params["a"] in (0.2, 0.7)) for params in drawn)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 2.5, True, "3"])
def test_what_is_no_whole_number_is_told(value: ParamValue) -> None:
    space = Space(parameters={"n": IntParameter(low=1, high=9)})
    with pytest.raises(SpecError, match=r"^n: must be a whole number, is "):
        fit_configuration(space, {"n": value})
    assert fit_configuration(space, {"n": 3.0}) == {"n": 3}
