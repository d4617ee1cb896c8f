"""Learning from past studies: their trials in this space, their weights, what is tried first."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import LinAlgError

from tests.support.spaces import spaces
from tuner.origin import OriginKind
from tuner.search import surrogate
from tuner.search.cells import searched
from tuner.search.distributions import internal
from tuner.search.encoding import Encoding
from tuner.search.gaussian_process import Hyperparameters, Posterior
from tuner.search.history import History
from tuner.search.record import new_row
from tuner.search.sampler import Proposer
from tuner.search.warm_start.mapping import complete, map_trials
from tuner.search.warm_start.models import PastModels
from tuner.search.warm_start.past_study import Advice, PastStudy, WarmStart
from tuner.search.warm_start.portfolio import LAST, choose
from tuner.study_file.fit import in_range
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
)
from tuner.study_file.space import Space
from tuner.study_file.study import Sampler
from tuner.trials import ParamValue, TrialState

Objective = Callable[[Mapping[str, Any]], float]

UNIT = Space(parameters={name: FloatParameter(low=0, high=1) for name in ("x", "y")})
START = datetime(2026, 1, 1, tzinfo=UTC)


def past(
    configurations: Sequence[Mapping[str, ParamValue]],
    values: Sequence[float],
    space: Space = UNIT,
    name: str = "past",
    pinned: Mapping[str, ParamValue] | None = None,
) -> PastStudy:
    distributions = searched(space)
    encoding = Encoding(space, distributions)
    return PastStudy(
        name=name,
        metric="loss",
        total=len(values),
        space=distributions,
        pinned=pinned or {},
        numbers=np.arange(len(values)),
        params=encoding.internal(configurations),
        values=np.array(values, np.float64),
        deviations=np.zeros(len(values)),
    )


def sampled(objective: Objective, count: int = 60, name: str = "past", seed: int = 0) -> PastStudy:
    rng = np.random.default_rng(seed)
    configurations = [{"x": float(x), "y": float(y)} for x, y in rng.random((count, 2))]
    return past(configurations, [objective(c) for c in configurations], name=name)


def bowl(x: float, y: float) -> Objective:
    return lambda params: (params["x"] - x) ** 2 + (params["y"] - y) ** 2


class Study:
    """A study that learns; what it proposes is trained at once."""

    def __init__(self, warm_start: WarmStart, sampler: str = "gp", space: Space = UNIT) -> None:
        self.history = History(1)
        spec = Sampler.model_validate(sampler)
        self.proposer = Proposer(space, spec, ["minimize"], 0, self.history, warm_start)

    def begin(self, params: Mapping[str, ParamValue]) -> None:
        number, space = self.history.next_number, self.proposer.distributions(params)
        row = new_row(number + 1, number, TrialState.RUNNING, internal(params, space))
        self.history.add(row, space)

    def add(self, params: Mapping[str, ParamValue], value: float) -> None:
        number = self.history.next_number
        space = self.proposer.distributions(params)
        row = new_row(
            number + 1,
            number,
            TrialState.COMPLETE,
            internal(params, space),
            values=[value],
            finished_at=START + timedelta(seconds=number),
        )
        self.history.add(row, space)

    def run(self, objective: Objective, count: int) -> list[tuple[str, dict[str, ParamValue]]]:
        trials = []
        for _ in range(count):
            proposal = self.proposer.propose(self.history.next_number)
            trials.append((str(proposal.origin.kind), dict(proposal.params)))
            self.add(proposal.params, objective(proposal.params))
        return trials


def learned(*studies: PastStudy, space: Space = UNIT) -> WarmStart:
    return WarmStart(studies, choose(studies, space, {}))


# Mapping


def test_trials_are_mapped_into_another_space() -> None:
    before = Space(
        parameters={
            "rate": FloatParameter(low=1e-5, high=1.0, log=True),
            "optimizer": CategoricalParameter(choices=("sgd", "lion", "adam")),
            "momentum": FloatParameter(low=0, high=1, when={"optimizer": ("sgd",)}),
            "width": CategoricalParameter(choices=(8, 16, 64)),
            "decay": FloatParameter(low=0, high=1),
        }
    )
    now = Space(
        parameters={
            "rate": FloatParameter(low=1e-3, high=0.1, log=True),
            "optimizer": CategoricalParameter(choices=("adam", "sgd")),
            "momentum": FloatParameter(low=0, high=1, step=0.25, when={"optimizer": ("sgd",)}),
            "width": IntParameter(low=16, high=32),
            "dropout": FloatParameter(low=0, high=1),
            "depth": IntParameter(low=1, high=5),
        }
    )
    trials = [
        {"rate": 1e-2, "optimizer": "sgd", "momentum": 0.6, "width": 16, "decay": 0.1},
        {"rate": 1e-5, "optimizer": "lion", "width": 64, "decay": 0.1},
        {"rate": 1e-2, "optimizer": "adam", "width": 16, "decay": 0.1},
    ]

    mapped = map_trials(past(trials, [1.0, 2.0, 3.0], before, pinned={"depth": 4}), now)

    assert mapped.params == [
        {"rate": 1e-2, "optimizer": "sgd", "momentum": 0.5, "width": 16, "depth": 4},
        {"rate": 1e-3, "width": 32, "depth": 4},
        {"rate": 1e-2, "optimizer": "adam", "width": 16, "depth": 4},
    ]
    assert mapped.moved.tolist() == [False, True, False]
    assert mapped.describe() == [
        "dropout was not searched there",
        "decay is not searched here",
        "rate of 1 trial was moved into its range",
        "width of 1 trial was moved into its range",
        "optimizer has no choice lion here",
    ]
    assert complete(mapped.params[1], now, {"dropout": 0.1}) == {
        "rate": 1e-3,
        "optimizer": "adam",
        "width": 32,
        "dropout": 0.1,
        "depth": 4,
    }
    assert complete({}, now, {})["dropout"] == 0.5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_past_trial_becomes_a_configuration_that_can_be_drawn(data: st.DataObject) -> None:
    before, now = data.draw(spaces()), data.draw(spaces())
    rng = random.Random(data.draw(st.integers(0, 99)))
    distributions = searched(before)
    trials = [
        {name: v for name, v in before.random(rng).items() if name in distributions}
        for _ in range(6)
    ]

    mapped = map_trials(past(trials, list(range(6)), before), now)

    for params in mapped.params:
        whole = now.complete(complete(params, now, {}))
        for name, parameter in now.parameters.items():
            assert (name in whole) == now.is_active(name, whole)
            if name in whole and not isinstance(parameter, FixedParameter):
                in_range(whole[name], parameter)
    assert isinstance(mapped.describe(), list)


def test_a_past_value_of_a_parameter_that_is_pinned_now_makes_another_trial() -> None:
    now = Space(parameters={"x": FloatParameter(low=0, high=1), "y": FixedParameter(value=0.5)})

    mapped = map_trials(past([{"x": 0.1, "y": 0.5}, {"x": 0.1, "y": 0.9}], [1.0, 2.0]), now)

    assert mapped.params == [{"x": 0.1}, {"x": 0.1}]
    assert mapped.moved.tolist() == [False, True]
    assert mapped.describe() == []


def test_spaces_without_a_common_parameter_teach_nothing() -> None:
    now = Space(parameters={"z": FloatParameter(low=0, high=1)})
    warm = learned(sampled(bowl(0.2, 0.8)), space=now)

    assert warm.portfolio == ()
    assert PastModels(warm, now, Encoding(now, searched(now))).models == []
    assert [kind for kind, _ in Study(warm, space=now).run(lambda p: p["z"], 12)][:10] == [
        "quasi-random"
    ] * 10


def test_what_was_learned_survives_its_storage() -> None:
    warm = learned(sampled(bowl(0.2, 0.8)), sampled(bowl(0.3, 0.7), name="b"))

    again = WarmStart.from_text(warm.as_text())

    assert again.portfolio == warm.portfolio
    for one, other in zip(again.studies, warm.studies, strict=True):
        assert (one.name, one.space, one.pinned) == (other.name, other.space, other.pinned)
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_array_equal(one.values, other.values)


# Weights


def weights(
    study: PastStudy,
    objective: Objective,
    count: int = 20,
    own: Callable[[Any], Any] = lambda _: None,
) -> float:
    rng = np.random.default_rng(9)
    points = rng.random((count, 2))
    values = np.array([objective({"x": x, "y": y}) for x, y in points])
    models = PastModels(WarmStart((study,)), UNIT, Encoding(UNIT, searched(UNIT)))
    return models.weights(points, values, own(values))["past"]


def test_a_past_study_counts_as_far_as_it_ranks_this_ones_trials() -> None:
    related, inverted = sampled(bowl(0.25, 0.75)), sampled(lambda p: -bowl(0.2, 0.8)(p))
    rng = np.random.default_rng(1)
    noise = sampled(lambda _: float(rng.random()))

    assert weights(related, bowl(0.2, 0.8)) > 0.7
    assert weights(inverted, bowl(0.2, 0.8)) == 0.0
    assert weights(noise, bowl(0.2, 0.8)) < 0.5 * weights(related, bowl(0.2, 0.8))
    assert weights(related, bowl(0.2, 0.8), count=3) == 0.0  # any order is likely


def test_a_past_study_has_no_say_where_the_own_model_ranks_better() -> None:
    related = sampled(bowl(0.25, 0.75))

    assert weights(related, bowl(0.2, 0.8), own=lambda values: values) == 0.0
    assert weights(related, bowl(0.2, 0.8), own=lambda values: -values) > 0.7


def test_a_prior_mean_holds_where_nothing_was_observed() -> None:
    points = np.random.default_rng(2).random((12, 2)) * 0.4  # one corner alone
    encoding = Encoding(UNIT, searched(UNIT))
    values = np.array([bowl(0.2, 0.8)({"x": x, "y": y}) for x, y in points])
    values = (values - values.mean()) / values.std()
    models = PastModels(WarmStart((sampled(bowl(0.2, 0.8)),)), UNIT, encoding)
    prior = models.prior_mean(encoding.encode(points), values, np.zeros(12))
    assert prior is not None

    hyperparameters = Hyperparameters(np.log([0.1, 0.1]), np.log(1e-4))
    posterior = Posterior(hyperparameters, points, values, np.ones(12), prior)
    best, worst = np.array([[0.2, 0.8]]), np.array([[1.0, 0.0]])

    assert posterior.mean(best)[0] == pytest.approx(prior(best)[0], abs=0.05)
    assert posterior.mean(best)[0] < posterior.mean(worst)[0] - 0.5
    np.testing.assert_allclose(posterior.mean(points), values, atol=0.05)
    assert posterior.predict(worst)[1][0] == pytest.approx(prior.scale, rel=0.01)


# Portfolio


def test_the_portfolio_has_the_best_of_each_unlike_study_first() -> None:
    one, other = sampled(bowl(0.1, 0.1), name="one"), sampled(bowl(0.9, 0.9), name="other")

    chosen = learned(one, other).portfolio

    assert len(chosen) == 5
    assert {advice.study for advice in chosen[:2]} == {"one", "other"}
    for advice in chosen[:2]:
        optimum = 0.1 if advice.study == "one" else 0.9
        assert bowl(optimum, optimum)(advice.params) < 0.15
        study = one if advice.study == "one" else other
        assert study.params[advice.number].tolist() == list(advice.params.values())


def test_every_fourth_trial_is_of_the_portfolio_until_it_is_used_up() -> None:
    warm = learned(sampled(bowl(0.2, 0.8)))
    trials = Study(warm).run(bowl(0.25, 0.75), 24)

    kinds = [kind for kind, _ in trials]
    assert [n for n, kind in enumerate(kinds) if kind == "portfolio"] == [0, 4, 8, 12, 16]
    assert [params for kind, params in trials if kind == "portfolio"] == [
        dict(advice.params) for advice in warm.portfolio
    ]
    origin = Study(warm).proposer.propose(0).origin
    assert (origin.study, origin.trial) == ("past", warm.portfolio[0].number)


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_other_samplers_try_the_portfolio_too(sampler: str) -> None:
    warm = learned(sampled(bowl(0.2, 0.8)))

    kinds = [kind for kind, _ in Study(warm, sampler).run(bowl(0.25, 0.75), 12)]

    assert [n for n, kind in enumerate(kinds) if kind == "portfolio"] == [0, 4, 8]


def test_a_portfolio_that_the_trials_contradict_is_given_up() -> None:
    inverted = learned(sampled(lambda params: -bowl(0.2, 0.8)(params)))

    kinds = [kind for kind, _ in Study(inverted).run(bowl(0.2, 0.8), LAST)]

    assert [n for n, kind in enumerate(kinds) if kind == "portfolio"] == [0]


def test_before_one_has_a_value_two_of_the_portfolio_are_tried() -> None:
    study = Study(learned(sampled(bowl(0.2, 0.8))))
    kinds = []
    for number in range(16):
        proposal = study.proposer.propose(number)
        kinds.append(str(proposal.origin.kind))
        study.begin(proposal.params)

    assert [n for n, kind in enumerate(kinds) if kind == "portfolio"] == [0, 4]


def test_what_was_enqueued_is_not_tried_again_and_delays_no_other() -> None:
    warm = learned(sampled(bowl(0.2, 0.8)))
    study = Study(warm)
    study.add(warm.portfolio[0].params, 0.1)
    for number in range(3):
        study.add({"x": 0.1 * number, "y": 0.5}, 0.5)

    assert study.proposer.propose(4).params == warm.portfolio[1].params
    assert study.proposer.propose(4, {"x": 0.3}).origin.kind is OriginKind.ENQUEUED


def test_a_forbidden_configuration_is_not_in_the_portfolio() -> None:
    space = Space(parameters=UNIT.parameters, forbidden=({"x": {"below": 0.5}},))

    chosen = choose((sampled(bowl(0.2, 0.8)),), space, {})

    assert len(chosen) == 5
    assert all(float(advice.params["x"] or 0) >= 0.5 for advice in chosen)


def test_a_grid_is_not_left() -> None:
    parameters = {name: FloatParameter(low=0, high=1, step=0.25, prior=0.5) for name in ("x", "y")}
    space = Space(parameters=parameters)
    study = Study(learned(sampled(bowl(0.2, 0.8)), space=space), "grid", space)

    assert {kind for kind, _ in study.run(bowl(0.2, 0.8), 25)} == {"grid"}


def test_numerical_trouble_of_past_models_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LinAlgError

    warm = learned(sampled(bowl(0.2, 0.8)))
    monkeypatch.setattr(surrogate, "leave_one_out", fail)

    trials = Study(warm).run(bowl(0.2, 0.8), 14)

    assert len(trials) == 14


def test_a_related_study_saves_trials_and_every_process_draws_the_same() -> None:
    warm, target = learned(sampled(bowl(0.22, 0.78))), bowl(0.2, 0.8)

    def until(warm_start: WarmStart, value: float) -> int:
        trials = Study(warm_start).run(target, 30)
        return next(n for n, (_, params) in enumerate(trials, 1) if target(params) < value)

    assert until(warm, 0.003) <= until(WarmStart(), 0.003) / 2

    first, second = Study(warm), Study(warm)
    first.run(target, 20)
    for number in range(20):
        trial = first.history.get(number)
        assert trial is not None
        second.add(trial.params, target(trial.params))
    assert first.proposer.propose(20).params == second.proposer.propose(20).params


@pytest.mark.parametrize(
    "values",
    [
        [float("nan")] * 8,
        [1.0] * 8,
        [1e300, -1e300, 1e300, 0.0, 1e-300, 1e300, 5.0, 1.0],
        [1.0],
        [],
    ],
)
def test_useless_values_of_a_past_study_do_no_harm(values: list[float]) -> None:
    rng = np.random.default_rng(3)
    finite = [1.7e308 if np.isnan(value) else value for value in values]
    configurations = [{"x": float(x), "y": float(y)} for x, y in rng.random((len(values), 2))]

    trials = Study(learned(past(configurations, finite))).run(bowl(0.2, 0.8), 14)

    assert all(0 <= float(params["x"] or 0) <= 1 for _, params in trials)


def test_a_study_that_learned_nothing_draws_as_before() -> None:
    assert Advice("a", 1, {}) == Advice("a", 1, {})
    assert Study(WarmStart()).run(bowl(0.2, 0.8), 14) == Study(WarmStart((), ())).run(
        bowl(0.2, 0.8), 14
    )
