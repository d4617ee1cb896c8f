"""Several objectives: what a file may say, and which trials no other beats."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import (
    Direction,
    Study,
    StudyState,
    Trial,
    TrialState,
    best_trial,
    pareto_front,
    unbeaten,
)
from tuner.winner import choice

HEAD = "name: x\nfamily: cnn\ndata: digits\n"


def resolved(text: str) -> ResolvedSpec:
    return resolve(loads(HEAD + text))


def test_a_list_of_metrics_is_optimized_together() -> None:
    made = resolved("objective: {metric: [accuracy, log_loss, latency]}\n")
    assert made.objective.metrics == ("accuracy", "log_loss", "latency")
    assert made.objective.directions == ("maximize", "minimize", "minimize")
    assert made.pruner.name == "rungs"  # all of these are reported every epoch
    assert ResolvedSpec.from_json(made.as_json()) == made


def test_directions_may_be_given() -> None:
    made = resolved(
        "objective: {metric: [accuracy, parameters], direction: [minimize, maximize]}\n"
    )
    assert made.objective.directions == ("minimize", "maximize")
    assert resolved("objective: {metric: [accuracy]}\n").objective.secondary == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "objective: {metric: [latency, accuracy]}",
            "objective.metric[0]: `latency` is not measured every epoch",
        ),
        ("objective: {metric: latency}", "objective.metric: `latency` is not measured every epoch"),
        ("objective: {metric: [accuracy, latencyy]}", "did you mean `latency`?"),
        ("objective: {metric: [accuracy, accuracy]}", "[1]: `accuracy` is named twice"),
        ("objective: {metric: [accuracy, latency], direction: maximize}", "one for each of the 2"),
        (
            "objective: {metric: [accuracy, latency]}\npruner: median",
            "compares the first metric alone",
        ),
    ],
)
def test_what_cannot_be(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolved(text)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("study:")


def test_user_code_with_several_metrics_is_pruned_on_request_alone() -> None:
    text = (
        "name: x\nfamily: function\nfunction: train:run\nsearch: {a: {low: 0, high: 1}}\n"
        "objective: {metric: [accuracy, latency]}\n"
    )
    assert resolve(loads(text)).pruner.name == "none"
    assert resolve(loads(text + "pruner: rungs\n")).pruner.name == "rungs"


def test_word_vectors_have_no_latency() -> None:
    text = "name: x\nfamily: word2vec\ndata: lee\nobjective: {metric: [gap_accuracy, latency]}\n"
    with pytest.raises(SpecError, match=r"must be one of .*training_seconds, parameters"):
        resolve(loads(text))


@given(
    st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25),
    st.tuples(*[st.sampled_from(["minimize", "maximize"])] * 3),
)
def test_unbeaten_points_are_those_that_none_dominates(
    points: list[tuple[int, ...]], directions: tuple[Direction, ...]
) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        signed = [
            (x, y) if d == "minimize" else (-x, -y)
            for x, y, d in zip(a, b, directions, strict=True)
        ]
        return all(x <= y for x, y in signed) and any(x < y for x, y in signed)

    expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
    found = unbeaten(points, directions)
    assert sorted(found) == expected
    firsts = [points[i][0] for i in found]
    assert firsts == sorted(firsts, reverse=directions[0] == "maximize")


_NUMBERS = st.integers(0, 5).map(float) | st.just(float("nan"))


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=12), st.booleans(), st.booleans())
def test_the_front_is_what_no_other_beats(
    points: list[tuple[float, float]], first: bool, second: bool
) -> None:
    directions: list[Direction] = ["maximize" if up else "minimize" for up in (first, second)]
    trials = [
        Trial(number=n, state=TrialState.COMPLETE, params={}, values=point)
        for n, point in enumerate(points)
    ]
    pruned = Trial(number=99, state=TrialState.PRUNED, params={}, values=(9.0,))
    beyond = [10.0 if up else -10.0 for up in (first, second)]
    complete = replace(pruned, number=98, state=TrialState.COMPLETE, values=tuple(beyond))
    violating = replace(complete, violates_constraint=True)
    found = {t.number for t in pareto_front([*trials, pruned, violating], directions)}
    best = best_trial([violating, *trials], directions[0])
    assert best is None or best in trials
    signs = [-1 if up else 1 for up in (first, second)]
    costs = {n: [s * v for s, v in zip(signs, p, strict=True)] for n, p in enumerate(points)}
    finite = {n: c for n, c in costs.items() if c == c and all(v == v for v in c)}
    assert found == {
        n
        for n, c in finite.items()
        if not any(o != c and o[0] <= c[0] and o[1] <= c[1] for o in finite.values())
    }


def test_between_equal_trials_the_other_objectives_decide_which_is_the_best() -> None:
    trials = [
        Trial(number=n, state=TrialState.COMPLETE, params={}, values=values)
        for n, values in enumerate([(0.8, 1.0), (0.9, 5.0), (0.9, 3.0)])
    ]
    study = Study(
        name="x", state=StudyState.FINISHED, directions=("maximize", "minimize"),
        metrics=("accuracy", "latency"), family="cnn", spec=None, max_trials=3,
    )  # fmt: skip
    best = choice.select_best(trials, study)
    assert best is not None
    assert best.number == 2
    assert choice.select_best([], study) is None
