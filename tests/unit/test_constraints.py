"""Constraints: what a study file may bound, and what becomes of the values."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from tuner import artifacts, testing, trial_tables
from tuner.cli import studies as cli_studies
from tuner.commands import reading
from tuner.dashboard.plots import trial_table
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.families.parts.outcome import Outcome
from tuner.report import document
from tuner.report.inputs import ReportInputs
from tuner.search import ending
from tuner.study_file import constraints
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.search_checks import notes_on_sampler
from tuner.study_file.space import Range
from tuner.study_file.study import Budget
from tuner.training import metrics
from tuner.training.cohort import Decision
from tuner.trials import Report, Study, StudyState, Trial, TrialState
from tuner.user_code import client, reported
from tuner.winner import feasibility
from tuner.worker.assignment import Assignment

HEAD = "name: x\nfamily: cnn\ndata: digits\n"
BOUNDS = {"latency": Range(below=5), "accuracy": Range(above=0.8, below=0.99)}


def test_the_value_is_the_share_of_the_bound_by_which_it_is_missed() -> None:
    values = constraints.measure(BOUNDS, {"latency": 6.0, "accuracy": 0.88})
    assert values == pytest.approx(
        {"latency below 5": 0.2, "accuracy below 0.99": -1 / 9, "accuracy above 0.8": -0.1}
    )
    assert constraints.sum_violations(values.values()) == pytest.approx(0.2)
    assert constraints.names(BOUNDS) == list(values)


def test_a_value_at_its_bound_keeps_it() -> None:
    values = constraints.measure(BOUNDS, {"latency": 5.0, "accuracy": 0.8})
    assert max(values.values()) == 0
    assert constraints.sum_violations(values.values()) == 0


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        (Range(below=0), 0.25, 0.25),
        (Range(above=-2), -3.0, 0.5),
        (Range(below=5), math.nan, math.inf),
    ],
)
def test_odd_bounds_and_values(bounds: Range, value: float, expected: float) -> None:
    assert list(constraints.measure({"m": bounds}, {"m": value}).values()) == [expected]


def test_what_was_not_measured_is_left_out() -> None:
    assert constraints.measure(BOUNDS, {"log_loss": 1.0}) == {}


def test_a_study_file_bounds_metrics_costs_and_classes() -> None:
    text = "constraints: {latency: {below: 5}, accuracy_class_3: {above: 0.8}}\n"
    spec = resolve(loads(HEAD + text))
    assert spec.constraints == {"latency": Range(below=5), "accuracy_class_3": Range(above=0.8)}
    assert spec.further_metrics == ("latency", "accuracy_class_3")
    assert ResolvedSpec.from_json(spec.as_json()) == spec
    older = spec.as_json()
    del older["constraints"]
    assert ResolvedSpec.from_json(older).constraints == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constraints: {latencyy: {below: 5}}", "constraints: must be one of"),
        ("constraints: {latency: {}}", "must have `above`, `below` or both"),
        ("constraints: {latency: 5}", "constraints.latency"),
        ("constraints: {accuracy: {above: 1.5}}", "is above all values of `accuracy`, at most 1"),
        ("constraints: {latency: {below: -1}}", "is below all values of `latency`, at least 0"),
        ("constraints: {latency: {below: 1, above: 2}}", "must be below 1, is 2"),
        (
            "constraints: {rmse: {below: 1}}",
            "constraints.rmse: `rmse` is of numbers, and labels are by default classes",
        ),
    ],
)
def test_bounds_that_cannot_be(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(loads(HEAD + text))
    assert expected in str(caught.value)


def test_user_code_may_bound_an_accuracy_in_percent() -> None:
    text = (
        "name: x\nfamily: function\nfunction: own:train\nobjective: {metric: [accuracy, loss], "
        "direction: [maximize, minimize], reference: {accuracy: 50, loss: 9}}\n"
        "search: {x: {low: 0.0, high: 1.0}}\nconstraints: {accuracy: {above: 80}}\n"
    )
    spec = resolve(loads(text))
    assert spec.constraints == {"accuracy": Range(above=80)}
    assert spec.objective.reference == {"accuracy": 50, "loss": 9}


def test_the_accuracy_of_a_class_is_the_share_of_its_examples_that_are_right() -> None:
    logits = torch.eye(3)[torch.tensor([0, 1, 1, 2, 0])]
    labels = torch.tensor([0, 1, 2, 2, 2])
    classes = {"accuracy_class_a": 0, "accuracy_class_c": 2}
    assert metrics.class_accuracies(logits, labels, classes) == pytest.approx(
        {"accuracy_class_a": 1.0, "accuracy_class_c": 1 / 3}
    )


def test_weights_of_feasible_trials_stay_however_good_the_others_are(tmp_path: Path) -> None:
    keeper = artifacts.KeptWeights()
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / artifacts.WEIGHTS_FILE).touch()
        violation = 0.0 if number < 4 else number / 10
        keeper.add(1, ["maximize", "minimize"], [float(number), 1.0], folder, violation)
    remaining = sorted(int(p.parent.name) for p in tmp_path.glob("*/weights.safetensors"))
    assert remaining == [0, 1, 2, 3, 4]  # of those that violate, the nearest


def test_a_worker_measures_the_files_constraints_and_takes_those_of_the_code() -> None:
    assignment = Assignment(1, None, metric="accuracy", bounds=BOUNDS)  # type: ignore[arg-type]
    values = assignment.measure_constraints(0.4, {"latency": 2.5, "constraints:size": 3.0})
    assert values == pytest.approx(
        {
            "size": 3.0,
            "latency below 5": -0.5,
            "accuracy below 0.99": 0.4 / 0.99 - 1,
            "accuracy above 0.8": 0.5,
        }
    )


def test_user_code_sets_constraints() -> None:
    trial = testing.trial()
    trial.constraint("size", 3)
    trial.constraint("size", -0.5)  # the latest counts
    assert trial.constraints == {"size": -0.5}
    with pytest.raises(ValueError, match="must be a number, is NaN"):
        trial.constraint("size", math.nan)
    with pytest.raises(TypeError, match="must be a number"):
        trial.constraint("size", "big")  # type: ignore[arg-type]


class _Context:
    """Notes what a trial reports and how it ends."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.measured: dict[str, float] = {}

    def report(self, reports: dict[int, Report]) -> dict[int, Decision]:
        self.reports += reports.values()
        return dict.fromkeys(reports, Decision.GO_ON)

    def finish(self, number: int, value: float, weights: None, measured: dict[str, float]) -> None:
        self.measured = measured


