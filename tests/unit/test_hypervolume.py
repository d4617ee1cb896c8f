"""The hypervolume: its value, its reference point, and how both are shown."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tuner.errors import SpecError
from tuner.families import resolve
from tuner.figures import hypervolume as figure
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, StudyState, Trial, TrialState
from tuner.winner import hypervolume
from tuner.winner.hypervolume import CompleteTrials

START = datetime(2026, 1, 1, tzinfo=UTC)
STUDY = Study(
    name="x", state=StudyState.ACTIVE, directions=("minimize", "minimize"), metrics=("a", "b"),
    family=None, spec=None, max_trials=None,
)  # fmt: skip


def referring(**reference: float) -> Study:
    return replace(STUDY, spec={"objective": {"reference": reference}})


def complete(points: Sequence[tuple[float, float]]) -> list[Trial]:
    """Trials that ended in this order."""
    return [
        Trial(
            number=number, state=TrialState.COMPLETE, params={}, values=point,
            finished_at=START + timedelta(seconds=number),
        )
        for number, point in enumerate(points)
    ]  # fmt: skip


def volumes(trials: Sequence[Trial], study: Study) -> list[float]:
    chosen = CompleteTrials.of(trials, study)
    reference = hypervolume.reference_point(chosen, study)
    assert reference is not None
    return hypervolume.over_time(chosen, study, reference).tolist()


def test_the_hypervolume_is_what_the_front_covers() -> None:
    study = referring(a=4, b=4)
    points = [(2.0, 2.0), (1.0, 3.0), (3.0, 3.0), (3.0, 1.0), (5.0, 0.0), (0.0, 0.0)]
    # 2 · 2; one more on the left; beaten; one more below; beyond the reference point; 4 · 4
    assert volumes(complete(points), study) == [4, 5, 5, 6, 6, 16]
    assert hypervolume.hypervolume(complete(points[:5]), study) == 6


def test_directions_are_minded() -> None:
    study = replace(referring(a=0.5, b=100), directions=("maximize", "minimize"))
    assert volumes(complete([(0.75, 80.0), (0.4, 1.0)]), study) == [5.0, 5.0]


def test_the_order_is_that_of_the_ends() -> None:
    trials = complete([(1.0, 1.0), (3.0, 3.0)])
    late = [replace(trials[0], finished_at=START + timedelta(hours=1)), trials[1]]
    assert volumes(late, referring(a=4, b=4)) == [1, 9]


def test_what_violates_a_constraint_or_is_not_complete_adds_nothing() -> None:
    first, second, third = complete([(3.0, 3.0), (1.0, 1.0), (math.inf, 0.0)])
    pruned = replace(first, number=3, state=TrialState.PRUNED, values=(0.0,))
    trials = [first, replace(second, violates_constraint=True), third, pruned]
    assert volumes(trials, referring(a=4, b=4)) == [1, 1]


def test_blocks_of_trials_give_what_single_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    trials = complete([(x, y) for x, y in rng.random((300, 2)).tolist()])
    whole = volumes(trials, referring(a=1, b=1))
    monkeypatch.setattr(hypervolume, "BLOCK", 1)
    assert volumes(trials, referring(a=1, b=1)) == whole
    assert whole == sorted(whole)


def test_the_reference_point_follows_from_the_first_ten_and_stays() -> None:
    points = [(float(n), 10.0 - n) for n in range(12)]
    trials = complete(points)
    of = [CompleteTrials.of(trials[:n], STUDY) for n in range(13)]
    assert hypervolume.reference_point(of[9], STUDY) is None
    # the worst of the first ten are 9 and 10; a tenth of their range of 9 beyond them
    assert hypervolume.reference_point(of[10], STUDY) == pytest.approx((9.9, 10.9))
    assert hypervolume.reference_point(of[12], STUDY) == pytest.approx((9.9, 10.9))
    finished = replace(STUDY, state=StudyState.FINISHED)
    assert hypervolume.reference_point(of[2], finished) == pytest.approx((1.1, 10.1))
    assert hypervolume.reference_point(of[0], finished) is None
    assert hypervolume.hypervolume([], finished) is None


def test_the_file_sets_one_value_and_the_other_is_derived() -> None:
    trials = complete([(float(n), 5.0) for n in range(10)])
    reference = hypervolume.reference_point(CompleteTrials.of(trials, STUDY), referring(a=20))
    assert reference == pytest.approx((20, 5.5))  # all are equal: a tenth of the value


def test_one_objective_has_no_hypervolume() -> None:
    single = replace(STUDY, directions=("minimize",), metrics=("a",))
    trial = replace(complete([(1.0, 1.0)])[0], values=(1.0,))
    assert hypervolume.hypervolume([trial], single) is None
    assert figure.info([trial], single).nothing


def test_the_figure_says_where_the_reference_point_is() -> None:
    info = figure.info(complete([(2.0, 2.0), (1.0, 3.0)]), referring(a=4, b=4))
    assert info.steps == [(1, 0, 4.0), (2, 1, 5.0)]
    assert figure.describe_reference(info) == "Reference point: a 4, b 4."
    assert figure.table(info).rows == (("1", "4"), ("2", "5"))
    assert list(figure.draw(info).data[0].y) == [4.0, 5.0]
    waiting = figure.info(complete([(2.0, 2.0)]), STUDY)
    assert waiting.nothing == (
        "The reference point follows from the first 10 complete trials; so far there is 1."
    )


HEAD = "name: x\nfamily: cnn\ndata: digits\n"


def test_a_study_file_sets_the_reference_point() -> None:
    text = "objective: {metric: [accuracy, latency], reference: {accuracy: 0.5, latency: 100}}\n"
    spec = resolve(loads(HEAD + text))
    assert spec.objective.reference == {"accuracy": 0.5, "latency": 100}
    assert ResolvedSpec.from_json(spec.as_json()) == spec
    assert spec.objective.as_written()["reference"] == {"accuracy": 0.5, "latency": 100}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objective: {metric: [accuracy, latency], reference: {latencyy: 1}}", "is no objective"),
        ("objective: {metric: accuracy, reference: {accuracy: 1}}", "no meaning with one metric"),
        (
            "objective: {metric: [accuracy, latency], reference: {accuracy: 1}}",
            "objective.reference.accuracy: must be below 1, the best possible value, is 1",
        ),
        (
            "objective: {metric: [accuracy, latency], reference: {latency: -1}}",
            "objective.reference.latency: must be above 0, the best possible value, is -1",
        ),
    ],
)
def test_references_that_cannot_be(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(loads(HEAD + text))
    assert expected in str(caught.value)
