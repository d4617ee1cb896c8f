import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.database.readers.columns import Reports
from tuner.search.pruners import HyperbandPruner, MedianPruner, NoPruner, RungPruner, make
from tuner.search.pruners.curves import CurvePruner
from tuner.search.pruners.hyperband import sizes
from tuner.search.pruners.ladder import Ladder
from tuner.study_file.study import Pruner
from tuner.trials import Direction


def rungs(
    direction: Direction = "maximize",
    *,
    min_epochs: int = 1,
    reduction: int = 3,
    startup_trials: int = 1,
) -> RungPruner:
    return RungPruner(
        direction,
        Ladder(min_epochs, reduction),
        reduction=reduction,
        startup_trials=startup_trials,
    )


def ends(pruner: NoPruner, number: int, step: int, value: float) -> bool:
    """Report as a worker does."""
    pruner.observe(number, step, value)
    return pruner.should_prune(number, step, value)


@pytest.mark.parametrize(
    ("direction", "values", "ended"),
    [
        # of three trials one goes on, of six two
        ("maximize", [0.5, 0.6, 0.4, 0.7, 0.55, 0.65], [False, False, True, False, True, True]),
        ("minimize", [0.5, 0.6, 0.4, 0.7, 0.55, 0.65], [False, True, False, True, True, True]),
        ("maximize", [0.5, 0.5, 0.5, 0.5], [False, False, False, False]),
        ("maximize", [1.0, 0.9, 0.8, 0.7, 0.6, 0.5], [False, True, True, True, True, True]),
    ],
)
def test_a_rung_lets_the_best_third_go_on(
    direction: Direction, values: list[float], ended: list[bool]
) -> None:
    pruner = rungs(direction)

    assert [ends(pruner, n, 1, value) for n, value in enumerate(values)] == ended


@pytest.mark.parametrize(
    ("direction", "values", "reason"),
    [
        ("maximize", [0.5, 0.6, 0.412], "0.412 ranks 3rd of 3; only the best goes on"),
        ("minimize", [0.5, 0.6, 0.55], "0.55 ranks 2nd of 3; only the best goes on"),
        (
            "maximize",
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.45],
            "0.45 ranks 2nd of 6, but 5 trials went on before it; at most 2 may",
        ),
        ("maximize", [0.5, 0.6, math.nan], "its value is not a number"),
        (
            "maximize",
            [0.9, *(0.1 + 0.01 * n for n in range(9)), 0.1, 0.12345],
            "0.1235 ranks 8th of 12; the best 4 go on",
        ),
    ],
)
def test_a_rung_says_why_a_trial_ends(
    direction: Direction, values: list[float], reason: str
) -> None:
    pruner = rungs(direction, min_epochs=3)
    ended = [ends(pruner, number, 3, value) for number, value in enumerate(values)]

    assert ended[-1]
    assert pruner.explain(len(values) - 1, 3, values[-1]) == f"rung at epoch 3: {reason}"


@pytest.mark.parametrize(
    ("direction", "sign", "side"), [("maximize", 1, "below"), ("minimize", -1, "above")]
)
def test_the_median_rule_says_what_it_compares(direction: Direction, sign: int, side: str) -> None:
    pruner = MedianPruner(direction, min_epochs=1, startup_trials=2)
    for number, value in enumerate((0.3, 0.47, 0.6)):
        pruner.observe(number, 6, sign * value)
        pruner.complete(number)
    pruner.observe(3, 5, sign * 0.41)

    assert ends(pruner, 3, 6, sign * 0.35)
    assert pruner.explain(3, 6, sign * 0.35) == (
        f"median rule: best {sign * 0.41} up to epoch 6 is {side} the median {sign * 0.47} of 3 "
        "complete trials there"
    )
    assert ends(pruner, 4, 6, math.nan)
    assert pruner.explain(4, 6, math.nan) == (
        "median rule: it has no value up to epoch 6 that is a number"
    )


def test_rungs_lie_at_powers_of_the_reduction() -> None:
    pruner = rungs(min_epochs=2)
    for step in range(1, 60):
        pruner.observe(0, step, 1.0)

    found = [step for step in range(1, 60) if ends(pruner, 1, step, 0.0)]

    assert found == [2, 6, 18, 54]


def test_a_rung_is_reached_with_the_first_report_at_or_after_it() -> None:
    pruner = rungs()
    for step in range(100, 2000, 100):
        pruner.observe(0, step, 1.0)

    found = [step for step in range(100, 2000, 100) if ends(pruner, 1, step, 0.0)]

    assert found == [100, 300, 800]  # of the rungs 1 … 81, 243, 729


def test_startup_trials_must_have_reached_the_rung() -> None:
    pruner = rungs(startup_trials=4)

    assert [ends(pruner, n, 1, -float(n)) for n in range(6)] == [False] * 3 + [True] * 3


