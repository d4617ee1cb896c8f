"""Training without a worker: a cohort of trials and a context that remembers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.data import PreparedData
from tuner.training.cohort import Cohort, Decision, Task
from tuner.trials import ParamValue, Report

SENTENCES = {
    "positive": ["a good book", "really good value", "good , very good", "I like it", "great fun"],
    "negative": ["a bad book", "really bad value", "bad , very bad", "I hate it", "no fun at all"],
}


# as a cohort carries them; of a table, only how its texts are read counts
SPECS = {
    "images": {"source": "digits"},
    "text": {"source": "text", "path": "reviews.csv"},
    "corpus": {"source": "lee"},
    "pairs": {"source": "cmudict"},
}


class Recorder:
    """A `Context` that answers from a function and remembers everything."""

    def __init__(
        self, decide: Callable[[int, Report], Decision] = lambda *_: Decision.GO_ON
    ) -> None:
        self.decide = decide
        self.reports: dict[int, list[Report]] = {}
        self.finished: dict[int, tuple[float, Path | None]] = {}
        self.measured: dict[int, Mapping[str, float]] = {}
        self.problems: dict[int, str] = {}
        self.paused_trials: list[int] = []

    def report(self, reports: Mapping[int, Report]) -> Mapping[int, Decision]:
        for number, report in reports.items():
            self.reports.setdefault(number, []).append(report)
        return {number: self.decide(number, report) for number, report in reports.items()}

    def finish(
        self, number: int, value: float, weights: Path | None, measured: Mapping[str, float]
    ) -> None:
        self.finished[number] = value, weights
        self.measured[number] = measured

    def diverged(self, number: int, message: str) -> None:
        self.problems[number] = message

    def paused(self, number: int) -> None:
        self.paused_trials.append(number)

    def asked_to_stop(self) -> bool:
        return False

    def curve(self, number: int) -> list[tuple[float, float]]:
        """Value and training loss of every epoch."""
        return [(r.value, r.metrics["train_loss"]) for r in self.reports[number]]


def cohort(
    data: PreparedData, folder: Path, *params: Mapping[str, ParamValue], **changes: Any
) -> Cohort:
    """A cohort with one trial a configuration, numbered from 0; the number is the seed."""
    values: dict[str, Any] = {
        "study": "test",
        "family": "cnn" if data.kind == "images" else "text_cnn",
        "data": SPECS[data.kind],
        "fingerprint": data.fingerprint,
        "metric": "accuracy",
        "direction": "maximize",
        "epochs": 3,
        "early_stop": None,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "cache": folder,
        "tasks": tuple(
            Task(number=n, attempt=1, params=p, seed=n, folder=folder / str(n))
            for n, p in enumerate(params)
        ),
    }
    return Cohort(**{**values, **changes})


PARAMS: dict[str, ParamValue] = {
    "learning_rate": 0.01,
    "batch_size": 128,
    "optimizer": "adam",
    "weight_decay": 1e-4,
    "dropout": 0.2,
    "label_smoothing": 0.1,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip_norm": 1.0,
    "depth": 2,
    "filters": 8,
    "kernel": 3,
    "dense": 32,
    "batch_norm": True,
    "residual": False,
    "shift": 0.1,
    "flip": False,
}


def stop_after(epoch: int) -> Recorder:
    def decide(_: int, report: Report) -> Decision:
        return Decision.STOP if report.step == epoch else Decision.GO_ON

    return Recorder(decide)


def next_attempt(asked: Cohort) -> Cohort:
    """The same cohort as the next attempt gets it."""
    tasks = tuple(
        replace(
            task,
            attempt=task.attempt + 1,
            folder=task.folder.with_name(f"{task.number}.{task.attempt + 1}"),
            earlier=(task.folder, *task.earlier),
        )
        for task in asked.tasks
    )
    return replace(asked, tasks=tasks)
