"""Where unfinished curves would end: right values, honest intervals, hostile input."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tuner.database.readers.columns import Reports
from tuner.search.learning_curves import LearningCurves
from tuner.search.pruners import RungPruner
from tuner.search.pruners.ladder import Ladder

EPOCHS = 27
DECILE = 1.2816  # standard deviations from the middle to either end of an 80 % interval


def curves_of(
    curves: Sequence[Sequence[float]], final: Sequence[float], *, steps: Sequence[int] = ()
) -> LearningCurves:
    """Take in all curves at once; `final` is NaN for trials that are not complete."""
    numbers = np.repeat(np.arange(len(curves)), [len(curve) for curve in curves])
    each = [list(steps[: len(curve)] if steps else range(1, len(curve) + 1)) for curve in curves]
    out = LearningCurves()
    out.reserve(len(curves))
    reports = Reports(
        numbers,
        np.array([step for row in each for step in row], np.int64),
        np.array([value for curve in curves for value in curve], np.float64),
    )
    out.set(np.arange(len(curves)), reports, np.array(final, np.float64))
    return out


def all_of(curves: LearningCurves) -> np.ndarray:
    return np.arange(len(curves.last))


def test_a_curve_ends_lower_by_what_others_have_dropped_since() -> None:
    complete = [[s, s, *[s - 0.5] * 6, s - 0.7] for s in (1.0, 2.0, 3.0)]
    curves = curves_of(
        [*complete, [0.9], [1.9, 1.9, 1.0], [4.0] * 5], [0.3, 1.3, 2.3] + [math.nan] * 3
    )

    expected = curves.extrapolate(all_of(curves))

    part = math.log(5 / 3) / math.log(3)  # epoch 5, of the way from 3 to 9
    assert expected.values.tolist() == pytest.approx(
        [0.3, 1.3, 2.3, 0.9 - 0.7, 1.0 - 0.2, 4.0 - 0.2 * (1 - part)]
    )
    assert expected.deviations[:3].tolist() == [0.0] * 3
    assert expected.deviations[3] > expected.deviations[4] > expected.deviations[5] > 0


def test_a_deviation_is_that_of_the_drops_once_many_are_known() -> None:
    rng = np.random.default_rng(0)
    drops = rng.normal(0.3, 0.02, 2000).clip(0.1)
    complete = [[1.0, 1.0 - drop] for drop in drops]
    curves = curves_of([*complete, [1.0]], [*(1.0 - drops), math.nan])

    expected = curves.extrapolate(all_of(curves))

    assert expected.values[-1] == pytest.approx(0.7, abs=0.005)
    assert expected.deviations[-1] == pytest.approx(0.02, rel=0.1)


def test_before_any_curve_is_whole_the_best_value_counts_and_little_is_known() -> None:
    curves = curves_of([[1.0], [2.0], [4.0]], [math.nan] * 3)

    expected = curves.extrapolate(all_of(curves))

    assert expected.values.tolist() == [1.0, 2.0, 4.0]
    assert (expected.deviations > 0.5).all()


def test_only_the_trials_that_are_asked_for_count() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 10, 40)
    rows = [np.sort(rng.random(length))[::-1].tolist() for length in lengths]
    final = [row[-1] if len(row) == 9 else math.nan for row in rows]
    first = np.arange(0, 40, 2)

    part = curves_of(rows, final).extrapolate(first)
    alone = curves_of(rows[::2], final[::2]).extrapolate(np.arange(20))

    assert part.values.tolist() == alone.values.tolist()
    assert part.deviations.tolist() == alone.deviations.tolist()


@pytest.mark.parametrize("steps", [(), (2, 5, 6, 20, 21, 22, 30, 31, 40)])
def test_one_report_after_the_other_gives_the_same_as_all_at_once(steps: Sequence[int]) -> None:
    rng = np.random.default_rng(2)
    rows = [rng.random(length).tolist() for length in rng.integers(1, 10, 30)]
    final = [min(row) if len(row) == 9 else math.nan for row in rows]
    at_once = curves_of(rows, final, steps=steps).extrapolate(np.arange(30))
    places = steps or range(1, 10)

    later = LearningCurves()
    for number, (row, last) in enumerate(zip(rows, final, strict=True)):
        for length in range(1, len(row) + 1):
            later.reserve(number + 1)
            later.set(
                np.array([number]),
                Reports(np.full(length, number), np.array(places[:length]), np.array(row[:length])),
                np.array([last if length == len(row) else math.nan]),
            )

    one_by_one = later.extrapolate(np.arange(30))
    assert one_by_one.values.tolist() == at_once.values.tolist()
    assert one_by_one.deviations.tolist() == at_once.deviations.tolist()


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("is_pruned", [True, False])
def test_intervals_hold_what_they_promise(noise: float, *, is_pruned: bool) -> None:
    """80 % intervals of simulated studies hold the true end of 70 to 90 % of the curves.

    Curves are power laws of many shapes; rungs prune them, or each stops at random.
    """
    hits: list[bool] = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size = 150
        end, height, rate = rng.beta(2, 5, size), rng.random(size), rng.uniform(0.2, 1.5, size)
        epochs = np.arange(1, EPOCHS + 1)
        whole = end[:, None] + height[:, None] * epochs ** -rate[:, None]
        whole += noise * rng.standard_normal(whole.shape)
        rungs = RungPruner("minimize", Ladder(1, 3), reduction=3, startup_trials=5)
        rows, final = [], []
        for number, curve in enumerate(whole):
            length = EPOCHS if number < 10 else int(rng.integers(1, EPOCHS + 1))
            if is_pruned:
                length = EPOCHS
                for step, value in enumerate(curve[:-1], start=1):
                    rungs.observe(number, step, value)
                    if rungs.should_prune(number, step, value):
                        length = step
                        break
            rows.append(curve[:length].tolist())
            final.append(min(curve) if length == EPOCHS else math.nan)
        expected = curves_of(rows, final).extrapolate(np.arange(size))
        unfinished = np.isnan(final)
        error = np.abs(whole.min(1) - expected.values)[unfinished]
        hits += (error < DECILE * expected.deviations[unfinished]).tolist()

    assert 0.7 <= np.mean(hits) <= 0.9


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[math.nan]],
        [[1e308, -1e308], [math.inf], [-math.inf]],
        [[1.0] * 9] * 5,
        [[1e300 * k] * (k + 1) for k in range(9)],
        [[5.0]],
    ],
)
def test_whatever_is_reported_what_is_expected_is_finite(rows: list[list[float]]) -> None:
    final = [math.nan if len(row) < 9 else 1e308 for row in rows]

    expected = curves_of(rows, final).extrapolate(np.arange(len(rows)))

    assert np.isfinite(expected.values).all()
    assert np.isfinite(expected.deviations).all()
    assert (expected.deviations >= 0).all()