def test_a_trial_counts_at_a_rung_with_what_it_had_there() -> None:
    pruner = rungs()
    pruner.observe(0, 1, 0.3)
    pruner.observe(0, 2, 0.99)  # later progress is another rung's matter

    assert not ends(pruner, 1, 1, 0.4)
    assert ends(pruner, 2, 1, 0.35)


def test_a_repeated_report_after_a_resumed_attempt_changes_nothing() -> None:
    pruner = rungs()
    pruner.observe(0, 1, 0.3)
    pruner.observe(0, 1, 0.9)

    assert not ends(pruner, 1, 1, 0.5)


def test_a_rung_that_was_stepped_over_is_filled() -> None:
    pruner = rungs()
    pruner.observe(0, 3, 0.9)  # reports every third epoch

    assert ends(pruner, 1, 1, 0.1)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_nan_is_worst_at_a_rung(direction: Direction) -> None:
    pruner = rungs(direction)

    assert ends(pruner, 0, 1, math.nan)
    assert not ends(pruner, 1, 1, 0.5)
    assert not ends(rungs(direction, startup_trials=2), 0, 1, math.nan)


@given(st.lists(st.floats(allow_nan=True), max_size=40), st.integers(2, 5))
def test_the_best_trial_so_far_always_goes_on(values: list[float], reduction: int) -> None:
    pruner = rungs(reduction=reduction)
    best = -math.inf
    for number, value in enumerate(values):
        ended = ends(pruner, number, 1, value)
        if value >= best and value != -math.inf:
            assert not ended
        best = max(best, value) if not math.isnan(value) else best


def test_on_average_a_third_goes_on() -> None:
    pruner = rungs(startup_trials=5)
    values = [(number * 37) % 101 / 101 for number in range(101)]
    went_on = sum(not ends(pruner, n, 1, value) for n, value in enumerate(values))

    assert 30 <= went_on <= 45


def medians(direction: Direction = "maximize", startup_trials: int = 3) -> MedianPruner:
    return MedianPruner(direction, min_epochs=2, startup_trials=startup_trials)


@pytest.mark.parametrize(
    ("direction", "value", "ended"),
    [
        ("maximize", 0.49, True),
        ("maximize", 0.5, False),
        ("maximize", 0.51, False),
        ("minimize", 0.49, False),
        ("minimize", 0.5, False),
        ("minimize", 0.51, True),
        ("maximize", math.nan, True),
        ("minimize", math.nan, True),
    ],
)
def test_worse_than_the_median_ends(direction: Direction, value: float, ended: bool) -> None:
    pruner = medians(direction)
    for number, theirs in enumerate((0.1, 0.5, 0.9)):
        pruner.observe(number, 2, theirs)
        pruner.complete(number)

    assert ends(pruner, 9, 2, value) is ended


def test_only_complete_trials_are_peers() -> None:
    pruner = medians()
    for number in range(5):
        pruner.observe(number, 2, 0.9)

    assert not ends(pruner, 9, 2, 0.1)
    for number in range(3):
        pruner.complete(number)
    assert ends(pruner, 10, 2, 0.1)


def test_a_trials_best_report_counts() -> None:
    pruner = medians()
    for number in range(3):
        pruner.observe(number, 3, 0.5)
        pruner.complete(number)
    pruner.observe(9, 2, 0.8)

    assert not ends(pruner, 9, 3, 0.2)


def test_no_median_before_min_epochs() -> None:
    pruner = medians()
    for number in range(3):
        pruner.observe(number, 1, 0.9)
        pruner.complete(number)

    assert not ends(pruner, 9, 1, 0.0)


def hyperband(epochs: int = 27, startup_trials: int = 1) -> HyperbandPruner:
    spec = Pruner.model_validate({"name": "hyperband", "startup_trials": startup_trials})
    pruner = make(spec, "maximize", last_step=epochs)
    assert isinstance(pruner, HyperbandPruner)
    return pruner


def test_brackets_have_the_sizes_of_hyperband() -> None:
    # n of table 1 of Li et al. (2018), R = 81
    assert sizes(5, 3) == [81, 34, 15, 8, 5]
    assert sizes(4, 3) == [27, 12, 6, 4]
    assert sizes(1, 3) == [1]


@pytest.mark.parametrize(("trials", "slack"), [(49, 1), (490, 3), (490_000, 3)])
def test_brackets_share_the_trials_by_their_sizes_at_any_number(trials: int, slack: int) -> None:
    counts = Counter(hyperband().brackets(np.arange(trials)).tolist())

    for bracket, size in enumerate((27, 12, 6, 4)):
        assert counts[bracket] == pytest.approx(size * trials / 49, abs=slack)


def test_a_bracket_compares_its_own_trials_from_its_own_first_rung_on() -> None:
    pruner = hyperband()
    for number in range(400):  # each is worse than the one before it
        for step in range(1, 27):
            pruner.observe(number, step, -float(number))
    first_rung = [1, 3, 9, 27]
    places = [pruner.bracket(number) for number in range(400, 440)]

    last = [
        next((step for step in range(1, 27) if ends(pruner, number, step, -1e6)), 27)
        for number in range(400, 440)
    ]

    assert last == [first_rung[place] for place in places]
    assert set(places) == {0, 1, 2, 3}


