"""Word vectors from a study file to an export that gensim reads."""

import json
from pathlib import Path

import pytest
from gensim.models import KeyedVectors

from tests.support.commands import ok, tuner
from tests.support.studies import quick

STUDY = """
name: {family}-vectors
family: {family}
data: {{path: corpus.txt}}
budget: {{trials: 3, epochs: 2}}
search: {{batch_words: 3000, vector_size: 20, min_count: 1, {more}}}
resources: {{device: cpu, workers: 1, threads: 1}}
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
        *("card.md", "config.yaml", "lock.txt", "manifest.json", "predict.py", "vectors.txt"),
        *("preprocessing.json", "reproduce.yaml", "result.json", "weights.safetensors"),
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


REVIEWS = """
name: {name}
family: text_cnn
data: {{path: reviews.csv, vectors: "study:{vectors}"}}
budget: {{trials: 1, epochs: 1}}
search: {{filters: 8, optimizer: adam, learning_rate: 0.01}}
resources: {{device: cpu, workers: 1, threads: 1}}
"""


def reviews(folder: Path, name: str, vectors: str) -> Path:
    rows = [f"the {'cat' if n % 2 else 'dog'} sleeps number{n},{n % 2}" for n in range(60)]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(rows))
    path = folder / f"{name}.yaml"
    path.write_text(REVIEWS.format(name=name, vectors=vectors))
    return path


def test_vectors_of_one_study_are_the_embeddings_of_another(
    environment: dict[str, str], tmp_path: Path
) -> None:
    corpus(tmp_path)
    run = {"environment": environment, "cwd": tmp_path}
    made = ok("run", str(study(tmp_path, "word2vec")), "--json", **run)["best"]
    file = reviews(tmp_path, "second", "word2vec-vectors")
    done = tuner("run", str(file), "--json", **run)
    assert done.returncode == 0, done.stderr
    said = f"word vectors: trial {made['trial']} of `word2vec-vectors`, the best (gap_accuracy "
    assert said in done.stderr
    best = json.loads(done.stdout)["best"]
    path = Path(best["data"]["vectors"])
    assert path.parent == Path(environment["TUNER_HOME"]) / "vectors" / "word2vec-vectors"
    exported = tmp_path / "exports" / "word2vec-vectors" / "vectors.txt"
    expected = KeyedVectors.load_word2vec_format(exported)
    pinned = KeyedVectors.load_word2vec_format(path, binary=True)
    assert pinned.index_to_key == expected.index_to_key
    assert (pinned.vectors == expected.vectors).all()
    assert best["params"]["embeddings"] in ("static", "tuned")

    # it outlives the first study, goes on with what it was launched with, and can be repeated
    ok("delete", "word2vec-vectors", "--yes", **run)
    again = ok("run", str(file), "--set", "budget.trials=2", "--json", **run)
    assert sum(again["counts"].values()) == 2
    assert again["best"]["data"]["vectors"] == str(path)
    ok("export", "second", "--to", "copy", **run)
    ok("run", str(tmp_path / "copy" / "reproduce.yaml"), "--json", **run)
    weights = [
        (folder / "weights.safetensors").read_bytes()
        for folder in (tmp_path / "copy", tmp_path / "exports" / "second-reproduced")
    ]
    assert weights[0] == weights[1]

    # content decides: a worker does not train on other vectors than those of the launch
    ok("launch", str(tmp_path / "copy" / "reproduce.yaml"), "--name", "third", **run)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    ok("worker", "--until-done", "--workers", "1", **run)
    assert "the data has changed" in ok("trials", "third", "--json", **run)[0]["message"]


def test_vectors_that_cannot_be_had_are_told_at_the_launch(
    environment: dict[str, str], tmp_path: Path
) -> None:
    corpus(tmp_path)
    run = {"environment": environment, "cwd": tmp_path}
    file = reviews(tmp_path, "second", "nothing")

    def refused(vectors: str) -> str:
        done = tuner("launch", str(file), "--set", f'data.vectors="study:{vectors}"', **run)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "data.vectors: there is no study named `nothing`" in refused("nothing")
    assert "must name a study after `study:`" in refused("")
    ok("launch", str(study(tmp_path, "word2vec")), **run)
    assert "has no complete trial" in refused("word2vec-vectors")
    ok("launch", str(quick(tmp_path, "digits")), **run)
    assert "is of `cnn`, which makes no word vectors; word2vec and fasttext do" in refused("digits")
    ok("run", str(tmp_path / "word2vec.yaml"), "--json", **run)
    for weights in (Path(environment["TUNER_HOME"]) / "artifacts").rglob("*.safetensors"):
        weights.unlink()
    assert "share TUNER_HOME, or name the `vectors.txt` of an export" in refused("word2vec-vectors")