def test_constraints_go_along_with_reports_and_the_result() -> None:
    from types import SimpleNamespace as Some

    context = _Context()
    cohort = Some(
        last_step=0,
        fidelities=(),
        metric="accuracy",
        direction="maximize",
        others=("training_seconds",),
    )
    outcome = Outcome(Some(number=0), cohort, context)  # type: ignore[arg-type]
    outcome.report(1, 0.5, {"loss": 1.0})
    outcome.constrain("size", 2.0)
    outcome.report(2, 0.4, {})
    outcome.constrain("size", 1.0)  # after the last report
    outcome.end(None)
    first, second = (report.metrics for report in context.reports)
    assert first.keys() == {"loss", "training_seconds"}  # known at the rungs
    assert second["constraints:size"] == 2.0
    assert context.measured["constraints:size"] == 1.0
    assert context.measured["loss"] == 1.0


def test_a_command_sends_constraints_in_lines_of_their_own() -> None:
    assert reported.parse_constraints({"constraints": {"size": 2}}) == {"size": 2.0}
    assert reported.parse_constraints({"value": 1.0}) is None
    with pytest.raises(TypeError, match="`size` must be a number"):
        reported.parse_constraints({"constraints": {"size": "big"}})


def test_tuner_report_sends_constraints(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, float]] = []
    monkeypatch.setattr(client, "constrain", lambda *pair: sent.append(pair))
    assert client.report(["--constraint", "size=-0.5", "memory=2"]) == client.GO_ON
    assert sent == [("size", -0.5), ("memory", 2.0)]
    assert client.report(["--constraint", "size=nan"]) == client.BAD_INPUT
    assert client.report(["--constraint"]) == client.BAD_INPUT


STUDY = Study(
    name="x", state=StudyState.FINISHED, directions=("maximize",), metrics=("accuracy",),
    family="cnn", spec={"constraints": {"latency": {"below": 5}}}, max_trials=3,
)  # fmt: skip


def complete(number: int, **values: float) -> Trial:
    return Trial(
        number=number, state=TrialState.COMPLETE, params={}, values=(0.5,),
        violates_constraint=any(value > 0 for value in values.values()),
        constraints={name.replace("_", " "): value for name, value in values.items()},
    )  # fmt: skip


