"""What users expect of parameters, and how the search uses and forgets it."""

import math
from typing import Any

import numpy as np
import pytest

from tests.unit.test_gaussian_process import Study
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.origin import OriginKind
from tuner.search.cells import searched
from tuner.search.encoding import Encoding
from tuner.search.history import History
from tuner.search.priors import FLOOR, OTHER_CHOICE, Priors
from tuner.search.sampler import Proposer
from tuner.study_file.dump import dump
from tuner.study_file.load import loads
from tuner.study_file.parameters import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
)
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.space import Range, Space
from tuner.study_file.study import Sampler
from tuner.trials import ParamValue

HEAD = "name: a\nfamily: cnn\ndata: digits\nsearch:\n"
SPACE = Space(
    parameters={
        "optimizer": CategoricalParameter(choices=("sgd", "adam"), prior="adam"),
        "rate": FloatParameter(low=1e-4, high=1.0, log=True, prior=1e-3, prior_strength=20),
        "momentum": FloatParameter(low=0.0, high=1.0, prior=0.9, when={"optimizer": ("sgd",)}),
        "layers": IntParameter(low=1, high=8),
    }
)


def without_priors(space: Space) -> Space:
    return Space(
        parameters={n: p.model_copy(update={"prior": None}) for n, p in space.parameters.items()}
    )


def draws(space: Space, sampler: str, count: int) -> list[dict[str, Any]]:
    history = History(1)
    proposes = Proposer(space, Sampler.model_validate(sampler), ["minimize"], 0, history)
    return [dict(proposes.propose(number).params) for number in range(count)]


def test_a_study_file_names_the_expected_value_and_its_strength() -> None:
    lines = "  learning_rate: {prior: 3e-4}\n  optimizer: {prior: sgd, prior_strength: 20}\n"

    spec = resolve(loads(HEAD + lines))

    rate, optimizer = (spec.space.parameters[name] for name in ("learning_rate", "optimizer"))
    assert isinstance(rate, FloatParameter)
    assert isinstance(optimizer, CategoricalParameter)
    assert (rate.prior, rate.prior_strength) == (3e-4, None)
    assert (optimizer.prior, optimizer.prior_strength) == ("sgd", 20)
    assert ResolvedSpec.from_json(spec.as_json()) == spec
    assert dump(spec)["search"]["optimizer"]["prior_strength"] == 20
    assert spec.space.describe()["learning_rate"].endswith(", expected near 0.0003")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate: {prior: 30}", "5: search.learning_rate.prior: must be between"),
        ("learning_rate: {prior: fast}", "5: search.learning_rate.prior: must be a number"),
        ("optimizer: {prior: lion}", "5: search.optimizer.prior: must be one of"),
        ("optimizer: {choices: [sgd], prior: adam}", "5: search.optimizer.prior: must be one of"),
        ("learning_rate: {value: 0.1, prior: 0.1}", "`value` pins the parameter"),
        ("learning_rate: {prior_strength: 5}", "has no meaning without `prior`"),
        ("learning_rate: {prior: 1e-3, prior_strength: 0}", "must be above 0"),
        (
            "optimizer: {prior: sgd}\nsampler: grid",
            "5: search.optimizer.prior: has no meaning with `sampler: grid`",
        ),
    ],
)
def test_a_wrong_prior_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        resolve(loads(f"{HEAD}  {line}\n"))

    assert message in str(raised.value)


def test_the_density_is_largest_at_the_expected_value_and_never_vanishes() -> None:
    distributions = searched(SPACE)
    priors = Priors(SPACE, distributions)
    rows = Encoding(SPACE, distributions).internal(
        [
            {"optimizer": "adam", "rate": 1e-3, "layers": 3},  # as expected; without momentum
            {"optimizer": "adam", "rate": 1.0, "layers": 3},
            {"optimizer": "sgd", "rate": 1e-3, "momentum": 0.9, "layers": 3},
        ]
    )

    expected, far, other = priors.after(rows[:1], np.zeros(1))(rows)

    assert far - expected == pytest.approx(math.log(FLOOR), abs=1e-3)
    # where there is no momentum, its prior counts as that of an average one
    assert math.log(FLOOR) < expected < 0
    assert other == pytest.approx(math.log(OTHER_CHOICE))