def test_what_is_best_in_its_bracket_goes_on_there() -> None:
    pruner = hyperband()
    first = [number for number in range(100) if pruner.bracket(number) == 0]
    second = [number for number in range(100) if pruner.bracket(number) == 1]
    for number in second:
        pruner.observe(number, 1, 1.0)

    assert not ends(pruner, first[0], 1, 0.5)  # better ones are in another bracket
    assert ends(pruner, first[1], 1, 0.4)
    assert pruner.explain(first[1], 1, 0.4) == (
        "bracket 1 of 4, rung at epoch 1: 0.4 ranks 2nd of 2; only the best goes on"
    )


def test_a_bracket_that_is_read_at_once_prunes_like_one_that_was_told() -> None:
    curves = np.random.default_rng(0).random((60, 9))
    numbers, steps = np.repeat(np.arange(60), 9), np.tile(np.arange(1, 10), 60)
    loaded, told = hyperband(9), hyperband(9)
    loaded.load(Reports(numbers, steps, curves.ravel()), complete=True)
    for number, step, value in zip(numbers, steps, curves.ravel(), strict=True):
        told.observe(int(number), int(step), float(value))

    asked = [(n, step, 0.9) for n in range(60, 90) for step in (1, 3)]
    assert [ends(loaded, *report) for report in asked] == [ends(told, *report) for report in asked]


def test_rungs_may_lie_at_each_step() -> None:
    pruner = RungPruner("maximize", Ladder(1), reduction=2, startup_trials=1)
    for number in (0, 1):
        for step in (1, 2, 3):
            pruner.observe(number, step, 1.0)

    assert [step for step in (1, 2, 3) if ends(pruner, 2, step, 0.0)] == [1, 2, 3]


def curves(direction: Direction = "minimize", startup_trials: int = 4) -> NoPruner:
    """A pruner that knows curves of nine epochs: down by 0.3 to epoch 3, then by 0.1 to the end."""
    spec = Pruner.model_validate({"name": "curves", "startup_trials": startup_trials})
    pruner = make(spec, direction, last_step=9)
    sign = 1.0 if direction == "minimize" else -1.0
    for number, start in enumerate((0.8, 0.9, 1.0, 1.1)):
        for step, drop in enumerate([0.0, 0.0, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4], start=1):
            pruner.observe(number, step, sign * (start - drop))
        pruner.complete(number)
    return pruner


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_would_end_far_from_the_best_is_ended(direction: Direction) -> None:
    pruner = curves(direction)
    sign = 1.0 if direction == "minimize" else -1.0

    assert not ends(pruner, 10, 1, sign * 0.85)  # 0.45, where 0.4 is the best
    assert not ends(pruner, 11, 1, sign * 0.5)
    assert ends(pruner, 12, 1, sign * 3.0)
    assert ends(pruner, 13, 1, math.nan)
    assert not ends(pruner, 14, 1, sign * 0.9)  # it may catch up
    assert ends(pruner, 14, 8, sign * 0.9)  # too late
    assert pruner.explain(14, 8, sign * 0.9) == (
        f"expected to end at {sign * 0.8893:.4g}, at best at {sign * 0.8659:.4g} (95 %), by the "
        f"curves of 4 complete trials; the best is {sign * 0.4:.4g}"
    )


def test_curves_are_compared_once_enough_are_complete() -> None:
    assert not ends(curves(startup_trials=5), 10, 8, 9.0)
    assert ends(curves(startup_trials=4), 10, 8, 9.0)


def test_curves_that_are_read_at_once_prune_alike() -> None:
    told = curves()
    loaded = make(Pruner.model_validate({"name": "curves", "startup_trials": 4}), "minimize")
    drops = [0.0, 0.0, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4]
    rows = [start - drop for start in (0.8, 0.9, 1.0, 1.1) for drop in drops]
    numbers, steps = np.repeat(np.arange(4), 9), np.tile(np.arange(1, 10), 4)
    loaded.load(Reports(numbers, steps, np.array(rows)), complete=True)

    for value in np.linspace(0.4, 3.0, 27).tolist():
        assert ends(told, 10, 3, value) == ends(loaded, 10, 3, value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rungs", RungPruner),
        ("hyperband", HyperbandPruner),
        ("curves", CurvePruner),
        ("median", MedianPruner),
        ("none", NoPruner),
    ],
)
def test_a_study_chooses_its_pruner(name: str, kind: type[NoPruner]) -> None:
    assert type(make(Pruner.model_validate(name), "maximize", last_step=27)) is kind


def test_none_never_ends_a_trial() -> None:
    pruner = NoPruner()

    assert not any(ends(pruner, n, step, math.nan) for n in range(9) for step in range(9))
