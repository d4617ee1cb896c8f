"""Who is ahead at a rung: by value, or by the fronts of several objectives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.database.readers.columns import Reports
from tuner.search.pruners import RungPruner, make
from tuner.search.pruners import ranking as rankings
from tuner.search.pruners.ranking import ByFront, ByValue, Ranking, Standing
from tuner.study_file.study import Pruner as PrunerSpec

UNKNOWN = math.nan


def fronts(*points: tuple[float, float]) -> ByFront:
    """Rank trials 0, 1, … by these scores."""
    ranking = ByFront(2)
    for number, (first, second) in enumerate(points):
        ranking.add(number, Standing(first, (second,)))
    return ranking


def order(ranking: Ranking) -> list[int]:
    """The trials, the one with the fewest ahead first."""
    return sorted(range(len(ranking)), key=lambda number: (ranking.count_ahead(number), number))


def test_better_fronts_come_first() -> None:
    ranking = fronts((1, 1), (3, 3), (2, 4), (2, 2), (4, 1))
    # (2, 4), (3, 3) and (4, 1) are beaten by none; (2, 2) beats (1, 1)
    assert sorted(order(ranking)[:3]) == [1, 2, 4]
    assert order(ranking)[3:] == [3, 0]
    assert [ranking.count_ahead(number) for number in (3, 0)] == [3, 4]


def test_within_a_front_the_ends_come_first_and_then_what_is_farthest_from_them() -> None:
    ranking = fronts(*[(float(x), float(10 - x)) for x in range(11)])
    assert order(ranking)[:3] == [10, 0, 5]
    assert [n for n in range(11) if ranking.is_leading(n)] == [0, 10]


def test_the_unit_of_an_objective_decides_nothing() -> None:
    points = [(float(x), float(10 - x)) for x in range(11)]
    assert order(fronts(*points)) == order(fronts(*[(x, 1e6 * y**3) for x, y in points]))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_no_trial_is_ahead_of_one_that_beats_it(points: list[tuple[int, int]]) -> None:
    ranking = fronts(*[(float(x), float(y)) for x, y in points])
    ahead = [ranking.count_ahead(number) for number in range(len(points))]
    for a, (x, y) in enumerate(points):
        for b, (u, v) in enumerate(points):
            if x >= u and y >= v and (x, y) != (u, v):
                assert ahead[a] < ahead[b]
    best = {max(points), max(points, key=lambda point: (point[1], point[0]))}
    assert {points[n] for n in range(len(points)) if ranking.is_leading(n)} == best


@pytest.mark.parametrize("make", [ByValue, lambda: ByFront(2)])
def test_what_violates_a_constraint_is_behind_all_others(make: type[ByValue]) -> None:
    ranking: Ranking = make()
    others = (0.5,) if isinstance(ranking, ByFront) else ()
    for number, violation in enumerate((0.3, 0.0, 0.1, 0.0)):
        score = 9.0 - number  # those that violate have the better scores
        ranking.add(number, Standing(score, others, violation))
    assert [ranking.count_ahead(number) for number in range(4)] == [3, 0, 2, 1]
    assert [ranking.is_leading(number) for number in range(4)] == [False, True, False, False]
    assert ranking[0].violation == 0.3


def test_of_trials_that_all_violate_a_constraint_the_nearest_to_it_leads() -> None:
    ranking = ByFront(2)
    for number, violation in enumerate((0.3, 0.1, 0.2)):
        ranking.add(number, Standing(1.0, (1.0,), violation))
    assert order(ranking) == [1, 2, 0]
    assert [n for n in range(3) if ranking.is_leading(n)] == [1]


def test_what_is_not_known_of_a_trial_is_not_held_against_it() -> None:
    ranking = fronts((0.5, 0.9), (0.7, 0.1), (0.6, UNKNOWN))
    assert ranking.count_ahead(2) == 1  # by the first objective alone
    assert not ranking.is_leading(2)
    # it counts as worst in what is not known of it, so it beats none
    assert ranking.count_ahead(0) < 2
    assert ranking.is_leading(1)


def test_of_very_many_trials_the_newest_and_the_best_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rankings, "WINDOW", 100)
    rng = np.random.default_rng(0)
    scores = rng.random((1_000, 2))
    scores[3] = (2.0, 0.5)  # long ago, and still the best in the first objective
    ranking = ByFront(2)
    ranking.extend(range(900), np.zeros(900), scores[:900])
    for number in range(900, 1_000):
        ranking.add(number, Standing(scores[number, 0], (scores[number, 1],)))
    ranking.add(1_000, Standing(1.9, (0.2,)))
    assert not ranking.is_leading(1_000)
    ranking.add(1_001, Standing(0.5, (0.5,)))
    assert 300 < ranking.count_ahead(1_001) < 900  # of 1,001


def pruner(**fields: int) -> RungPruner:
    spec = PrunerSpec.model_validate({"startup_trials": 3, **fields})
    rungs = make(spec, "maximize", ["minimize"])
    assert isinstance(rungs, RungPruner)
    return rungs


def test_the_most_accurate_and_the_fastest_go_on_and_what_both_beat_ends() -> None:
    rungs = pruner()
    ends = {}
    for number, (accuracy, latency) in enumerate(
        [(0.5, 5.0), (0.6, 6.0), (0.4, 9.0), (0.9, 8.0), (0.3, 1.0), (0.55, 7.0)]
    ):
        rungs.observe(number, 1, accuracy, [latency])
        ends[number] = rungs.should_prune(number, 1, accuracy)
    # trials 3 and 4 are the best so far of an objective; 2 and 5 are beaten
    assert ends == {0: False, 1: False, 2: True, 3: False, 4: False, 5: True}
    assert rungs.explain(5, 1, 0.55) == ("rung at epoch 1: it ranks 5th of 6; the best 2 go on")


def test_a_third_of_a_front_goes_on() -> None:
    rungs = pruner()
    rng = np.random.default_rng(1)
    went_on = 0
    for number in range(600):
        accuracy = rng.random()
        rungs.observe(number, 1, accuracy, [accuracy])  # a trade-off: none beats another
        went_on += not rungs.should_prune(number, 1, accuracy)
    assert 150 <= went_on <= 230


def test_trials_that_were_read_count_as_those_that_were_observed() -> None:
    rng = np.random.default_rng(2)
    points = rng.random((60, 2))
    observed, loaded = pruner(), pruner()
    for number, (accuracy, latency) in enumerate(points):
        observed.observe(number, 1, accuracy, [latency], 0.0)
    numbers = np.arange(60)
    metrics = np.column_stack([points[:, 1], np.full(60, np.nan)])  # no violation is known
    loaded.load(Reports(numbers, np.ones(60, np.int64), points[:, 0], metrics), complete=False)
    for rungs in (observed, loaded):
        rungs.observe(60, 1, 0.5, [0.5])
    decisions = [
        rungs._rungs[1].count_ahead(number) for rungs in (observed, loaded) for number in range(61)
    ]
    assert decisions[:61] == decisions[61:]


def test_a_trial_known_to_violate_a_constraint_ends_at_the_first_rung() -> None:
    rungs = make(PrunerSpec(startup_trials=2), "maximize")
    for number, value in enumerate((0.5, 0.6, 0.4)):
        rungs.observe(number, 1, value)
    rungs.observe(3, 1, 0.99, violation=0.2)
    assert rungs.should_prune(3, 1, 0.99)
    assert rungs.explain(3, 1, 0.99) == (
        "rung at epoch 1: violating a constraint, it ranks 4th of 4; only the best goes on"
    )
