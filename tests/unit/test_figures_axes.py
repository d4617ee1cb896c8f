import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import synthetic
from tuner.figures import axes, thin, values
from tuner.trials import Direction, ParamValue


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([128, 256, 32, 64, 32], (32, 64, 128, 256)),
        (["sgd", "adam", "adamw"], ("adam", "adamw", "sgd")),
        ([True, False, True], (False, True)),
        (["b", None, 10, 9, True, "a", 0.5], (0.5, 9, 10, True, "a", "b", None)),
        ([1, True], (1, True)),
    ],
)
def test_categories_are_sorted_as_people_would(
    sample: list[ParamValue], expected: tuple[ParamValue, ...]
) -> None:
    axis = axes.axis("p", sample, categorical=True)
    assert [repr(c) for c in axis.categories] == [repr(c) for c in expected]
    assert [axis.position(c) for c in expected] == list(range(len(expected)))


def test_few_whole_numbers_are_categories_where_the_space_is_unknown() -> None:
    assert axes.axis("p", [64, 32, 128]).kind == "categories"
    assert axes.axis("p", list(range(50))).kind == "linear"
    assert axes.axis("p", [64, 32, 128], categorical=False).kind == "linear"
    assert axes.axis("p", [64, 32, 128], log=True).kind == "log"
    assert axes.axis("p", [0.1, 0.2]).kind == "linear"


def test_a_log_axis_places_by_powers_of_ten() -> None:
    axis = axes.axis("rate", [1e-5, 1e-1], log=True)
    assert (axis.low, axis.high) == pytest.approx((-5, -1))
    assert axis.position(1e-3) == pytest.approx(-3)
    assert axis.position(0.0) is None
    assert axis.position(math.nan) is None
    assert axis.ticks()[1] == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]


def test_a_log_axis_with_values_that_have_no_logarithm_is_linear() -> None:
    assert axes.axis("p", [0.0, 1.0], log=True).kind == "linear"


@pytest.mark.parametrize("value", [0.0, 3.5, 1e300, -1e-300])
def test_a_constant_has_a_range(value: float) -> None:
    axis = axes.axis("p", [value, value])
    assert axis.low < axis.high
    assert axis.ticks()[0]


def test_whole_parameters_have_whole_ticks() -> None:
    axis = axes.axis("layers", [1, 2, 3, 4], categorical=False)
    assert axis.ticks()[1] == ["1", "2", "3", "4"]


def test_axes_follow_importance_and_the_stored_space() -> None:
    ordered = axes.axes(
        synthetic.trials(40), synthetic.study(), synthetic.LOG, synthetic.IMPORTANCES
    )
    assert [a.name for a in ordered] == list(synthetic.IMPORTANCES)
    kinds = {a.name: a.kind for a in ordered}
    assert kinds["learning_rate"] == kinds["weight_decay"] == "log"
    assert kinds["batch_size"] == kinds["optimizer"] == "categories"
    assert kinds["layers"] == "linear"


@given(
    st.lists(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(10**400)
        ),
        min_size=1,
    ),
    st.booleans(),
    st.sampled_from([True, False, None]),
)
def test_any_values_have_an_axis(
    sample: list[ParamValue], log: bool, categorical: bool | None
) -> None:
    axis = axes.axis("p", sample, log=log, categorical=categorical)
    assert axis.low < axis.high
    positions, names = axis.ticks()
    assert len(positions) == len(names) > 0
    for value in sample:
        position = axis.position(value)
        assert position is None or axis.low <= position <= axis.high
        if axis.kind == "categories":
            assert position is not None


@given(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300))
def test_ticks_lie_within_and_are_few(low: float, span: float) -> None:
    high = low + span
    if low < high:
        ticks = axes.nice_ticks(low, high)
        assert len(ticks) <= 8
        room = 1e-6 * (high - low)
        assert all(low - room <= t <= high + room for t in ticks)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_few_diverged_values_do_not_flatten_the_rest(direction: Direction) -> None:
    rng = random.Random(0)
    sign = 1 if direction == "maximize" else -1
    good = [sign * rng.gauss(0.9, 0.02) for _ in range(50)]
    view = values.value_range([*good, sign * -1e6, math.nan], direction)
    assert view is not None
    assert values.outside([*good, sign * -1e6], view) == 1
    assert values.value_range(good, direction) is None


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("sample", [[], [1.0], [2.0] * 50, [math.nan] * 9, [1e308, -1e308]])
def test_ranges_of_odd_values(sample: list[float], direction: Direction) -> None:
    assert values.value_range(sample, direction) is None


@given(st.lists(st.floats(), min_size=1), st.sampled_from(["maximize", "minimize"]))
def test_the_best_value_is_never_left_out(sample: list[float], direction: Direction) -> None:
    view = values.value_range(sample, direction)
    finite = [v for v in sample if math.isfinite(v)]
    if view is not None:
        best = max(finite) if direction == "maximize" else min(finite)
        assert view[0] <= best <= view[1]


@given(st.integers(0, 300), st.integers(0, 100), st.sets(st.integers(0, 299)))
def test_thinning_keeps_the_ends_and_what_matters(length: int, limit: int, keep: set[int]) -> None:
    keep = {i for i in keep if i < length}
    chosen = thin.indices(length, limit, keep)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= max(limit, 0)
    assert all(0 <= i < length for i in chosen)
    if len(keep) + 2 <= limit:
        assert keep <= set(chosen)
        assert not length or {0, length - 1} <= set(chosen)
