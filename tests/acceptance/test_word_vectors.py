"""Word vectors from a study file to an export that gensim reads."""

import json
from pathlib import Path

import pytest
from gensim.models import KeyedVectors

from tests.acceptance.test_run import ok
from tests.conftest import tuner

STUDY = """
name: {family}-vectors
family: {family}
data: {{path: corpus.txt}}
budget: {{trials: 3, epochs: 2}}
search: {{batch_words: 3000, vector_size: 20, min_count: 1, {more}}}
resources: {{device: cpu, threads: 1}}
"""


def corpus(folder: Path) -> Path:
    """Sentences of two kinds, so that words tell which others stand around them."""
    path = folder / "corpus.txt"
    lines = [
        f"the {animal} number{n} eats {food} and the {animal} sleeps"
        for n in range(60)
        for animal, food in (("cat", "fish"), ("dog", "meat"), ("cow", "grass"))
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def study(folder: Path, family: str) -> Path:
    path = folder / f"{family}.yaml"
    more = "bucket: 500" if family == "fasttext" else "window: 3"
    path.write_text(STUDY.format(family=family, more=more), encoding="utf-8")
    return path


@pytest.mark.parametrize("family", ["word2vec", "fasttext"])
def test_vectors_are_exported_verified_and_reproduced(
    family: str, environment: dict[str, str], tmp_path: Path
) -> None:
    corpus(tmp_path)
    run = {"environment": environment, "cwd": tmp_path}
    best = ok("run", str(study(tmp_path, family)), "--json", **run)["best"]
    assert best["metric"]["name"] == "gap_accuracy"
    assert best["metric"]["validation"] == best["metric"]["validation_from_weights"]
    assert 0 < best["metric"]["test"] <= 1
    folder = tmp_path / "exports" / f"{family}-vectors"
    assert {path.name for path in folder.iterdir()} == {
        *("best.json", "best.yaml", "reproduce.yaml", "vectors.txt", "weights.safetensors")
    }
    vectors = KeyedVectors.load_word2vec_format(folder / "vectors.txt")
    assert vectors.vector_size == 20
    assert {"cat", "dog", "cow"} <= set(vectors.index_to_key)

    ok("export", f"{family}-vectors", "--force", **run)  # what it holds is an export
    ok("run", str(folder / "reproduce.yaml"), "--json", **run)
    again = tmp_path / "exports" / f"{family}-vectors-reproduced"
    for name in ("weights.safetensors", "vectors.txt"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert "gap_accuracy" in ok("trials", f"{family}-vectors", **run)
    ok("report", f"{family}-vectors", **run)


def test_what_word_vectors_cannot_be_judged_by_is_told_at_the_launch(
    environment: dict[str, str], tmp_path: Path
) -> None:
    corpus(tmp_path)
    file = study(tmp_path, "word2vec")
    run = {"environment": environment, "cwd": tmp_path}
    for metric, said in (
        ("word_similarity", "word2vec.yaml:3: family: the corpus has all words of only"),
        ("probe_accuracy", "must be one of gap_accuracy, word_similarity, analogy_accuracy"),
    ):
        refused = tuner("run", str(file), "--set", f"objective.metric={metric}", **run)
        assert refused.returncode == 2
        assert said in refused.stderr
    assert json.loads(tuner("list", "--json", **run).stdout) == []
