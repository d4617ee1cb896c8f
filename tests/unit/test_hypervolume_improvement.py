"""The expected improvement of the hypervolume of two objectives."""

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.search.gaussian_process import log_expected_improvement
from tuner.search.hypervolume_improvement import (
    log_hypervolume_improvement,
    nondominated,
    reference_of,
)

FRONT = np.array([[0.1, 0.8], [0.3, 0.4], [0.7, 0.2]])
REFERENCE = np.array([1.0, 1.0])


@pytest.mark.parametrize("mean", [(0.2, 0.3), (0.5, 0.5), (0.9, 0.1), (0.0, 0.0)])
def test_it_is_the_mean_over_draws(mean: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    draws = np.array(mean) + 0.15 * rng.standard_normal((20_000, 2))
    before = moocore.hypervolume(FRONT, ref=REFERENCE)
    gains = [
        moocore.hypervolume(np.vstack([FRONT, draw]), ref=REFERENCE) - before for draw in draws
    ]
    logarithm = log_hypervolume_improvement(
        np.array([mean]), np.full((1, 2), 0.15), FRONT, REFERENCE
    )
    assert np.exp(logarithm[0]) == pytest.approx(np.mean(gains), rel=0.05)


def test_a_certain_point_improves_by_the_area_that_it_adds() -> None:
    gain = log_hypervolume_improvement(
        np.array([[0.2, 0.3]]), np.full((1, 2), 1e-6), FRONT, REFERENCE
    )
    # (0.3 - 0.2) · (0.8 - 0.3) left of the middle point, (0.7 - 0.3) · (0.4 - 0.3) below it
    assert np.exp(gain[0]) == pytest.approx(0.09, abs=1e-4)


def test_without_a_front_it_is_the_product_of_both_improvements() -> None:
    mean, deviation = np.array([[0.5, 0.25]]), np.array([[0.1, 0.2]])
    gain = log_hypervolume_improvement(mean, deviation, np.empty((0, 2)), REFERENCE)
    each = [
        log_expected_improvement(mean[:, k], deviation[:, k], 1.0)[0] for k in (0, 1)
    ]  # below the reference point
    assert gain[0] == pytest.approx(sum(each))


def test_hopeless_candidates_are_told_apart_and_nothing_is_infinite() -> None:
    mean = np.array([[3.0, 3.0], [6.0, 6.0], [1e6, 1e6]])
    gains = log_hypervolume_improvement(mean, np.full((3, 2), 0.1), FRONT, REFERENCE)
    assert np.isfinite(gains).all()
    assert gains[0] > gains[1] > gains[2]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    front = nondominated(np.array(points, float))
    assert {(int(x), int(y)) for x, y in front} == {
        (x, y)
        for x, y in points
        if not any(u <= x and v <= y and (u, v) != (x, y) for u, v in points)
    }
    assert (np.diff(front[:, 0]) > 0).all()


def test_the_reference_point_lies_beyond_the_front_and_the_typical_trial() -> None:
    assert reference_of(np.array([[-2.0, 1.0], [-1.0, -2.0]])).tolist() == [0.0, 1.3]
