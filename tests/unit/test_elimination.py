"""Fresh seeds decide: luck drops out, what cannot be told apart is tied, cheap ones win ties."""

import math
import random
from statistics import NormalDist

import pytest

from tuner.winner.elimination import Candidate, judged


def candidate(number: int, *values: float, searched: float = 0.9, **more: float) -> Candidate:
    return Candidate(number, {"x": number}, searched, values, **more)  # type: ignore[arg-type]


def test_the_interval_is_students() -> None:
    low, high = candidate(0, 1.0, 2.0, 3.0).interval or (0.0, 0.0)
    assert low == pytest.approx(2 - 4.30265 / math.sqrt(3), abs=1e-4)
    assert high == pytest.approx(2 + 4.30265 / math.sqrt(3), abs=1e-4)
    assert candidate(0, 1.0).interval is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lucky_result_loses_to_a_better_configuration(sign: int) -> None:
    direction = "maximize" if sign > 0 else "minimize"
    lucky = candidate(0, *(sign * v for v in (0.8, 0.81, 0.79, 0.8, 0.8)), searched=sign * 0.99)
    good = candidate(1, *(sign * v for v in (0.9, 0.91, 0.9, 0.89, 0.9)), searched=sign * 0.91)
    found = judged([lucky, good], direction, rounds=2, is_last=True)
    assert found is not None
    assert found.winner is good
    assert found.dropped == (lucky,)
    assert found.gap == pytest.approx(0.19)


def test_the_cheapest_of_tied_ones_wins_and_equal_costs_go_by_the_mean() -> None:
    dear = candidate(0, 0.90, 0.92, 0.91, seconds=10.0)
    cheap = candidate(1, 0.89, 0.92, 0.90, seconds=2.0)
    same = candidate(2, 0.90, 0.92, 0.905, seconds=2.1)
    found = judged([dear, cheap, same], "maximize", rounds=1, is_last=True)
    assert found is not None
    assert [c.number for c in found.tied] == [0, 1, 2]
    assert found.leader is dear
    assert found.winner is same


def test_the_last_round_tells_more_apart_than_those_before() -> None:
    a, b = candidate(0, 0.90, 0.91, 0.92), candidate(1, 0.87, 0.88, 0.89)
    early = judged([a, b], "maximize", rounds=4, is_last=False)
    last = judged([a, b], "maximize", rounds=4, is_last=True)
    assert early is not None and last is not None
    assert (len(early.tied), len(last.tied)) == (2, 1)


def test_failed_trainings_count_against_a_configuration() -> None:
    shaky = candidate(0, 0.99, 0.99, 0.99, failed=1)
    sound = candidate(1, 0.9, 0.91, 0.9)
    found = judged([shaky, sound], "maximize", rounds=1, is_last=True)
    assert found is not None
    assert found.winner is sound
    assert judged([candidate(0, 0.9), candidate(1)], "maximize", rounds=1, is_last=True) is None
    alone = judged([candidate(0, 0.9, 0.9)], "maximize", rounds=1, is_last=True)
    assert alone is not None and alone.winner.number == 0


def test_equal_configurations_are_seldom_told_apart() -> None:
    """5 % of all confirmations at most may drop one of equal configurations."""
    rng = random.Random(0)
    wrong = 0
    for _ in range(200):
        values = [[rng.gauss(0.9, 0.01) for _ in range(5)] for _ in range(5)]
        out: set[int] = set()
        for seeds in (2, 3, 4, 5):
            some = [candidate(n, *values[n][:seeds]) for n in range(5)]
            found = judged(some, "maximize", rounds=4, is_last=seeds == 5, out=out)
            assert found is not None
            out |= {c.number for c in found.dropped}
        wrong += len(out) > 0
    share = wrong / 200
    assert share <= 0.05 + 2 * NormalDist().stdev * math.sqrt(0.05 * 0.95 / 200)
