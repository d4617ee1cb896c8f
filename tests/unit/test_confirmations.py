"""What a confirmation has shown is said alike everywhere, and never more than it has shown."""

from typing import Any

import pytest

from tests.support import synthetic
from tuner.winner import confirmations


def candidate(number: int, standing: str, **more: Any) -> dict[str, Any]:
    return {"number": number, "standing": standing, "seconds": 1.0, "cheaper": False, **more}


def record(*candidates: dict[str, Any], **more: Any) -> dict[str, Any]:
    best = candidates[0]["number"]
    fields = {"winner": best, "best_mean": best, "seeds": 5, "margin": 0.004, "bound": 0.01231}
    return {**fields, "margin_given": False, "candidates": list(candidates), **more}


def test_the_best_mean_wins_and_what_is_open_is_said() -> None:
    sentences = confirmations.sentences(
        record(
            candidate(4, "wins"),
            candidate(2, "not told apart", cheaper=True),
            candidate(6, "not told apart", seconds=None),
            candidate(9, "worse"),
        )
    )
    assert sentences == [
        "Trial 4 wins with the best mean of 5 fresh seeds.",
        "Trial 2 is cheaper, but may be worse than the best mean by more than the margin (0.004, "
        "one standard error of the best mean).",
        "Not told apart from the best mean: trials 2, 6. That does not make them equal; more seeds "
        "would tell.",
        "With 95 % confidence, no candidate is better than trial 4 by more than 0.0124.",
        "The cost of trial 6 is not compared: no training without a cold start was measured.",
    ]


def test_a_cheaper_one_that_wins_names_the_margin() -> None:
    sentences = confirmations.sentences(
        record(
            candidate(4, "best mean"),
            candidate(2, "wins", cheaper=True),
            winner=2,
            margin_given=True,
            margin=0.02,
        )
    )
    assert sentences[0] == (
        "Trial 2 wins: it is cheaper than trial 4, which has the best mean of 5 fresh seeds, and "
        "is shown not inferior within the margin (0.02)."
    )
    assert sentences[1].endswith("no candidate is better than trial 2 by more than 0.0124.")


def test_too_few_seeds_tell_nothing_apart() -> None:
    sentences = confirmations.sentences(
        record(
            candidate(1, "wins"), candidate(0, "not told apart"), margin=None, bound=None, seeds=2
        )
    )
    assert sentences == [
        "Trial 1 wins with the best mean of 2 fresh seeds.",
        "Nothing is told apart: that takes 3 seeds or more.",
    ]


def test_who_failed_is_named_with_how_to_go_on() -> None:
    failed = candidate(7, "failed", values=[0.9, 0.91], failed=3)
    sentences = confirmations.sentences(
        record(candidate(4, "wins"), candidate(2, "worse"), failed, study="s-confirm")
    )
    assert sentences[1:] == [
        "With 95 % confidence, no remaining candidate is better than trial 4 by more than 0.0124.",
        "Left out because trainings failed: trial 7 (3 of 5). To try them again, run `tuner retry "
        "s-confirm` and confirm again.",
    ]
    few = record(candidate(4, "wins"), failed, study="s-confirm", margin=None, bound=None, seeds=2)
    assert confirmations.sentences(few)[2] == sentences[2]


def test_where_nothing_bounds_the_others_the_reason_is_said() -> None:
    same = [candidate(n, "wins" if n == 0 else "not told apart", values=[1.0] * 5) for n in (0, 1)]
    sentences = confirmations.sentences(record(*same, margin=0.0, bound=None))
    assert sentences[-1] == (
        "All trainings gave the same value, which does not show how much seeds can change it: "
        "another candidate may be better than trial 0."
    )
    other = candidate(1, "not told apart", values=[0.9, 0.8])
    for bound in (None, float("inf")):  # an earlier version stored infinity
        sentences = confirmations.sentences(record(same[0], other, bound=bound))
        assert sentences[-1] == (
            "It is unknown by how much another candidate may be better than trial 0: too few seeds "
            "have a value of both (3 are needed), because trainings failed."
        )


@pytest.mark.parametrize(
    ("bound", "end"),
    [(0.01231, " by more than 0.0124."), (12.301, " by more than 12.4."), (0.0, " than trial 0.")],
)
def test_a_bound_is_never_rounded_down(bound: float, end: str) -> None:
    sentences = confirmations.sentences(
        record(candidate(0, "wins"), candidate(1, "worse"), bound=bound)
    )
    assert sentences[-1].endswith(end)


def test_what_a_former_version_has_stored_is_judged_anew() -> None:
    """It took configurations that it could not tell apart for equal; the cheapest of them won."""
    stored = {
        "at": "2026-11-20",
        "study": "s-confirm",
        "winner": 1,
        "tied": [0, 1],
        "candidates": [
            {
                "number": number,
                "searched": 0.8,
                "values": values,
                "failed": 0,
                "seconds": 1.0,
                "mean": sum(values) / len(values),
                "interval": interval,
                "overstated_by": 0.1,
            }
            for number, values, interval in (
                (0, [0.684, 0.711, 0.739], [0.64, 0.78]),
                (1, [0.433, 0.551, 0.669], [-0.466, 1.51]),
                (2, [0.1, 0.2], [-0.5, 0.8]),
            )
        ],
    }
    study = synthetic.study(user_attrs={confirmations.ATTRIBUTE: stored})
    record = confirmations.read(study)
    assert record is not None
    assert (record["winner"], record["best_mean"]) == (0, 0)
    by_number = {c["number"]: c for c in record["candidates"]}
    assert [by_number[n]["standing"] for n in range(3)] == ["wins", "not told apart", "worse"]
    assert by_number[1]["interval"] == [0.0, 1.0]
    assert by_number[2]["interval"] is None
    assert confirmations.sentences(record)[1] == confirmations.FORMER
    assert confirmations.read(synthetic.study()) is None


def test_constraints_are_judged_over_the_repetitions_and_said() -> None:
    def candidate(number: int, standing: str, mean: float, interval: list[float]) -> dict[str, Any]:
        return {
            "number": number, "values": [0.9] * 3, "failed": 0, "seconds": 1.0, "mean": 0.9,
            "interval": [0.8, 0.95], "searched": 0.9, "standing": standing, "cheaper": False,
            "constraints": [
                {"name": "latency below 5", "mean": mean, "interval": interval, "is_share": True}
            ],
        }  # fmt: skip

    shown = confirmations.sentences(
        record(
            candidate(3, "wins", -0.1, [-0.25, 0.05]),
            candidate(5, "infeasible", 0.2, [0.1, 0.3]),
            best_mean=3, winner=3, seeds=3, margin=0.01, bound=0.02,
        )
    )  # fmt: skip
    assert shown[-2:] == [
        "On average, trial 3 keeps latency below 5 by 10 % (95 % interval of its distance: "
        "-25 % to 5 %; whether it is kept is not shown).",
        "Not feasible on average: trial 5 misses latency below 5 by 20 % (95 % interval of its "
        "distance: 10 % to 30 %).",
    ]
    nearest = confirmations.sentences(
        record(
            candidate(5, "wins", 0.2, [0.1, 0.3]),
            best_mean=5, winner=5, seeds=3, margin=0.01, bound=0.0,
        )
    )  # fmt: skip
    assert (
        "No configuration keeps all constraints on average over the fresh seeds; "
        "trial 5 is nearest."
    ) in nearest
