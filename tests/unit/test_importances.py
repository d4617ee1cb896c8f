"""What parameters explain, and how often one that is never read seems to explain much."""

import math
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from tuner.database.readers.columns import Reports
from tuner.search.effects import (
    Effect,
    effects,
    kernel_of_choices,
    kernel_of_numbers,
    kernel_of_some,
    normal_scores,
)
from tuner.search.importances import _values, baselines, clear, shares

STUDIES = 200
Objective = Callable[[np.ndarray, float], float]


def strong(x: np.ndarray, noise: float) -> float:
    return float((x[0] - 0.3) ** 2 + 0.02 * noise)


def interaction(x: np.ndarray, noise: float) -> float:
    return float(4 * (x[0] - 0.5) * (x[1] - 0.5) + 0.1 * noise)


def skewed(x: np.ndarray, noise: float) -> float:
    return math.exp(4 * abs(x[0] - 0.7) + 2 * abs(x[1] - 0.2)) + 0.1 * noise


def nothing(x: np.ndarray, noise: float) -> float:
    return noise


def learned(objective: Objective, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three parameters and results, drawn near what was good, as samplers do that learn.

    All three follow the best trials: one without effect is then near where luck was, and looks
    related to the results through the others.
    """
    rng = np.random.default_rng(seed)
    x = rng.random((trials, 3))
    y = np.empty(trials)
    for i in range(trials):
        if i >= 8 and rng.random() < 0.8:
            good = np.argsort(y[:i])[: max(2, i // 5)]
            x[i] = np.clip(x[rng.choice(good)] + 0.12 * rng.standard_normal(3), 0, 1)
        y[i] = objective(x[i], rng.standard_normal())
    return x, y


def without_effect(x: np.ndarray, seed: int) -> np.ndarray:
    """The last parameter as a number, a choice or a whole number, in turn."""
    last = x[:, 2]
    if seed % 3 == 0:
        return kernel_of_numbers(last)
    if seed % 3 == 1:
        return kernel_of_choices(np.floor(4 * last).tolist())
    return kernel_of_numbers(np.floor(4 * last))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "trials"),
    [(nothing, 10), (interaction, 20), (strong, 40)],  # more in `benchmarks/importance.py`
)
def test_what_is_never_read_is_above_its_baseline_in_few_studies(
    objective: Objective, trials: int
) -> None:
    above = 0
    for seed in range(STUDIES):
        x, y = learned(objective, trials, seed)
        kernels = [kernel_of_numbers(x[:, 0]), kernel_of_numbers(x[:, 1]), without_effect(x, seed)]
        above += effects(kernels, y)[2].is_clear
    assert above <= 0.05 * STUDIES


@pytest.mark.parametrize(
    ("objective", "which"), [(strong, [0]), (interaction, [0, 1]), (skewed, [0, 1])]
)
def test_what_matters_is_above_its_baseline_after_40_trials(
    objective: Objective, which: list[int]
) -> None:
    found = dict.fromkeys(which, 0)
    for seed in range(40):
        x, y = learned(objective, 40, seed)
        effect = effects([kernel_of_numbers(column) for column in x.T], y)
        for k in which:
            found[k] += effect[k].is_clear and effect[k].value > effect[2].value
    assert all(count >= 0.75 * 40 for count in found.values()), found


def test_a_share_is_that_of_the_variance() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((160, 2))
    y = math.sqrt(12) * x[:, 0] + rng.standard_normal(160)  # half of the variance each
    first, second = effects([kernel_of_numbers(c) for c in x.T], y)
    assert first.value == pytest.approx(0.5, abs=0.2)
    assert second.value < 0.1


def test_only_the_order_of_values_matters() -> None:
    x, y = learned(strong, 40, 0)
    kernels = [kernel_of_numbers(column) for column in x.T]
    assert effects(kernels, y) == effects(kernels, np.exp(9 * y))
    assert effects(kernels, y) == effects([kernel_of_numbers(np.log(c + 1)) for c in x.T], y)
    worst = y.copy()
    worst[y.argmax()] = math.inf
    assert effects(kernels, worst) == effects(kernels, y)


def test_the_other_direction_is_the_same() -> None:
    x, y = learned(strong, 40, 0)
    kernels = [kernel_of_numbers(column) for column in x.T]
    for up, down in zip(effects(kernels, -y), effects(kernels, y), strict=True):
        assert up.value == pytest.approx(down.value, abs=1e-6)


def test_equal_values_and_pinned_parameters_have_no_effect() -> None:
    none = Effect(0.0, 0.0)
    same, varied = np.ones((12, 12)), kernel_of_numbers(np.arange(12.0))
    assert effects([varied], np.ones(12)) == [none]
    assert effects([same, varied], np.arange(12.0))[0] == none
    assert effects([same, varied], np.arange(12.0))[1].is_clear
    assert effects([], np.arange(12.0)) == []


def test_of_a_conditional_parameter_its_value_counts_not_that_it_is_there() -> None:
    some = kernel_of_numbers(np.array([0.1, 0.2, 0.8, 0.9]))
    assert kernel_of_some(some, np.full(4, True)) is some
    kernel = kernel_of_some(some, np.array([True, False, True, False, True, True]))
    assert kernel[1].tolist() == [0.0] * 6
    assert kernel.sum() == pytest.approx(0.0, abs=1e-12)
    assert kernel[0, 2] > 0.0 > kernel[0, 5]
    # all that have it have the same value: nothing can be said of it
    alone = kernel_of_some(np.ones((2, 2)), np.array([True, True, False, False]))
    full = kernel_of_numbers(np.arange(4.0))
    assert effects([alone, full], np.arange(4.0))[0] == Effect(0.0, 0.0)


@pytest.mark.parametrize("matters", [False, True])
def test_a_choice_matters_beside_a_parameter_that_depends_on_it(matters: bool) -> None:
    """An optimizer, and a momentum that one of two optimizers has."""
    studies, clear = 40, np.zeros(2)
    for seed in range(studies):
        rng = np.random.default_rng(seed)
        is_sgd, momentum = rng.random(40) < 0.5, rng.random(40)
        y = 0.8 * is_sgd + 0.4 * rng.standard_normal(40)
        if matters:
            y += is_sgd * 3 * (momentum - 0.5)
        kernels = [
            kernel_of_choices(is_sgd.tolist()),
            kernel_of_some(kernel_of_numbers(momentum[is_sgd]), is_sgd),
        ]
        clear += [effect.is_clear for effect in effects(kernels, y)]
    optimizer, dependent = clear / studies
    assert optimizer >= 0.75
    assert dependent >= 0.75 if matters else dependent <= 0.05


def test_choices_that_python_holds_for_equal_are_told_apart() -> None:
    assert kernel_of_choices([(bool, True), (int, 1)])[0, 1] == 0.0


def test_ties_share_their_score() -> None:
    scores = normal_scores(np.array([2.0, 1.0, 2.0, 3.0]))
    assert scores[0] == scores[2]
    assert scores.mean() == pytest.approx(0.0)
    assert scores.std() == pytest.approx(1.0)


def test_what_is_told_of_effects() -> None:
    found = {"a": Effect(0.5, 0.1), "b": Effect(0.1, 0.2)}
    assert shares(found) == {"a": 0.5, "b": 0.1}
    assert baselines(found) == {"a": 0.1, "b": 0.2}
    assert clear(found) == {"a": 0.5}
    assert (shares(None), baselines(None), clear(None)) == (None, None, {})


def _trial(number: int, state: TrialState, value: float | None) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        state=state,
        value=value,
        datetime_start=datetime.now(),
        datetime_complete=datetime.now(),
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=number,
    )


def test_pruned_trials_are_compared_at_a_step_that_most_have_reached() -> None:
    curves = [[0.1, 0.5, 0.9], [0.2, 0.4], [0.3, 0.1], [0.4, math.nan], [0.7], [0.2, 0.3, 0.6]]
    ended_early = 4  # complete after one step, of its own accord
    complete = {0: 0.95, ended_early: 0.7, 5: 0.6}
    trials = [
        _trial(n, TrialState.COMPLETE if n in complete else TrialState.PRUNED, complete.get(n))
        for n in range(len(curves))
    ]
    flat = [(n, s + 1, v) for n, curve in enumerate(curves) for s, v in enumerate(curve)]
    numbers, steps, values = (np.array(column) for column in zip(*flat, strict=True))
    reports = Reports(numbers, steps, values)
    best = [0.5, 0.4, 0.3, 0.4, 0.7, 0.3]  # up to step 2, which five of six have reached
    assert _values(trials, reports, maximize=True) == best
    worst = [0.1, 0.2, 0.1, 0.4, 0.7, 0.2]
    assert _values(trials, reports, maximize=False) == worst
    with_few = [*trials, _trial(6, TrialState.PRUNED, None)]
    assert math.isnan(_values(with_few, reports, maximize=True)[6])  # it has reported nothing