def test_the_nearest_trial_is_named_with_what_it_misses() -> None:
    trials = [complete(0, latency_below_5=0.5), complete(1, latency_below_5=0.26, size=0.1)]
    assert feasibility.describe_infeasible(trials, STUDY) == (
        "all 2 complete trials violate a constraint; trial 1 is nearest: it misses "
        "latency below 5 by 26 %, size by 0.1"
    )
    far = complete(0, latency_below_5=99.5)
    assert feasibility.describe_violations(far, STUDY) == "latency below 5 by 9,950 %"
    assert feasibility.describe_infeasible([*trials, complete(2)], STUDY) is None
    assert feasibility.describe_infeasible([], STUDY) is None


def rows_of(*trials: Trial) -> list[dict[str, object]]:
    return [dict(row) for row in trial_tables.of_trials(STUDY, trials)]


def test_tables_of_trials_have_a_column_per_constraint() -> None:
    violating, feasible, unknown = rows_of(
        complete(0, latency_below_5=0.5), complete(1, latency_below_5=-0.5), complete(2)
    )
    assert [row["feasible"] for row in (violating, feasible, unknown)] == [False, True, None]
    assert violating["constraint.latency below 5"] == 0.5
    assert unknown["constraint.latency below 5"] is None
    assert "feasible" not in rows_of(complete(0))[0]


def test_an_infeasible_trial_does_not_reach_the_target_or_end_patience() -> None:
    budget = Budget(target=0.4)
    assert ending.reason_among([complete(0, size=1.0)], budget, "maximize") is None
    assert ending.reason_among([complete(0)], budget, "maximize")
    patient = Budget(patience=2)
    trials = [complete(0), complete(1, size=1.0), complete(2, size=1.0)]
    trials = [replace(t, values=(0.5 + t.number,), finished_at=at(t.number)) for t in trials]
    assert ending.reason_among(trials, patient, "maximize") == (
        "2 trials have finished without an improvement on trial 0"
    )
    none = [replace(t, violates_constraint=True) for t in trials]
    assert ending.reason_among(none, patient, "maximize") is None


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def test_a_report_says_that_no_trial_is_feasible() -> None:
    inputs = ReportInputs(STUDY, [complete(0, latency_below_5=0.5)])
    page = document.render_study(inputs, versions={})
    assert "trial 0 is nearest: it misses latency below 5 by 50 %" in page
    assert "No trial is complete yet" not in page


def test_objectives_that_trials_do_not_report_are_named() -> None:
    study = replace(
        STUDY, directions=("maximize", "minimize", "minimize"),
        metrics=("accuracy", "latency", "size"), spec={"pruner": {"name": "rungs"}},
    )  # fmt: skip
    silent = replace(complete(0), reports=(Report(1, 0.5),))
    telling = replace(complete(1), reports=(Report(1, 0.5, {"latency": 1.0}),))
    assert reading.describe_unreported([silent], study) == (
        "rungs compare accuracy alone: trials do not report latency and size before their end"
    )
    assert reading.describe_unreported([silent, telling], study) == (
        "rungs compare accuracy and latency: trials do not report size before their end"
    )
    whole = replace(telling, reports=(Report(1, 0.5, {"latency": 1.0, "size": 2.0}),))
    assert reading.describe_unreported([whole], study) is None
    assert reading.describe_unreported([silent], replace(study, spec=None)) is None


def test_a_launch_says_that_cmaes_does_not_use_constraints() -> None:
    text = "sampler: cmaes\npruner: none\n"
    bounded = resolve(loads(HEAD + text + "constraints: {latency: {below: 5}}\n"))
    assert any("does not use `constraints`" in note for note in notes_on_sampler(bounded))
    free = resolve(loads(HEAD + text))
    assert not any("constraints" in note for note in notes_on_sampler(free))


def test_lists_of_trials_mark_what_is_infeasible_and_put_it_last() -> None:
    infeasible, feasible = complete(0, size=1.0), complete(1, size=-1.0)
    better = replace(infeasible, values=(0.9,))
    order = sorted([better, feasible], key=lambda trial: cli_studies._sort_key(trial, STUDY))
    assert [trial.number for trial in order] == [1, 0]
    assert "infeasible" in cli_studies._trial_cells(infeasible, STUDY)[1]
    assert "infeasible" not in cli_studies._trial_cells(feasible, STUDY)[1]
    assert [trial_table._cause(trial) for trial in (infeasible, feasible)] == ["infeasible", None]
