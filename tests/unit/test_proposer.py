import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import FrozenTrial, TrialState

from tests.support.spaces import spaces
from tuner.database.readers.columns import NEVER, NO_REPORTS, Columns
from tuner.families import registry
from tuner.search import samplers
from tuner.search.history import History
from tuner.search.sample import BEST, NEWEST
from tuner.search.sampler import Proposer
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    at,
    values,
)
from tuner.study_file.samplers import SAMPLERS, SamplerName
from tuner.study_file.space import Range, Space
from tuner.study_file.study import Sampler
from tuner.trials import ParamValue

Objective = Callable[[Mapping[str, Any]], float]

XY = Space(parameters={"x": FloatParameter(low=-5, high=5), "y": FloatParameter(low=-5, high=5)})
GRID = Space(
    parameters={
        name: CategoricalParameter(choices=("a", "b", "c", "d")) for name in ("p", "q", "r")
    }
)
TREE = Space(
    parameters={
        "optimizer": CategoricalParameter(choices=("sgd", "adamw")),
        "rate": FloatParameter(low=1e-4, high=1.0, log=True),
        "momentum": FloatParameter(low=0.5, high=0.9, step=0.1, when={"optimizer": ("sgd",)}),
        "layers": IntParameter(low=1, high=8),
        "scale": FixedParameter(value=2.0, when={"optimizer": ("adamw",)}),
    }
)


def proposer(
    space: Space, sampler: str = "tpe", seed: int = 0, history: History | None = None
) -> Proposer:
    # like most of what is tested here, without the wait for ten startup trials
    options = {"points": 5} if sampler == "grid" else {}
    spec = Sampler.model_validate({"name": sampler, "startup_trials": 5, "options": options})
    return Proposer(space, spec, ["minimize"], seed, history or History(1))


def trial(
    proposes: Proposer,
    number: int,
    params: Mapping[str, ParamValue],
    value: float | None,
    state: TrialState = TrialState.COMPLETE,
    reports: Mapping[int, float] | None = None,
) -> FrozenTrial:
    distributions = proposes.distributions(params)
    for name, distribution in distributions.items():
        assert contains(distribution, params[name]), f"{name}: {params[name]} in {distribution}"
    # not `create_trial`: it finds steps of Optuna's own TPE wrong where low is a million steps away
    return FrozenTrial(
        number=number,
        state=state,
        value=value,
        datetime_start=None,
        datetime_complete=None,
        params=dict(params),
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(reports or {}),
        trial_id=number,
    )


