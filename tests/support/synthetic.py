"""Trials that look real: saturating learning curves, a log-uniform rate, pruned and failed ones.

study(...)   a study of digits with the space that the trials are drawn from
trials(...)  deterministic; the sampler "learns", so later trials are better
"""

import cProfile
import math
import pstats
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tuner.trials import (
    Attempt,
    Cause,
    Direction,
    ParamValue,
    Report,
    Study,
    StudyState,
    Trial,
    TrialState,
)

START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
LOG = frozenset({"learning_rate", "weight_decay"})
SPACE = {
    "learning_rate": "1e-05 … 0.1 (log)",
    "batch_size": "32, 64, 128, 256",
    "optimizer": "adam, adamw, sgd",
    "weight_decay": "1e-06 … 0.01 (log)",
    "dropout": "0 … 0.6",
    "momentum": "0.5 … 0.99 when optimizer is sgd",
    "layers": "1 … 4",
}
IMPORTANCES = {
    "learning_rate": 0.534,
    "optimizer": 0.171,
    "dropout": 0.118,
    "batch_size": 0.092,
    "weight_decay": 0.051,
    "layers": 0.031,
    "momentum": 0.003,
}
VERSIONS = {"tuner": "0.1.0", "python": "3.12.4", "torch": "2.13.0", "optuna": "5.0.0"}
BEST_YAML = """\
learning_rate: 0.00141
batch_size: 64
optimizer: adamw
weight_decay: 0.00012
dropout: 0.23
layers: 3
"""
FAILURES = (
    (Cause.OUT_OF_MEMORY, "the device has 7.8 GiB of memory; 9.1 GiB were asked for"),
    (Cause.DIVERGED, "the loss became NaN in epoch 1"),
    (Cause.LOST, "the worker gpu-3:4711 stopped answering"),
    (Cause.USER_ERROR, "ValueError: expected 10 classes, the labels have 11"),
)


