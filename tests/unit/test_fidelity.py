"""Fidelities other than epochs: levels, what may be written, and how trials climb them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.training import PARAMS, Recorder, cohort
from tuner import testing
from tuner.data import PreparedData
from tuner.database.readers.columns import Reports
from tuner.errors import SpecError
from tuner.families import cnn, function, resolve
from tuner.search.learning_curves import LearningCurves
from tuner.search.pruners import make
from tuner.study_file.code import Code
from tuner.study_file.dump import dump
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.search_checks import notes_on_fidelity
from tuner.study_file.study import Fidelity
from tuner.training import resident
from tuner.training.cohort import Decision, FailedError
from tuner.training.network import Share, take_share
from tuner.user_code import source

FAMILY = "name: x\nfamily: cnn\ndata: digits\n"
CODE = "name: x\nfamily: function\nfunction: own:train\nobjective: {metric: mse}\n"
CODE += "search: {x: {low: 0.0, high: 1.0}}\n"


@pytest.mark.parametrize(
    ("low", "high", "reduction", "levels"),
    [
        (0.1, 1, 3, (1 / 9, 1 / 3, 1)),
        (0.25, 1, 2, (0.25, 0.5, 1)),
        (1, 5, 3, (2, 5)),  # folds: whole numbers
        (32, 224, 3, (75, 224)),
        (1, 4, 2, (1, 2, 4)),
        (1.0, 5, 3, (5 / 3, 5)),
        (7, 7, 3, (7,)),
        (0.9, 1, 3, (1,)),
    ],
)
def test_levels_end_with_the_whole(
    low: float, high: float, reduction: int, levels: Sequence[float]
) -> None:
    fidelity = Fidelity(low=low, high=high)

    assert fidelity.levels(reduction) == pytest.approx(levels)
    assert [type(level) for level in fidelity.levels(reduction)[-1:]] == [type(high)]


def spec_of(text: str) -> ResolvedSpec:
    return resolve(loads(text, name="s.yaml"))


def test_levels_are_the_steps_of_a_study_and_its_rungs() -> None:
    spec = spec_of(FAMILY + "budget: {epochs: 9, fidelity: data}\n")

    assert spec.fidelities == pytest.approx((1 / 9, 1 / 3, 1))
    assert (spec.last_step, spec.budget.epochs, spec.limits.trial_epochs) == (3, 9, 3)
    pruner = make(spec.pruner, "maximize", last_step=spec.last_step, by_level=True)
    for number in range(9):
        for step in (1, 2):
            pruner.observe(number, step, 1.0)
    pruner.observe(9, 1, 0.0)
    assert pruner.should_prune(9, 1, 0.0)
    pruner.observe(10, 1, 2.0)
    assert not pruner.should_prune(10, 1, 2.0)
    pruner.observe(10, 2, 0.0)
    assert pruner.should_prune(10, 2, 0.0)


def test_a_study_without_one_has_epochs_as_before() -> None:
    spec = spec_of(FAMILY + "budget: {epochs: 9}\n")

    assert spec.fidelities == ()
    assert (spec.last_step, spec.limits.trial_epochs) == (9, 9)


def test_older_stored_studies_have_none() -> None:
    stored = spec_of(FAMILY).as_json()
    del stored["budget"]["fidelity"]

    assert ResolvedSpec.from_json(stored).budget.fidelity is None


@pytest.mark.parametrize("low", ["0.25", "1"])
def test_it_is_stored_and_written_as_it_was(low: str) -> None:
    text = f"budget: {{fidelity: {{name: size, low: {low}, high: 4}}}}\n"
    spec = spec_of(CODE + text)

    assert ResolvedSpec.from_json(spec.as_json()) == spec
    assert spec_of(json.dumps(dump(spec))).fidelities == spec.fidelities


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            FAMILY + "budget: {fidelity: image_size}\n",
            "budget.fidelity: must be `data`, the only one of `family: cnn`; is `image_size`",
        ),
        (
            FAMILY + "budget: {fidelity: {name: data, high: 2}}\n",
            "budget.fidelity.high: must be 1, all training examples, is 2",
        ),
        (
            FAMILY + "budget: {fidelity: {low: 2}}\n",
            "budget.fidelity.low: must be at most high (1), is 2",
        ),
        (
            FAMILY + "budget: {fidelity: {low: 1e-9}}\n",
            "budget.fidelity.low: must be at least 1e-06, a millionth of high, is 1e-09",
        ),
        (FAMILY + "budget: {fidelity: {low: 0}}\n", "budget.fidelity.low: must be above 0, is `0`"),
        (
            FAMILY + "budget: {fidelity: {name: a b}}\n",
            "budget.fidelity.name: must be a name of letters, digits and `_`",
        ),
        (
            "name: x\nfamily: word2vec\ndata: lee\nbudget: {fidelity: data}\n",
            "budget.fidelity: has no meaning with `family: word2vec`, which trains on all of its "
            "data; remove it",
        ),
        (
            FAMILY + "budget: {fidelity: data, total_epochs: 100}\n",
            "budget.total_epochs: has no meaning beside `budget.fidelity`: trials report levels, "
            "not epochs; remove it",
        ),
        (
            FAMILY + "budget: {fidelity: data}\npruner: {min_epochs: 1}\n",
            "pruner.min_epochs: has no meaning beside `budget.fidelity`; write its `low` instead",
        ),
        (
            CODE + "budget: {epochs: 3, fidelity: size}\n",
            "budget.epochs: has no meaning beside `budget.fidelity`, whose levels are the steps; "
            "remove it",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(text)

    assert str(caught.value).partition(": ")[2] == sentence


@pytest.mark.parametrize(
    ("low", "sentence"),
    [
        (75, "`budget.fidelity` has one level, 224, so each trial gets the whole at once: write a "
         "`low` of at most 224 / 3"),
        (74, None),
    ],
)  # fmt: skip
def test_a_launch_says_that_a_fidelity_has_no_level_below_the_whole(
    low: int, sentence: str | None
) -> None:
    spec = spec_of(CODE + f"budget: {{fidelity: {{name: size, low: {low}, high: 224}}}}\n")
    assert next(notes_on_fidelity(spec), None) == sentence


def test_a_launch_says_that_a_fidelity_without_a_pruner_saves_nothing() -> None:
    text = CODE + "budget: {fidelity: {name: size, low: 1, high: 9}}\n"
    (note,) = notes_on_fidelity(spec_of(text + "pruner: none\n"))
    assert note.startswith("`pruner: none` ends no trial at a level of `budget.fidelity`")
    assert not list(notes_on_fidelity(spec_of(text)))


def test_the_level_is_the_value_not_the_best_of_all_levels() -> None:
    curves = LearningCurves(by_level=True)
    curves.reserve(5)

    rows = [[0.1, 0.4, 0.5], [0.2, 0.5, 0.6], [0.3, 0.6, 0.7], [0.2], [0.2, 0.45]]  # losses
    numbers = np.repeat(np.arange(5), [len(row) for row in rows])
    steps = np.concatenate([np.arange(1, len(row) + 1) for row in rows])
    final = np.array([0.5, 0.6, 0.7, np.nan, np.nan])
    curves.set(np.arange(5), Reports(numbers, steps, np.concatenate(rows)), final)

    expected = curves.extrapolate(np.arange(5))

    assert expected.values.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.6, 0.55])


# User code


def test_a_trial_climbs_from_level_to_level() -> None:
    trial = testing.trial(fidelities=(2, 6, 18))
    levels = []
    while not trial.should_stop():
        levels.append(trial.fidelity)
        trial.report(0.5)

    assert levels == [2, 6, 18]
    assert [step for step, _, _ in trial.reports] == [1, 2, 3]
    assert testing.trial().fidelity is None


OWN = """
def climbs(trial):
    while not trial.should_stop():
        trial.report(trial.fidelity, level=trial.fidelity)