def test_what_is_expected_fades_with_the_number_of_trials() -> None:
    space = Space(parameters={"rate": FloatParameter(low=0, high=1, prior=0.2, prior_strength=20)})
    priors = Priors(space, searched(space))
    x = np.random.default_rng(0).random((200, 1))

    def far(trials: int) -> float:
        values = np.abs(x[:trials, 0] - 0.2)
        return float(priors.after(x[:trials], values)(np.array([[1.0]]))[0])

    at_first, still, later = far(1), far(20), far(200)

    assert at_first == still == pytest.approx(math.log(FLOOR), abs=1e-3)
    assert later == pytest.approx(at_first / 10)


def test_a_prior_that_the_trials_contradict_is_forgotten_by_itself() -> None:
    parameters = {
        name: FloatParameter(low=0, high=1, prior=0.2, prior_strength=1000) for name in ("x", "y")
    }
    space = Space(parameters=parameters)
    priors = Priors(space, searched(space))
    rows = np.random.default_rng(0).random((30, 2))
    values = np.abs(rows[:, 0] - 0.9) + np.abs(rows[:, 1] - 0.2)  # x: wrong, y: right

    weigh = priors.after(rows, values)

    far_in_x, far_in_y = weigh(np.array([[1.0, 0.2], [0.2, 1.0]])) - weigh(np.array([[0.2, 0.2]]))
    assert abs(far_in_x) < 0.1
    assert far_in_y == pytest.approx(math.log(FLOOR), abs=1e-3)


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "qmc"])
def test_a_third_of_the_first_trials_are_drawn_near_the_expected_values(sampler: str) -> None:
    params = draws(SPACE, sampler, 14)
    plain = draws(without_priors(SPACE), sampler, 14)

    assert params[0]["rate"] == 1e-3
    assert params[0]["optimizer"] == "adam"
    near = [p["rate"] for p in params[3:10:3]]
    assert _powers_of_ten_away(near) < 1.0  # of 4 powers of ten; uniform draws are 1.4 away
    others = [number for number in range(14) if number % 3 or number >= 10]
    assert [params[number] for number in others] == [plain[number] for number in others]


def _powers_of_ten_away(rates: list[float]) -> float:
    return float(np.mean([abs(math.log10(rate) + 3) for rate in rates]))


def test_the_origin_says_that_a_trial_was_drawn_near_the_expected_values() -> None:
    proposes = Proposer(SPACE, Sampler(name="random"), ["minimize"], 0, History(1))

    first, second = proposes.propose(0).origin, proposes.propose(1).origin

    assert (first.kind, first.reason) == (
        OriginKind.RANDOM,
        "drawn near the values that the study file expects",
    )
    assert second.reason is None


def test_enqueued_values_come_before_expected_ones() -> None:
    proposes = Proposer(SPACE, Sampler(name="random"), ["minimize"], 0, History(1))

    assert proposes.propose(0, {"rate": 0.5}).params["rate"] == 0.5


def test_a_sampler_by_class_gets_expected_values_that_are_not_forbidden() -> None:
    forbidden = ({"rate": Range(above=0.3)},)
    rate = FloatParameter(low=0.1, high=1.0, prior=0.5)
    space = Space(parameters={"rate": rate}, forbidden=forbidden)
    proposes = Proposer(space, Sampler(name="random"), ["minimize"], 0, History(1))

    expected = [proposes.allowed_expected(number) for number in range(12)]

    assert [number for number, values in enumerate(expected) if values] == [0, 3, 6, 9]
    assert all(0.1 <= float(str(expected[number]["rate"])) <= 0.3 for number in (0, 3, 6, 9))


def _search(prior: float | None, trials: int, seed: int) -> float:
    """The best value of a bowl around x = 0.7 after so many trials."""
    parameters = {name: FloatParameter(low=0, high=1, prior=prior) for name in ("x", "y", "z", "u")}
    study = Study(Space(parameters=parameters), seed=seed)
    best = math.inf
    for _ in range(trials):
        params: dict[str, ParamValue] = study.propose()
        value = sum((float(v or 0) - 0.7) ** 2 for v in params.values())
        best = min(best, value)
        study.add(params, [value])
    return best


def test_a_right_prior_gains_and_a_wrong_one_is_forgotten() -> None:
    def best(prior: float | None, trials: int) -> float:
        return float(np.exp(np.mean([math.log(_search(prior, trials, s)) for s in range(4)])))

    assert best(0.66, 8) < 0.25 * best(None, 8)
    assert best(0.05, 40) < 0.02
