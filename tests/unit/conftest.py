"""What unit tests share: prepared data, and the bounds that quick ones keep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.training import SENTENCES
from tuner.data import PreparedData, prepare
from tuner.data.source_files import locate_packaged
from tuner.families import command
from tuner.study_file.data import DataSpec


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not marked `slow` starts no process and no server, and trains nothing."""
    if request.node.get_closest_marker("slow") is not None:
        return

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("starts a process or trains: mark it with `pytest.mark.slow`")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
        monkeypatch.setattr(os, name, refuse)
    if (torch := sys.modules.get("torch")) is not None:
        monkeypatch.setattr(torch.autograd, "backward", refuse)
    if (word2vec := sys.modules.get("gensim.models.word2vec")) is not None:
        monkeypatch.setattr(word2vec.Word2Vec, "train", refuse)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared data for the whole run of one process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits(cache: Path) -> PreparedData:
    """scikit-learn's digits, prepared."""
    return prepare(DataSpec(source="digits"), cache)


@pytest.fixture(scope="session")
def reviews(cache: Path) -> PreparedData:
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
def lee(cache: Path) -> PreparedData:
    """gensim's small corpus of news, prepared."""
    return prepare(DataSpec(source="lee"), cache)


@pytest.fixture(scope="session")
def news(cache: Path) -> PreparedData:
    """A fifth of that corpus."""
    path = cache / "news.txt"
    path.write_bytes(b"".join(locate_packaged("lee").read_bytes().splitlines(keepends=True)[:60]))
    return prepare(DataSpec(source="corpus", path=path), cache)


@pytest.fixture
def short_graces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits seconds for what blocks signals."""
    monkeypatch.setattr(command, "TICK", 0.02)
    monkeypatch.setattr(command, "STOP_GRACE", 0.3)
    monkeypatch.setattr(command, "TERM_GRACE", 0.3)