def study(
    *,
    name: str = "digits-cnn",
    state: StudyState = StudyState.FINISHED,
    direction: Direction = "maximize",
    metric: str = "accuracy",
    max_trials: int | None = 40,
    epochs: int = 20,
    **changes: Any,
) -> Study:
    """A study of the digits' CNN."""
    defaults = Study(
        name=name,
        state=state,
        directions=(direction,),
        metrics=(metric,),
        family="cnn",
        spec={
            "name": name,
            "family": "cnn",
            "data": {"source": "digits", "split": {"validation": 0.15, "test": 0.15, "seed": 0}},
            "objective": {"metric": metric, "direction": direction},
            "budget": {"trials": max_trials, "epochs": epochs, "hours": None, "patience": None},
            "space": {
                "parameters": [
                    {"name": "learning_rate", "type": "float", "low": 1e-5, "high": 0.1},
                    {"name": "batch_size", "type": "categorical", "choices": [32, 64, 128, 256]},
                    {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adam"]},
                    {"name": "weight_decay", "type": "float", "low": 1e-6, "high": 0.01},
                    {"name": "dropout", "type": "float", "low": 0.0, "high": 0.6},
                    {"name": "momentum", "type": "float", "low": 0.5, "high": 0.99},
                    {"name": "layers", "type": "int", "low": 1, "high": 4},
                ],
                "forbidden": [],
            },
            "sampler": {"name": "tpe", "startup_trials": 10},
            "pruner": {"name": "rungs", "min_epochs": 1, "reduction": 3, "startup_trials": 5},
            "training": {"early_stop": None, "precision": "auto"},
            "seed": 7,
        },
        max_trials=max_trials,
        issued=max_trials or 0,
        data_fingerprint="9f2c5a1e7b34d806",
        reason="the budget of 40 trials is used" if state is StudyState.FINISHED else None,
        created_at=START,
        finished_at=START + timedelta(minutes=26) if state is StudyState.FINISHED else None,
    )
    return replace(defaults, **changes)


def trials(
    how_many: int,
    *,
    epochs: int = 20,
    seed: int = 0,
    prune: bool = True,
    fail: bool = True,
    running: int = 0,
    direction: Direction = "maximize",
) -> list[Trial]:
    """So many trials; the last `running` of them are still running."""
    rng = random.Random(seed)
    history: list[Trial] = []
    at_rung: dict[int, list[float]] = {}
    clock = START
    for number in range(how_many):
        params = _params(rng, focus=min(number / 40, 1.0) * 0.75)
        quality = _quality(params) + rng.gauss(0, 0.004)
        speed = rng.uniform(0.25, 0.6) * (1.4 if params["optimizer"] != "sgd" else 0.8)
        reports: list[Report] = []
        state = TrialState.COMPLETE
        for step in range(1, epochs + 1):
            value = quality - (quality - 0.12) * math.exp(-speed * step) + rng.gauss(0, 0.003)
            accuracy = min(max(value, 0.05), 0.999)
            reports.append(
                Report(step, accuracy if direction == "maximize" else -math.log(accuracy) * 1.7)
            )
            if prune and step in (1, 3, 9) and _is_worse(at_rung.setdefault(step, []), accuracy):
                state = TrialState.PRUNED
                break
        seconds = 1.9 * len(reports) + rng.random()
        cause = message = None
        if fail and rng.random() < 0.07:
            state, (cause, message) = TrialState.FAILED, rng.choice(FAILURES)
            reports = reports[: rng.randrange(0, 3)]
        started, finished = clock, clock + timedelta(seconds=seconds)
        clock += timedelta(seconds=seconds / 2)  # two executors
        is_running = number >= how_many - running
        if is_running:
            state, cause, message = TrialState.RUNNING, None, None
        values = None
        if reports and state in (TrialState.COMPLETE, TrialState.PRUNED):
            best = max if direction == "maximize" else min
            complete = state is TrialState.COMPLETE
            values = (best(r.value for r in reports) if complete else reports[-1].value,)
        history.append(
            Trial(
                number=number,
                state=state,
                params=params,
                values=values,
                reports=tuple(reports),
                attempt=1,
                worker=f"gpu-{number % 2}:4{number % 2}11",
                cause=cause,
                message=message,
                created_at=started,
                started_at=started,
                finished_at=None if is_running else finished,
                id=number + 1,
            )
        )
    return history


def attempts(trials: Sequence[Trial]) -> list[Attempt]:
    """One of each trial."""
    return [
        Attempt(t.number, 1, t.cause or t.state, t.message, t.started_at, t.finished_at)
        for t in trials
    ]


def _params(rng: random.Random, focus: float) -> dict[str, ParamValue]:
    """Log-uniform around an optimum that is approached with `focus` from 0 to 1."""

    def near(optimum: float, low: float, high: float) -> float:
        uniform = rng.uniform(low, high)
        return uniform + (optimum - uniform) * focus * rng.random()

    optimizer = rng.choice(["sgd", "adam", "adamw"] + ["adamw"] * round(6 * focus))
    params: dict[str, ParamValue] = {
        "learning_rate": 10.0 ** near(-2.8, -5, -1),
        "batch_size": rng.choice([32, 64, 128, 256]),
        "optimizer": optimizer,
        "weight_decay": 10.0 ** near(-4, -6, -2),
        "dropout": near(0.2, 0.0, 0.6),
        "layers": rng.randint(1, 4),
    }
    if optimizer == "sgd":
        params["momentum"] = rng.uniform(0.5, 0.99)
    return params


def _quality(params: dict[str, ParamValue]) -> float:
    rate = math.log10(float(params["learning_rate"] or 0))
    dropout = float(params["dropout"] or 0)
    loss = 0.008 + 0.045 * math.pow(abs(rate + 2.8), 1.8)
    loss += {"adamw": 0.0, "adam": 0.006, "sgd": 0.03}[str(params["optimizer"])]
    loss += 0.25 * (dropout - 0.2) ** 2 + (0.012 if params["batch_size"] == 256 else 0.0)
    return max(0.99 - loss, 0.1)


def _is_worse(at_rung: list[float], value: float) -> bool:
    """Whether a value is among the worse two thirds of those seen at this rung."""
    at_rung.append(value)
    return len(at_rung) > 5 and sum(v > value for v in at_rung) > len(at_rung) * 0.5


def calls(action: Callable[[], object]) -> int:
    """How many calls of functions it takes: the same on a busy machine, unlike seconds."""
    profile = cProfile.Profile()
    profile.runcall(action)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]
