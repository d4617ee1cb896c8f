"""Prepared data and a context for training without a worker."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tuner.data import Prepared, prepare
from tuner.data.raw import packaged
from tuner.spec.data import DataSpec
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


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared data for the whole run of one process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits(cache: Path) -> Prepared:
    """scikit-learn's digits, prepared."""
    return prepare(DataSpec(source="digits"), cache)


@pytest.fixture(scope="session")
def reviews(cache: Path) -> Prepared:
    """A small text data set with two classes, prepared."""
    path = cache / "reviews.csv"
    rows = [
        f'"{sentence} {number}",{label}'
        for number in range(12)
        for label, sentences in SENTENCES.items()
        for sentence in sentences
    ]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return prepare(DataSpec(source="text", path=path), cache)


@pytest.fixture(scope="session")
def lee(cache: Path) -> Prepared:
    """gensim's small corpus of news, prepared."""
    return prepare(DataSpec(source="lee"), cache)


@pytest.fixture(scope="session")
def news(cache: Path) -> Prepared:
    """A fifth of that corpus."""
    path = cache / "news.txt"
    path.write_bytes(b"".join(packaged("lee").read_bytes().splitlines(keepends=True)[:60]))
    return prepare(DataSpec(source="corpus", path=path), cache)


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

    def asked_to_stop(self) -> bool:
        return False

    def curve(self, number: int) -> list[tuple[float, float]]:
        """Value and training loss of every epoch."""
        return [(r.value, r.metrics["train_loss"]) for r in self.reports[number]]


def cohort(
    data: Prepared, folder: Path, *params: Mapping[str, ParamValue], **changes: Any
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