def ends_early(trial):
    trial.report(0.5)
    return 0.5
"""


def run(folder: Path, name: str, context: Recorder, *, level: int = 0) -> Recorder:
    (folder / "own.py").write_text(OWN)
    code = Code(folder=folder, function=f"own:{name}")
    code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
    changes: dict[str, Any] = {
        "family": "function",
        "metric": "loss",
        "direction": "minimize",
        "epochs": 0,
        "code": code,
        "fidelities": (1, 3, 9),
    }
    data = PreparedData(kind="images", folder=folder, fingerprint="", sizes={})
    request = cohort(data, folder, {}, **changes)
    function.run(replace(request, tasks=(replace(request.tasks[0], level=level),)), context)
    return context


def test_only_the_value_at_the_whole_is_the_result_of_a_function(tmp_path: Path) -> None:
    context = run(tmp_path, "climbs", Recorder())

    assert [(r.step, r.value) for r in context.reports[0]] == [(1, 1), (2, 3), (3, 9)]
    assert context.finished[0][0] == 9  # although lower is better
    assert context.measured[0]["level"] == 9


def test_a_later_attempt_goes_on_with_the_next_level(tmp_path: Path) -> None:
    context = run(tmp_path, "climbs", Recorder(), level=2)

    assert [(r.step, r.value) for r in context.reports[0]] == [(3, 9)]
    assert context.finished[0][0] == 9


def test_a_function_that_never_trains_at_the_whole_has_no_result(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="without a report of the whole"):
        run(tmp_path, "ends_early", Recorder())


def test_a_pruned_function_ends_at_its_level(tmp_path: Path) -> None:
    context = run(
        tmp_path,
        "climbs",
        Recorder(lambda _, r: Decision.PRUNE if r.step == 2 else Decision.GO_ON),
    )

    assert [r.value for r in context.reports[0]] == [1, 3]
    assert not context.finished


# Shares of the data


def test_shares_are_the_same_in_every_trial_and_nested(digits: PreparedData) -> None:
    part = resident.load(digits, "train", torch.device("cpu"))
    shares = [take_share(part, share) for share in (0.1, 0.1, 0.5)]
    assert all(isinstance(share, Share) for share in shares)
    rows = [set(share.rows.tolist()) for share in shares if isinstance(share, Share)]

    assert rows[0] == rows[1] < rows[2]
    assert [len(share) for share in shares] == [round(len(part) * s) for s in (0.1, 0.1, 0.5)]
    assert take_share(part, 1.0) is part
    assert len(take_share(part, 1e-9)) == 1


def test_batches_of_a_share_hold_each_of_its_rows_once(digits: PreparedData) -> None:
    part = resident.load(digits, "train", torch.device("cpu"))
    share = take_share(part, 0.2)
    assert isinstance(share, Share)
    batches = list(share.batches(32, torch.Generator().manual_seed(0)))

    assert sorted(torch.cat(batches).tolist()) == list(range(len(share)))
    inputs, labels = share.batch(batches[0])
    assert torch.equal(labels, part.labels[share.rows[batches[0]]])
    assert torch.equal(inputs, part.inputs[share.rows[batches[0]]])


@pytest.mark.slow
def test_networks_start_anew_at_each_level_and_end_as_without(
    digits: PreparedData, tmp_path: Path
) -> None:
    levels, whole = Recorder(), Recorder()
    request = cohort(digits, tmp_path / "a", PARAMS, epochs=2, fidelities=(0.1, 0.5, 1.0))
    cnn.CODE.train(request, digits, levels)
    cnn.CODE.train(cohort(digits, tmp_path / "b", PARAMS, epochs=2), digits, whole)

    assert [report.step for report in levels.reports[0]] == [1, 2, 3]
    first, _, last = (report.value for report in levels.reports[0])
    assert first < last == levels.finished[0][0] == whole.finished[0][0]
    assert levels.measured[0]["training_seconds"] > 0


@pytest.mark.slow
def test_an_interrupted_network_goes_on_within_its_level(
    digits: PreparedData, tmp_path: Path
) -> None:
    request = cohort(digits, tmp_path, PARAMS, epochs=2, fidelities=(0.1, 0.5, 1.0))
    (task,) = request.tasks
    whole, first, second = Recorder(), Recorder(), Recorder()
    cnn.CODE.train(replace(request, tasks=(replace(task, folder=tmp_path / "w"),)), digits, whole)
    epochs = iter([False, False, True])  # in the first epoch of the second level
    first.asked_to_stop = lambda: next(epochs)  # type: ignore[method-assign]
    cnn.CODE.train(request, digits, first)
    again = replace(task, attempt=2, folder=tmp_path / "2", earlier=(task.folder,), level=1)
    cnn.CODE.train(replace(request, tasks=(again,)), digits, second)

    values = [r.value for r in first.reports[0]] + [r.value for r in second.reports[0]]
    assert values == [r.value for r in whole.reports[0]]
    assert second.finished[0][0] == whole.finished[0][0]


@pytest.mark.slow
def test_a_pruned_network_ends_at_its_level(digits: PreparedData, tmp_path: Path) -> None:
    context = Recorder(lambda *_: Decision.PRUNE)
    cnn.CODE.train(
        cohort(digits, tmp_path, PARAMS, epochs=1, fidelities=(0.1, 1.0)), digits, context
    )

    assert [report.step for report in context.reports[0]] == [1]
    assert not context.finished
