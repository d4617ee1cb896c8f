"""Grids: configurations by index, without a list of them."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.spaces import spaces
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.grid import Grid, NoGridError, permuted
from tuner.study_file.load import loads
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
)
from tuner.study_file.search_checks import notes_on_sampler
from tuner.study_file.space import Range, Space

TREE = Space(
    parameters={
        "optimizer": CategoricalParameter(choices=("sgd", "adam", "lion")),
        "momentum": FloatParameter(low=0.5, high=0.9, step=0.1, when={"optimizer": ("sgd",)}),
        "layers": IntParameter(low=1, high=8),
        "rate": FloatParameter(
            low=1e-4, high=1.0, log=True, when={"optimizer": ("adam", "lion"), "layers": (3, 4)}
        ),
        "scale": FixedParameter(value=2.0, when={"optimizer": ("adam",)}),
    },
    forbidden=(
        {"layers": Range(above=6)},
        {"optimizer": ("lion",), "rate": Range(below=1e-3)},
        {"momentum": (0.7,), "layers": (1, 2)},
    ),
)
AXES: dict[str, list[Any]] = {
    "optimizer": ["sgd", "adam", "lion"],
    "momentum": [0.5, 0.6, 0.7, 0.8, 0.9],
    "layers": list(range(1, 9)),
    "rate": [1e-4, 1e-2, 1.0],
}


def configurations(grid: Grid) -> list[tuple[tuple[str, Any], ...]]:
    return [tuple(sorted(grid.at(index).items())) for index in range(grid.size)]


def test_conditions_and_forbidden_combinations_are_counted_out() -> None:
    expected = set()
    for values in itertools.product(*AXES.values()):
        drawn = dict(zip(AXES, values, strict=True))
        params: dict[str, Any] = {}
        for name in TREE.parameters:
            if TREE.is_active(name, params):
                params[name] = drawn.get(name, 2.0)
        if not TREE.is_forbidden(params):
            expected.add(tuple(sorted(params.items())))

    listed = configurations(Grid(TREE, points=3))

    assert len(listed) == len(set(listed)) == 46
    rounded = [tuple((n, round(v, 9) if n == "rate" else v) for n, v in c) for c in listed]
    assert set(rounded) == expected


@settings(max_examples=60, deadline=None)
@given(spaces())
def test_any_space_has_each_configuration_once(space: Space) -> None:
    grid = Grid(space, points=2)
    listed = [grid.at(index) for index in range(min(grid.size, 300))]

    assert len({repr(sorted(c.items(), key=str)) for c in listed}) == len(listed)
    assert not any(space.is_forbidden(params) for params in listed)
    cells = space.cells(300)
    if cells is not None:
        assert grid.size == len(cells)


def test_the_last_parameter_varies_fastest_and_shuffling_keeps_each_once() -> None:
    space = Space(
        parameters={
            "a": CategoricalParameter(choices=("x", "y")),
            "n": IntParameter(low=1, high=3),
        }
    )
    grid = Grid(space)

    in_order = [tuple(grid.at(i).values()) for i in range(6)]
    shuffled = [tuple(grid.shuffled(i, 1).values()) for i in range(6)]

    assert in_order == [("x", 1), ("x", 2), ("x", 3), ("y", 1), ("y", 2), ("y", 3)]
    assert sorted(shuffled) == in_order != shuffled


@given(st.integers(1, 3_000), st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_a_permutation_reaches_each_place_once(size: int, seed: int) -> None:
    assert sorted(permuted(i, size, seed) for i in range(size)) == list(range(size))


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (FloatParameter(low=0.0, high=1.0, points=3), [0.0, 0.5, 1.0]),
        (FloatParameter(low=1e-4, high=1.0, log=True, points=3), [1e-4, 1e-2, 1.0]),
        (FloatParameter(low=0.0, high=1.0, points=1), [0.5]),
        (FloatParameter(low=0.0, high=1.0, step=0.1, points=3), [0.0, 0.5, 1.0]),
        (FloatParameter(low=0.0, high=0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (IntParameter(low=1, high=9, points=3), [1, 5, 9]),
        (IntParameter(low=1, high=2, points=9), [1, 2]),
        (IntParameter(low=1, high=1000, log=True, points=4), [1, 10, 100, 1000]),
        (IntParameter(low=1, high=3, log=True, points=3), [1, 2, 3]),
    ],
)
def test_points_lie_at_equal_distances_on_the_scale(parameter: Any, values: list[Any]) -> None:
    grid = Grid(Space(parameters={"p": parameter}))

    assert [grid.at(i)["p"] for i in range(grid.size)] == pytest.approx(values)


def test_a_grid_of_any_size_costs_nothing() -> None:
    names = [f"p{i}" for i in range(60)]
    grid = Grid(Space(parameters=dict.fromkeys(names, IntParameter(low=1, high=10**9))))

    assert grid.size == 10 ** (9 * 60)
    assert set(grid.at(grid.size - 1).values()) == {10**9}
    assert grid.shuffled(0, 0) != grid.shuffled(1, 0)


def test_conditions_that_cannot_be_counted_are_refused() -> None:
    parameters = {f"p{i}": IntParameter(low=0, high=40) for i in range(12)}
    forbidden = tuple(
        {f"p{i}": (v,), f"p{(i + 6) % 12}": (v + 1,)} for i in range(12) for v in range(8)
    )

    with pytest.raises(NoGridError, match="in too many ways; choose `random`"):
        Grid(Space(parameters=parameters, forbidden=forbidden))


# In study files

HEAD = "name: x\nfamily: function\nfunction: train:train\nobjective: {metric: accuracy}\n"


def test_a_range_without_a_number_of_points_is_refused() -> None:
    with pytest.raises(SpecError, match=r"study:5: sampler: grid needs a number of values for x:"):
        resolve(loads(f"{HEAD}sampler: grid\nsearch: {{x: {{low: 0.0, high: 1.0}}}}\n"))


def test_the_launch_says_the_size_of_the_grid() -> None:
    text = (
        f"{HEAD}budget: {{trials: 4}}\nsampler: {{name: grid, options: {{points: 3}}}}\n"
        "search: {x: {low: 0.0, high: 1.0}, n: {low: 1, high: 9, points: 2}}\n"
    )
    spec = resolve(loads(text))

    assert list(notes_on_sampler(spec)) == [
        "its grid has 6 configurations, of which 4 trials (`budget.trials`) cover 67 %"
    ]
    more = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 9})})
    assert list(notes_on_sampler(more)) == [
        "its grid has 6 configurations: the study ends once all of them have been tried, before "
        "9 trials"
    ]