def contains(distribution: BaseDistribution, value: ParamValue) -> bool:
    """Whether the value is in the distribution's range and on its steps, to a millionth of one."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is None:
        return distribution._contains(distribution.to_internal_repr(value))
    assert isinstance(value, float)
    steps = (value - distribution.low) / distribution.step
    return distribution.low <= value <= distribution.high and abs(steps - round(steps)) < 1e-6


def search(
    space: Space, sampler: str, objective: Objective, trials: int, seed: int = 0
) -> list[dict[str, Any]]:
    history = History(1)
    proposes = proposer(space, sampler, seed, history)
    out = []
    for number in range(trials):
        params = proposes.propose(number).params
        out.append(params)
        history.put(trial(proposes, number, params, objective(proposes.complete(params))))
    return out


def bowl(params: Mapping[str, Any]) -> float:
    return float((params["x"] - 1) ** 2 + (params["y"] + 2) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_study_seed_and_number_draw_the_same(sampler: str) -> None:
    again = [search(TREE, sampler, lambda p: p["rate"], 9, seed=3) for _ in range(2)]

    assert again[0] == again[1]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "grid"])
def test_another_number_and_another_seed_draw_something_else(sampler: str) -> None:
    draws = [
        proposer(XY, sampler, seed).propose(number).params
        for seed in range(4)
        for number in range(4)
    ]

    assert len({tuple(d.items()) for d in draws}) == 16


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_conditions_hold_and_pinned_parameters_are_completed(sampler: str) -> None:
    proposes = proposer(TREE, sampler)
    drawn = search(TREE, sampler, lambda p: p["rate"] * p["layers"], 16)

    assert {d["optimizer"] for d in drawn} == {"sgd", "adamw"}
    for params in drawn:
        complete = proposes.complete(params)
        assert ("momentum" in params) == (params["optimizer"] == "sgd")
        assert ("scale" in complete) == (params["optimizer"] == "adamw")
        assert "scale" not in params
        assert 1e-4 <= params["rate"] <= 1
        assert isinstance(params["layers"], int)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_what_is_forbidden_is_never_proposed(sampler: str) -> None:
    space = GRID.model_copy(update={"forbidden": ({"p": ("a", "b")}, {"q": ("c",), "r": ("d",)})})

    drawn = search(space, sampler, lambda p: (p["p"] in "ab") * -9.0, 30)

    assert not any(space.is_forbidden(d) for d in drawn)
    assert len({tuple(d.items()) for d in drawn}) == 30  # exactly what is allowed


@pytest.mark.slow
def test_a_small_allowed_corner_is_found() -> None:
    space = Space(
        parameters={"x": FloatParameter(low=0, high=1), "n": IntParameter(low=1, high=100)},
        forbidden=({"x": Range(above=0.02)},),
    )

    assert all(d["x"] <= 0.02 for d in search(space, "tpe", lambda p: -p["x"], 20))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_enqueued_parameters_are_kept(sampler: str) -> None:
    history = History(1)
    proposes = proposer(TREE, sampler, history=history)
    for number in range(8):
        params = proposes.propose(number).params
        history.put(trial(proposes, number, params, float(number)))
    fixed: dict[str, ParamValue] = {"optimizer": "sgd", "rate": 0.25, "momentum": 0.7}

    drawn = proposes.propose(8, fixed).params

    assert {name: drawn[name] for name in fixed} == fixed
    assert drawn.keys() == {*fixed, "layers"}


def test_an_enqueued_value_outside_the_range_is_kept() -> None:
    assert proposer(XY).propose(0, {"x": 77.0}).params["x"] == 77.0


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_enqueued_values_of_another_type_are_drawn_anew(sampler: str) -> None:
    space = Space(
        parameters={
            "x": FloatParameter(low=0.0, high=1.0),
            "n": IntParameter(low=1, high=8),
            "c": CategoricalParameter(choices=(1, 2)),
        }
    )
    drawn = proposer(space, sampler).propose(0, {"x": "high", "n": 2.5, "c": 3, "zz": 1}).params
    assert drawn.keys() == {"x", "n", "c"}
    assert 0 <= drawn["x"] <= 1
    assert drawn["n"] in range(1, 9)
    assert drawn["c"] in (1, 2)


def test_an_enqueued_start_of_something_forbidden_is_completed_to_something_allowed() -> None:
    space = GRID.model_copy(update={"forbidden": ({"p": ("a",), "q": ("a", "b", "c")},)})
    for number in range(20):
        drawn = proposer(space, "random").propose(number, {"p": "a"}).params
        assert (drawn["p"], drawn["q"]) == ("a", "d")


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_grid_is_used_up_before_anything_is_repeated(sampler: str) -> None:
    drawn = search(GRID, sampler, lambda p: float(ord(p["p"])), 66)

    assert len({tuple(d.items()) for d in drawn[:64]}) == 64
    assert all(d in drawn[:64] for d in drawn[64:])


def test_steps_count_as_the_same_however_they_were_added_up() -> None:
    space = Space(parameters={"x": FloatParameter(low=0.1, high=0.9, step=0.1)})
    drawn = search(space, "random", lambda p: p["x"], 9)

    assert sorted(round(d["x"], 6) for d in drawn) == [round(n / 10, 6) for n in range(1, 10)]


def test_running_trials_are_not_repeated() -> None:
    history = History(1)
    proposes = proposer(GRID, history=history)
    seen = []
    for number in range(64):
        params = proposes.propose(number).params
        seen.append(tuple(params.items()))
        history.put(trial(proposes, number, params, None, TrialState.RUNNING))

    assert len(set(seen)) == 64


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_model_beats_random_draws(sampler: str) -> None:
    seeds = range(4) if sampler == "tpe" else range(1)  # a Gaussian process takes its time

    def best(name: str) -> float:
        return statistics.fmean(
            min(bowl(d) for d in search(XY, name, bowl, 25, seed)) for seed in seeds
        )

    assert best(sampler) < best("random") / 2


def test_qmc_covers_every_sixteenth_once() -> None:
    drawn = search(XY, "qmc", bowl, 16)

    for name in ("x", "y"):
        cells = sorted(math.floor((d[name] + 5) / 10 * 16) for d in drawn)
        assert cells == list(range(16))


def test_qmc_needs_no_history_so_workers_share_one_sequence() -> None:
    alone = search(TREE, "qmc", lambda p: p["rate"], 12)

    assert [proposer(TREE, "qmc").propose(number).params for number in range(12)] == alone


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.inf, -math.inf])
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_infinite_results_do_not_stop_the_search(sampler: str, value: float) -> None:
    history = History(1)
    proposes = proposer(XY, sampler, history=history)
    for number in range(8):
        params = proposes.propose(number).params
        history.put(trial(proposes, number, params, value if number % 2 else bowl(params)))

    assert proposes.propose(8).params.keys() == {"x", "y"}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_of_pinned_parameters_alone_proposes_nothing(sampler: str) -> None:
    space = Space(parameters={"x": FixedParameter(value=1)})

    assert [proposer(space, sampler).propose(number).params for number in range(2)] == [{}, {}]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(space=spaces(), seed=st.integers(0, 2**31 - 1))
def test_any_space_is_searched_within_its_ranges(sampler: str, space: Space, seed: int) -> None:
    for params in search(space, sampler, lambda p: float(len(repr(p))), 8, seed):
        complete = proposer(space).complete(params)
        assert list(complete) == [n for n in space.parameters if space.is_active(n, complete)]
        assert not space.is_forbidden(complete)


@pytest.mark.slow
@pytest.mark.parametrize("family", [n for n in registry.BUILT_IN if n not in USER_CODE_FAMILIES])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_families_spaces_are_searched(sampler: str, family: str) -> None:
    space = registry.card(family).space
    first = next(name for name, p in space.parameters.items() if isinstance(p, FloatParameter))
    drawn = search(space, sampler, lambda p: p[first], 8)

    assert len({tuple(d.items()) for d in drawn}) == 8


@pytest.mark.slow
def test_searching_does_not_import_torch() -> None:
    program = (
        "import sys\n"
        "import tuner.search.claim\n"
        "from tuner.search.history import History\n"
        "from tuner.search.sampler import Proposer\n"
        "from tuner.study_file.parameters import FloatParameter\n"
        "from tuner.study_file.space import Space\n"
        "from tuner.study_file.study import Sampler\n"
        "space = Space(parameters={'x': FloatParameter(low=0, high=1)})\n"
        "Proposer(space, Sampler(), ['minimize'], 0, History(1)).propose(0).params\n"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'gensim') if m in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def in_columns(trials: list[FrozenTrial], names: list[str]) -> Columns:
    """What a fresh worker reads of finished trials."""
    numbers = np.array([t.number for t in trials], np.int64)
    return Columns(
        infeasible=False,
        state="complete",
        space_id=1,
        ids=numbers,
        numbers=numbers,
        params=np.array(
            [[t.distributions[n].to_internal_repr(t.params[n]) for n in names] for t in trials]
        ),
        values=np.array([t.values for t in trials]),
        started=np.full(len(trials), NEVER, np.int64),
        finished=np.full(len(trials), NEVER, np.int64),
        user_attrs={},
        system_attrs={},
    )


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_a_worker_that_starts_late_proposes_what_one_that_was_there_does(sampler: str) -> None:
    space = Space(
        parameters={
            "x": FloatParameter(low=0, high=1, step=0.1),
            "n": IntParameter(low=1, high=3),
            "c": CategoricalParameter(choices=("a", "b")),
        }
    )
    history = History(1)
    there = proposer(space, sampler, history=history)
    drawn = []
    for number in range(40):
        params = there.propose(number).params
        drawn.append(trial(there, number, params, float(params["x"])))
        history.put(drawn[-1])
    late = History(1)
    distributions = drawn[0].distributions
    late._load(in_columns(drawn, list(distributions)), distributions, NO_REPORTS)

    assert proposer(space, sampler, history=late).propose(40).params == there.propose(40).params


def test_parameters_that_were_set_anew_are_what_was_tried() -> None:
    space = Space(parameters={"c": CategoricalParameter(choices=("a", "b", "c"))})
    history = History(1)
    proposes = proposer(space, "random", history=history)
    history.put(trial(proposes, 0, {"c": "a"}, None, TrialState.RUNNING))
    history.put(trial(proposes, 0, {"c": "b"}, None, TrialState.RUNNING))  # a second draw of it
    history.put(trial(proposes, 1, {"c": "c"}, 0.5))
    history.put(trial(proposes, 1, {"c": "c"}, 0.5))  # read back

    assert {proposes.propose(number).params["c"] for number in range(2, 8)} == {"a"}


def test_trials_of_other_ranges_do_not_disturb() -> None:
    history = History(1)
    proposes = proposer(XY, "tpe", history=history)
    other = Space(parameters={"x": CategoricalParameter(choices=("far", "away"))})
    stranger = proposer(other)
    for number in range(8):
        history.put(trial(stranger, number, {"x": "far"}, 0.0))
    for number in range(8, 30):
        params = proposes.propose(number).params
        assert params.keys() == {"x", "y"}
        history.put(trial(proposes, number, params, bowl(params)))


def divided(shown: list[FrozenTrial], below: int) -> list[int]:
    """The numbers of the trials that TPE takes for the good ones."""
    study = optuna.create_study()
    good, _ = _split_trials(study, shown, below)
    return [t.number for t in good]


@pytest.mark.parametrize("complete_share", [0.9, 0.01])
def test_tpe_sees_the_good_trials_of_a_long_history(complete_share: float) -> None:
    history = History(1)
    proposes = proposer(XY, history=history)
    rng = random.Random(0)
    every = []
    for number in range(1_500):
        complete = rng.random() < complete_share
        every.append(
            trial(
                proposes,
                number,
                {"x": rng.uniform(-5, 5), "y": 0.0},
                rng.random() if complete else None,
                TrialState.COMPLETE if complete else TrialState.PRUNED,
                {} if complete else {s: rng.random() for s in range(1, rng.randint(2, 9))},
            )
        )
    for made in rng.sample(every, len(every)):  # trials do not end in their order
        history.put(made)
    sample = proposes._sample
    shown = history.select(sample.numbers())

    assert divided(shown, 25) == divided(every, 25)
    assert NEWEST <= len(shown) <= NEWEST + BEST
    assert {t.number for t in shown} >= set(range(1_500 - NEWEST, 1_500))


def test_a_proposal_after_many_trials_looks_at_no_more_of_them() -> None:
    history = History(1)
    proposes = proposer(XY, history=history)
    rng = random.Random(0)
    for number in range(3 * NEWEST):
        history.put(trial(proposes, number, {"x": rng.random(), "y": rng.random()}, rng.random()))

    assert len(proposes._storage.get_all_trials(0)) <= NEWEST + BEST


@pytest.mark.parametrize(
    ("low", "high", "step", "top"),
    [
        (1.0, 2048.01, 2047.0100000000002, 1.0),  # the step is a hair too long to fit
        (0.1, 0.35, 0.1, 0.3),
        (0.0, 0.3, 0.1, 0.3),
        (0.5, 0.9, 0.1, 0.9),
    ],
)
def test_the_last_step_is_one_that_optuna_takes(
    low: float, high: float, step: float, top: float
) -> None:
    space = Space(parameters={"x": FloatParameter(low=low, high=high, step=step)})
    every = values(space.parameters["x"], 100)
    assert every is not None
    assert every[-1] == top
    proposes = proposer(space, "random")
    for number, value in enumerate(every):
        trial(proposes, number, {"x": value}, 0.0)  # Optuna refuses what its distribution lacks
    drawn = {at(space.parameters["x"], share / 1000) for share in range(1000)}
    assert drawn == set(every)


def test_two_objectives_are_searched_between_their_optima() -> None:
    """The front of x² and (x - 1)² is [0, 1], a twentieth of the range."""
    space = Space(parameters={"x": FloatParameter(low=-10, high=10)})
    spec = Sampler.model_validate({"name": "tpe", "startup_trials": 10})
    history = History(1)
    proposes = Proposer(space, spec, ["minimize", "maximize"], 0, history)
    found = []
    for number in range(60):
        params = proposes.propose(number).params
        x = params["x"]
        assert isinstance(x, float)
        made = trial(proposes, number, params, None)
        made.values = [x * x, -((x - 1) ** 2)]
        history.put(made)
        found.append(x)
    near = sum(-0.5 <= x <= 1.5 for x in found[20:])
    assert near >= 11  # of 40; of random draws it would be four


def test_every_sampler_of_study_files_has_a_module() -> None:
    assert set(SAMPLERS) == set(get_args(SamplerName))
    assert all(callable(samplers.load(name)) for name in SAMPLERS)
