"""The training loop, its metrics, optimizers and schedules, against references."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
from safetensors.torch import load_file

from tests.support.training import PARAMS, Recorder, cohort
from tuner.data import PreparedData
from tuner.families import cnn
from tuner.training import bootstrap, metrics, optimizers, resident, schedules, weights
from tuner.training.cohort import Decision
from tuner.training.network import predict
from tuner.trials import ParamValue


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(200, 6))
    labels = rng.integers(0, 5, 200)  # one class never occurs
    measured = metrics.classification(torch.tensor(logits), torch.tensor(labels))
    predicted = logits.argmax(axis=1)
    assert measured["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    recalls = [np.mean(predicted[labels == k] == k) for k in range(5)]
    assert measured["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert measured["f1_macro"] == pytest.approx(
        sklearn.metrics.f1_score(labels, predicted, average="macro")
    )
    for name, score in (
        ("precision_macro", partial(sklearn.metrics.precision_score, average="macro")),
        ("recall_macro", partial(sklearn.metrics.recall_score, average="macro")),
        ("f1_micro", partial(sklearn.metrics.f1_score, average="micro")),
    ):
        assert measured[name] == pytest.approx(score(labels, predicted, zero_division=0))
    exp = np.exp(logits)
    assert measured["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(labels, exp / exp.sum(axis=1, keepdims=True), labels=range(6)),
        rel=1e-5,
    )


@pytest.mark.parametrize("most", [bootstrap.MAX_ROWS, 100])
def test_the_interval_of_an_accuracy_is_that_of_a_share(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "MAX_ROWS", most)  # of a large part fewer rows are drawn
    right = torch.arange(400) < 320
    logits = torch.stack([right.float(), 1 - right.float()], dim=1)
    low, high = metrics.interval(logits, torch.zeros(400, dtype=torch.int64), "accuracy")
    reach = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert low == pytest.approx(0.8 - reach, abs=0.01)
    assert high == pytest.approx(0.8 + reach, abs=0.01)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_roc_auc_is_that_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(300, classes))
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 300 - classes)])
    logits[np.arange(300), labels] += 0.5
    if classes == 2:
        logits = logits.round()  # with ties
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = (
        probabilities[:, 1].round(12) if classes == 2 else probabilities
    )  # rounding must not separate ties
    expected = sklearn.metrics.roc_auc_score(labels, scores, multi_class="ovr")
    measured = metrics.roc_auc(torch.tensor(logits), torch.tensor(labels))
    assert measured == pytest.approx(expected)
    assert measured > 0.55


def test_roc_auc_counts_ties_half_and_leaves_out_what_does_not_occur() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert metrics.roc_auc(torch.zeros(4, 2), labels) == 0.5
    right = torch.nn.functional.one_hot(labels, 3).float()
    assert metrics.roc_auc(right, labels) == 1  # nobody is of the third class
    assert metrics.roc_auc(-right, labels) == 0
    assert metrics.roc_auc(right, torch.zeros(4, dtype=torch.int64)) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_every_optimizer_lowers_a_quadratic(name: str) -> None:
    layer = torch.nn.Linear(4, 1)
    params: dict[str, ParamValue] = {
        "optimizer": name,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-3,
    }
    optimizer = optimizers.make(layer, params)
    inputs = torch.eye(4)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (layer(inputs) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_weight_decay_spares_biases() -> None:
    optimizer = optimizers.make(
        torch.nn.Linear(4, 3), {"optimizer": "adamw", "learning_rate": 0.1, "weight_decay": 0.5}
    )
    decays = {p.ndim: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decays == {2: 0.5, 1: 0.0}


def test_schedules() -> None:
    assert [schedules.factor("constant", s, 10, 0.0) for s in range(10)] == [1.0] * 10
    assert schedules.factor("linear", 0, 10, 0.0) == 1.0
    assert schedules.factor("linear", 10, 10, 0.0) == 0.0
    assert schedules.factor("cosine", 5, 10, 0.0) == pytest.approx(0.5)
    warm = [schedules.factor("cosine", s, 100, 0.1) for s in range(10)]
    assert warm == sorted(warm)
    assert 0 < warm[0] < warm[-1] < 1
    for name in ("constant", "cosine", "linear"):
        factors = [schedules.factor(name, s, 37, 0.2) for s in range(37)]
        assert all(0 <= f <= 1 for f in factors)


@pytest.mark.slow
def test_a_trial_learns_and_reports(digits: PreparedData, tmp_path: Path) -> None:
    context = Recorder()
    cnn.CODE.train(cohort(digits, tmp_path, PARAMS, epochs=8), digits, context)
    reports = context.reports[0]
    assert [r.step for r in reports] == list(range(1, 9))
    assert reports[-1].value > 0.9
    assert reports[0].metrics.keys() == {
        "train_loss",
        "validation_loss",
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "f1_micro",
        "precision_macro",
        "recall_macro",
        "roc_auc",
        "log_loss",
        "samples_per_second",
        "peak_memory_mib",
        "training_seconds",
        "parameters",
        "latency",
    }
    assert context.finished[0][0] == max(r.value for r in reports)
    measured = context.measured[0]
    assert measured["accuracy"] == context.finished[0][0]
    assert measured["parameters"] == sum(p.numel() for p in cnn.build(PARAMS, digits).parameters())
    assert measured["latency"] > 0
    seconds = [r.metrics["training_seconds"] for r in reports]
    assert 0 < seconds[0] < seconds[-1] == measured["training_seconds"]


@pytest.mark.slow
def test_the_weights_are_those_of_the_best_epoch(digits: PreparedData, tmp_path: Path) -> None:
    context = Recorder()
    cnn.CODE.train(cohort(digits, tmp_path, PARAMS, epochs=6), digits, context)
    value, path = context.finished[0]
    assert path is not None
    model = cnn.build(PARAMS, digits)
    weights.load(model, path)
    part = resident.load(digits, "validation", torch.device("cpu"))
    measured = metrics.classification(predict(model, part), part.labels)
    assert measured["accuracy"] == value


@pytest.mark.slow
def test_a_result_does_not_depend_on_the_cohort(digits: PreparedData, tmp_path: Path) -> None:
    other = {**PARAMS, "dropout": 0.5, "batch_size": 64}
    together, first, second = Recorder(), Recorder(), Recorder()
    both = cohort(digits, tmp_path / "both", PARAMS, other)
    cnn.CODE.train(both, digits, together)
    for context, task in ((first, both.tasks[0]), (second, both.tasks[1])):
        single = replace(both, tasks=(replace(task, folder=tmp_path / f"alone {task.number}"),))
        cnn.CODE.train(single, digits, context)
    assert together.curve(0) == first.curve(0)
    assert together.curve(1) == second.curve(1)
    mine = load_file(tmp_path / "both" / "1" / "weights.safetensors")
    theirs = load_file(tmp_path / "alone 1" / "weights.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.slow
def test_the_seed_decides_the_curve(digits: PreparedData, tmp_path: Path) -> None:
    curves = []
    for seed in (1, 1, 2):
        context = Recorder()
        request = cohort(digits, tmp_path, PARAMS, epochs=2)
        cnn.CODE.train(
            replace(request, tasks=(replace(request.tasks[0], seed=seed),)), digits, context
        )
        curves.append(context.curve(0))
    assert curves[0] == curves[1] != curves[2]


@pytest.mark.slow
def test_a_decision_ends_one_trial_and_not_the_other(digits: PreparedData, tmp_path: Path) -> None:
    context = Recorder(
        lambda number, report: Decision.PRUNE if (number, report.step) == (0, 2) else Decision.GO_ON
    )
    cnn.CODE.train(cohort(digits, tmp_path, PARAMS, PARAMS), digits, context)
    assert [len(context.reports[n]) for n in (0, 1)] == [2, 3]
    assert set(context.finished) == {1}
    assert not (tmp_path / "0").exists()


@pytest.mark.slow
def test_divergence_is_said(digits: PreparedData, tmp_path: Path) -> None:
    wild = {**PARAMS, "optimizer": "sgd", "momentum": 0.99, "learning_rate": 1e30}
    wild |= {"batch_norm": False, "clip_norm": 0.0, "warmup": 0.0}
    context = Recorder()
    cnn.CODE.train(cohort(digits, tmp_path, wild, PARAMS), digits, context)
    assert "training loss became" in context.problems[0]
    assert set(context.finished) == {1}


@pytest.mark.slow
def test_early_stop_ends_a_trial_that_stands_still(digits: PreparedData, tmp_path: Path) -> None:
    still = {**PARAMS, "learning_rate": 1e-30, "batch_norm": False}
    context = Recorder()
    cnn.CODE.train(cohort(digits, tmp_path, still, epochs=50, early_stop=3), digits, context)
    assert len(context.reports[0]) == 4
    assert 0 in context.finished


@pytest.mark.slow
def test_a_minimized_metric_keeps_its_lowest_epoch(digits: PreparedData, tmp_path: Path) -> None:
    context = Recorder()
    minimizing = cohort(digits, tmp_path, PARAMS, metric="log_loss", direction="minimize")
    cnn.CODE.train(minimizing, digits, context)
    assert context.finished[0][0] == min(r.value for r in context.reports[0])
    assert math.isfinite(context.finished[0][0])


def test_a_part_that_does_not_fit_is_streamed(
    digits: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cpu")
    whole = resident._load(digits, "validation", device)
    monkeypatch.setattr(resident, "SHARE", 0.0)
    streamed = resident._load(digits, "validation", device)
    assert streamed.inputs.dtype == torch.uint8
    rows = torch.tensor([3, 1, 200])
    for mine, theirs in zip(whole.batch(rows), streamed.batch(rows), strict=True):
        assert torch.equal(mine, theirs)
