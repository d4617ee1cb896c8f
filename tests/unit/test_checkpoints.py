"""A trial that was interrupted goes on as if it had not been, to the last bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.training import PARAMS, Recorder, cohort, next_attempt, stop_after
from tuner import artifacts
from tuner.data import PreparedData
from tuner.errors import DiskFullError
from tuner.families import cnn, text_cnn
from tuner.families.code import Code
from tuner.training import checkpoints, member, optimizers
from tuner.training.cohort import Cohort, Decision
from tuner.trials import ParamValue, Report

pytestmark = pytest.mark.slow

SGD: dict[str, ParamValue] = {**PARAMS, "optimizer": "sgd", "momentum": 0.9, "nesterov": True}
TEXT: dict[str, ParamValue] = {
    "learning_rate": 0.01,
    "batch_size": 16,
    "optimizer": "adagrad",
    "dropout": 0.5,
    "embedding_dropout": 0.2,
    "embeddings": "random",
    "embedding_size": 50,
    "filter_widths": "1+2+3",
    "filters": 8,
    "max_norm": 3,
    "schedule": "linear",
}


def whole(cohort: Cohort, data: PreparedData, code: Code, folder: Path) -> Recorder:
    """The same trials without any interruption."""
    context = Recorder()
    tasks = tuple(replace(t, folder=folder / f"whole {t.number}") for t in cohort.tasks)
    code.train(replace(cohort, tasks=tasks), data, context)
    return context


@pytest.mark.parametrize("name", [*sorted(optimizers.OPTIMIZERS), "momentum", "text"])
def test_an_interrupted_curve_is_the_uninterrupted_one(
    name: str, digits: PreparedData, reviews: PreparedData, tmp_path: Path
) -> None:
    data, code = (reviews, text_cnn.CODE) if name == "text" else (digits, cnn.CODE)
    special = {"text": TEXT, "momentum": SGD}
    request = cohort(data, tmp_path, special.get(name, {**PARAMS, "optimizer": name}), epochs=5)
    expected = whole(request, data, code, tmp_path)
    curve = []
    for context in (stop_after(2), stop_after(3), Recorder()):
        code.train(request, data, context)
        curve += context.curve(0)
        request = next_attempt(request)
    assert curve == expected.curve(0)
    value, path = context.finished[0]
    expected_value, expected_path = expected.finished[0]
    assert value == expected_value
    assert path is not None
    assert expected_path is not None
    mine, theirs = load_file(path), load_file(expected_path)
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_trials_of_a_cohort_may_be_at_different_epochs(
    digits: PreparedData, tmp_path: Path
) -> None:
    request = cohort(digits, tmp_path, PARAMS, SGD, epochs=4)
    expected = whole(request, digits, cnn.CODE, tmp_path)
    only_first = replace(request, tasks=request.tasks[:1])
    first = stop_after(3)
    cnn.CODE.train(only_first, digits, first)
    both = Recorder()
    cnn.CODE.train(next_attempt(request), digits, both)
    assert [r.step for r in both.reports[0]] == [4]
    assert [r.step for r in both.reports[1]] == [1, 2, 3, 4]
    assert first.curve(0) + both.curve(0) == expected.curve(0)
    assert both.curve(1) == expected.curve(1)


def test_a_trial_stopped_at_its_last_epoch_only_finishes(
    digits: PreparedData, tmp_path: Path
) -> None:
    request = cohort(digits, tmp_path, PARAMS, epochs=2)
    stopped = stop_after(2)
    cnn.CODE.train(request, digits, stopped)
    assert not stopped.finished
    again = Recorder()
    cnn.CODE.train(next_attempt(request), digits, again)
    assert not again.reports
    assert again.finished[0][0] == max(r.value for r in stopped.reports[0])


def test_a_paused_trial_is_saved_at_once_and_alone(digits: PreparedData, tmp_path: Path) -> None:
    """However short the training was: `member.CHECKPOINT_PERIOD` is for what may be killed."""
    request = cohort(digits, tmp_path, PARAMS, {**PARAMS, "learning_rate": 0.02}, epochs=4)
    expected = whole(request, digits, cnn.CODE, tmp_path)

    def decide(number: int, report: Report) -> Decision:
        return Decision.PAUSE if (number, report.step) == (1, 1) else Decision.GO_ON

    context = Recorder(decide)
    cnn.CODE.train(request, digits, context)
    assert context.paused_trials == [1]
    assert list(context.finished) == [0], "the other one of the cohort is not disturbed"
    assert context.curve(0) == expected.curve(0)
    assert [path.name[:10] for path in (tmp_path / "1").glob("*.checkpoint")] == ["epoch-0001"]
    assert list((tmp_path / "0").glob("*.checkpoint")) == []

    promoted = next_attempt(replace(request, tasks=request.tasks[1:]))
    again = Recorder()
    cnn.CODE.train(promoted, digits, again)
    assert context.curve(1) + again.curve(1) == expected.curve(1)
    assert again.finished[1][0] == expected.finished[1][0]


def test_a_promoted_trial_without_an_intact_checkpoint_starts_over_and_says_so(
    digits: PreparedData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = cohort(digits, tmp_path, PARAMS, epochs=3)
    pause = Recorder(lambda _, report: Decision.PAUSE if report.step == 1 else Decision.GO_ON)
    cnn.CODE.train(request, digits, pause)
    (saved,) = (tmp_path / "0").glob("*.checkpoint")
    saved.write_bytes(saved.read_bytes()[:-1])
    promoted = next_attempt(request)
    tasks = tuple(replace(task, is_promoted=True) for task in promoted.tasks)
    context = Recorder()
    cnn.CODE.train(replace(promoted, tasks=tasks), digits, context)
    assert [report.step for report in context.reports[0]] == [1, 2, 3]
    assert context.reports[0][0].value == pause.reports[0][0].value
    assert "no checkpoint of an earlier attempt can be read: it starts over" in caplog.text


def test_a_killed_trial_goes_on_from_what_was_saved(
    digits: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "CHECKPOINT_PERIOD", 0.0)

    class Killed(BaseException):
        pass

    def die(_: int, report: Report) -> Decision:
        if report.step == 3:
            raise Killed  # between the report and the next checkpoint
        return Decision.GO_ON

    request = cohort(digits, tmp_path, PARAMS, epochs=4)
    expected = whole(request, digits, cnn.CODE, tmp_path)
    with pytest.raises(Killed):
        cnn.CODE.train(request, digits, Recorder(die))
    again = Recorder()
    cnn.CODE.train(next_attempt(request), digits, again)
    assert [r.step for r in again.reports[0]] == [3, 4]
    assert again.curve(0) == expected.curve(0)[2:]


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_used(
    damage: str, digits: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "CHECKPOINT_PERIOD", 0.0)
    request = cohort(digits, tmp_path, PARAMS, epochs=5)
    cnn.CODE.train(request, digits, stop_after(4))
    files = sorted((tmp_path / "0").glob("*.checkpoint"))
    assert [path.name[:10] for path in files] == ["epoch-0003", "epoch-0004"]
    content = files[-1].read_bytes()
    changed = bytes([content[-1] ^ 1])
    files[-1].write_bytes(
        {"cut": content[:-100], "changed": content[:-1] + changed, "emptied": b""}[damage]
    )
    checkpoint = checkpoints.load_latest([tmp_path / "0"])
    assert checkpoint is not None
    assert checkpoint.epoch == 3
    assert (tmp_path / "0" / f"{files[-1].name}.corrupt").exists()


def test_without_a_whole_checkpoint_a_trial_starts_again(tmp_path: Path) -> None:
    assert checkpoints.load_latest([tmp_path, tmp_path / "missing"]) is None
    (tmp_path / f"epoch-0001.{'0' * 16}.checkpoint").write_bytes(b"nonsense")
    (tmp_path / "epoch-0002.checkpoint").write_bytes(b"not one of ours")
    assert checkpoints.load_latest([tmp_path]) is None


def test_a_full_disk_costs_the_checkpoint_and_not_the_trial(
    digits: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError

    monkeypatch.setattr(member, "CHECKPOINT_PERIOD", 0.0)
    monkeypatch.setattr(checkpoints, "save", full)
    context = Recorder()
    cnn.CODE.train(cohort(digits, tmp_path, PARAMS), digits, context)
    assert 0 in context.finished


@pytest.mark.parametrize("prune_at", [3, None])
def test_checkpoints_are_left_to_whoever_stores_the_end(
    digits: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prune_at: int | None
) -> None:
    """Until it is stored, another attempt may have to go on from them."""
    monkeypatch.setattr(member, "CHECKPOINT_PERIOD", 0.0)
    context = Recorder(
        lambda _, report: Decision.PRUNE if report.step == prune_at else Decision.GO_ON
    )
    request = cohort(digits, tmp_path, PARAMS, epochs=5)
    cnn.CODE.train(request, digits, context)
    assert len(context.reports[0]) == (prune_at or 5)
    (folder,) = [task.folder for task in request.tasks]
    (folder / "epoch-0001.0.checkpoint.corrupt").touch()
    assert len(list(folder.glob("*.checkpoint"))) == 2
    artifacts.remove_checkpoints([folder])
    assert not list(folder.glob("*.checkpoint*"))
