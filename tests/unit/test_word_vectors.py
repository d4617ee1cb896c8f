"""word2vec and fasttext against plain gensim, and what their vectors are judged by."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.models import FastText, KeyedVectors, Word2Vec
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from tests.support.training import Recorder, cohort, next_attempt, stop_after
from tuner.data import PreparedData, corpus, vector_benchmarks
from tuner.data import vectors as vector_files
from tuner.errors import DataError
from tuner.families import fasttext, registry, word2vec
from tuner.families.code import Models
from tuner.families.parts import word_tests, word_vectors
from tuner.study_file.data import DataSpec
from tuner.trials import ParamValue

LEE = DataSpec(source="lee")
PARAMS: dict[str, ParamValue] = {
    "alpha": 0.04,
    "min_alpha": 1e-4,
    "batch_words": 1000,
    "sg": 1,
    "vector_size": 20,
    "window": 4,
    "min_count": 3,
    "hs": 0,
    "negative": 5,
    "ns_exponent": 0.5,
    "sample": 1e-3,
}
SUBWORDS: dict[str, ParamValue] = {"min_n": 3, "max_n": 5, "bucket": 2000}
FAMILIES: dict[str, tuple[Models, type[Word2Vec], dict[str, ParamValue]]] = {
    "word2vec": (word2vec.CODE, Word2Vec, PARAMS),
    "cbow": (word2vec.CODE, Word2Vec, {**PARAMS, "sg": 0}),
    "hierarchical softmax": (word2vec.CODE, Word2Vec, {**PARAMS, "hs": 1}),
    "fasttext": (fasttext.CODE, FastText, {**PARAMS, **SUBWORDS}),
    "fasttext with softmax": (fasttext.CODE, FastText, {**PARAMS, **SUBWORDS, "hs": 1, "sg": 0}),
}


def train(
    name: str, data: PreparedData, folder: Path, context: Recorder | None = None, **changes: Any
) -> Recorder:
    code, _, params = FAMILIES[name]
    context = context or Recorder()
    request = cohort(data, folder, params, **{"metric": "gap_accuracy", **changes})
    code.train(request, data, context)
    return context


def plain(name: str, data: PreparedData, **changes: Any) -> Word2Vec:
    """The same training as gensim's documentation has it, in one call."""
    _, make, params = FAMILIES[name]
    options = {**params, "seed": 0, "workers": 1, "epochs": 3, **changes}
    if options["hs"]:
        options |= {"negative": 0, "ns_exponent": 0.75}
    return make(list(corpus.load(data, LEE)["train"]), **options)


def weights(context: Recorder) -> dict[str, Any]:
    path = context.finished[0][1]
    assert path is not None
    return load_file(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_vectors_are_those_of_gensim(name: str, news: PreparedData, tmp_path: Path) -> None:
    arrays = weights(train(name, news, tmp_path, epochs=1))
    expected = plain(name, news, epochs=1).wv
    assert vector_files.unpack_words(arrays["words"]) == expected.index_to_key
    assert np.array_equal(arrays["vectors"], expected.vectors)
    if name.startswith("fasttext"):
        assert np.array_equal(arrays["ngrams"], expected.vectors_ngrams)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_epochs_are_parts_of_one_training(name: str, news: PreparedData) -> None:
    _, _, params = FAMILIES[name]
    kind = (fasttext if "fasttext" in name else word2vec).KIND
    sentences = corpus.load(news, LEE)["train"]
    request = cohort(news, Path(), {**params, "epochs": 3}, metric="gap_accuracy", epochs=9)
    tests = word_tests.Tests(LEE, news, corpus.load(news, LEE))
    learner = word_vectors._Learner(request.tasks[0], request, sentences, tests, kind)
    for _ in range(3):
        learner.epoch()
    assert np.array_equal(learner._model.wv.vectors, plain(name, news).wv.vectors)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_interrupted_trial_goes_on_as_if_it_had_not_been(
    name: str, news: PreparedData, tmp_path: Path
) -> None:
    code, _, params = FAMILIES[name]
    whole = train(name, news, tmp_path / "whole", epochs=4)
    request = cohort(news, tmp_path, params, metric="gap_accuracy", epochs=4)
    values = []
    for context in (stop_after(1), stop_after(3), Recorder()):
        code.train(request, news, context)
        values += [report.value for report in context.reports[0]]
        request = next_attempt(request)
    assert values == [report.value for report in whole.reports[0]]
    mine, theirs = weights(context), weights(whole)
    assert all(np.array_equal(mine[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_the_seed_decides(news: PreparedData, tmp_path: Path) -> None:
    vectors = []
    for number, seed in enumerate((1, 1, 2)):
        context = Recorder()
        request = cohort(news, tmp_path / str(number), PARAMS, metric="gap_accuracy", epochs=1)
        word2vec.CODE.train(
            replace(request, tasks=(replace(request.tasks[0], seed=seed),)), news, context
        )
        vectors.append(weights(context)["vectors"])
    assert np.array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])


@pytest.mark.slow
def test_a_trial_ends_with_its_own_epochs(news: PreparedData, tmp_path: Path) -> None:
    context = Recorder()
    request = cohort(
        news, tmp_path, {**PARAMS, "epochs": 2}, {**PARAMS, "epochs": 99},
        metric="gap_accuracy", epochs=3,
    )  # fmt: skip
    word2vec.CODE.train(request, news, context)
    assert [len(context.reports[n]) for n in (0, 1)] == [2, 3]
    assert set(context.finished) == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["word2vec", "fasttext"])
def test_thirty_draws_of_the_default_space_train(
    name: str, news: PreparedData, tmp_path: Path
) -> None:
    rng = random.Random(1)
    draws = [registry.card(name).space.random(rng) for _ in range(30)]
    context = Recorder()
    code = {"word2vec": word2vec.CODE, "fasttext": fasttext.CODE}[name]
    for number, draw in enumerate(draws):  # one by one: thirty models would need memory
        request = cohort(news, tmp_path / str(number), draw, metric="gap_accuracy", epochs=1)
        task = replace(request.tasks[0], number=number)
        code.train(replace(request, tasks=(task,)), news, context)
    assert set(context.finished) == set(range(30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_words": 20_000}, "batch_words must be at most 10,000, is 20,000"),
        ({"alpha": 10.0}, "alpha must be at most 1, is 10"),
        ({"min_count": 99_999}, "fewer than 2 words occur at least 99999 times in the corpus"),
    ],
)
def test_settings_that_gensim_cannot_work_with_are_told(
    change: dict[str, ParamValue], message: str, news: PreparedData, tmp_path: Path
) -> None:
    request = cohort(news, tmp_path, {**PARAMS, **change}, metric="gap_accuracy")
    with pytest.raises(DataError, match=message):
        word2vec.CODE.train(request, news, Recorder())


def test_divergence_is_said(
    news: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Word2Vec, "train", lambda self, *_, **__: self.wv.vectors.fill(np.inf))
    context = train("word2vec", news, tmp_path)
    assert context.problems[0] == "vectors became NaN or infinite in epoch 1"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["word2vec", "fasttext"])
def test_the_exported_weights_measure_what_the_trial_did(
    name: str, news: PreparedData, tmp_path: Path
) -> None:
    code, _, params = FAMILIES[name]
    context = train(name, news, tmp_path)
    value, path = context.finished[0]
    assert path is not None
    judged = code.measure(params, LEE, news, path, ["validation", "test"])
    measured = {part: found.metrics() for part, found in judged.items()}
    assert measured["validation"]["gap_accuracy"] == value
    assert measured["test"].keys() == {
        "gap_accuracy",
        "word_similarity",
        "word_similarity_coverage",
        "analogy_accuracy",
        "analogy_accuracy_coverage",
    }
    assert measured["test"] != measured["validation"]
    code.export_files(params, news, path, tmp_path)
    exported = KeyedVectors.load_word2vec_format(tmp_path / "vectors.txt")
    found = weights(context)
    assert exported.index_to_key == vector_files.unpack_words(found["words"])
    assert np.array_equal(exported.vectors, found["vectors"])  # to the last bit
    vectors, missing = vector_files.read(tmp_path / "vectors.txt", ["", "", "the", "nosuchword"])
    assert (missing, vectors[2].tolist()) == (1, exported["the"].tolist())


@pytest.mark.slow
def test_a_probe_reads_labelled_texts(reviews: PreparedData, tmp_path: Path) -> None:
    spec = DataSpec(source="text", path=Path("x.csv"))
    for code, more in ((word2vec.CODE, {}), (fasttext.CODE, SUBWORDS)):
        params = {**PARAMS, "min_count": 1, "sample": 0.1, **more}
        context = Recorder()
        request = cohort(reviews, tmp_path, params, metric="probe_accuracy", epochs=20)
        code.train(request, reviews, context)
        value, path = context.finished[0]
        assert path is not None
        judged = code.measure(params, spec, reviews, path, ["validation", "test"])
        measured = {part: found.metrics() for part, found in judged.items()}
        for name, found in measured["validation"].items():
            if not name.endswith("_coverage"):
                low, high = judged["validation"].interval(name)
                assert low <= found <= high
        assert measured["validation"]["probe_accuracy"] == value
        assert measured["test"]["probe_accuracy"] >= 0.7


def pairs_of(*scores: float) -> list[vector_benchmarks.WordPair]:
    """Pairs of a word `a` with `b0`, `b1` …"""
    return [vector_benchmarks.WordPair("a", f"b{n}", score) for n, score in enumerate(scores)]


def on_a_circle(angles: Mapping[str, float]) -> word_tests.Vectors:
    matrix = np.array([[np.cos(a), np.sin(a)] for a in angles.values()], dtype=np.float32)
    return word_tests.Vectors(list(angles), matrix)


def test_similarity_is_spearmans() -> None:
    vectors = on_a_circle({"a": 0.0, "b0": 0.1, "b1": 0.5, "b2": 0.3, "b3": 1.0})
    value, coverage = word_tests.word_similarity(vectors, pairs_of(9, 7, 8, 1))
    assert (value, coverage) == (pytest.approx(1.0), 1.0)
    value, _ = word_tests.word_similarity(vectors, pairs_of(9, 7, 1, 8))
    angles = [-0.1, -0.5, -0.3, -1.0]
    assert value == pytest.approx(spearmanr(angles, [9, 7, 1, 8]).statistic)


def test_pairs_that_the_vectors_lack_say_nothing() -> None:
    vectors = on_a_circle({"a": 0.0, "b0": 0.1, "b1": 0.5})
    value, coverage = word_tests.word_similarity(vectors, pairs_of(9, 1, 5, 8))
    assert coverage == 0.5
    mean = np.cos([0.1, 0.5]).mean()
    expected = spearmanr([np.cos(0.1), np.cos(0.5), mean, mean], [9, 1, 5, 8]).statistic
    assert value == pytest.approx(expected)
    assert value < 1
    assert word_tests.word_similarity(vectors, []) == (0, 0)
    assert word_tests.word_similarity(on_a_circle({"z": 0.0}), pairs_of(1, 2)) == (0, 0)
    assert word_tests.word_similarity(vectors, pairs_of(5)) == (0, 1)  # nothing to rank


def test_analogies_are_gensims(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"w{n}" for n in range(30)]
    matrix = rng.normal(size=(30, 3)).astype(np.float32)
    questions = [
        vector_benchmarks.Analogy(*(names[n] for n in rng.choice(30, 4, replace=False)))
        for _ in range(300)
    ]
    path = tmp_path / "questions.txt"
    path.write_text(": all\n" + "\n".join(" ".join(q) for q in questions))
    kv = KeyedVectors(3)
    kv.add_vectors(names, matrix)
    expected, _ = kv.evaluate_word_analogies(str(path))
    value, coverage = word_tests.analogy_accuracy(word_tests.Vectors(names, matrix), questions)
    assert (value, coverage) == (expected, 1.0)
    assert value > 0
    unknown = [*questions, *[vector_benchmarks.Analogy("w0", "w1", "w2", "no")] * 100]
    value, coverage = word_tests.analogy_accuracy(word_tests.Vectors(names, matrix), unknown)
    assert (value, coverage) == (pytest.approx(expected * 0.75), 0.75)


def test_gaps_reward_what_the_context_tells() -> None:
    # every word has a partner that it always stands beside
    names = [f"{side}{n}" for n in range(200) for side in "ab"]
    train = corpus.encode([f"a{n} b{n}" for n in range(200)], str.split)
    gaps = word_tests.Gaps(train, train)
    rng = np.random.default_rng(0)
    by_pair = rng.normal(size=(200, 50)).astype(np.float32)
    assert gaps.accuracy(word_tests.Vectors(names, by_pair.repeat(2, axis=0))) == 1
    noise = rng.normal(size=(400, 50)).astype(np.float32)
    assert 0.05 < gaps.accuracy(word_tests.Vectors(names, noise)) < 0.16  # chance is 0.1
    alike = np.ones((400, 5), dtype=np.float32)
    assert gaps.accuracy(word_tests.Vectors(names, alike)) == 0
    half = word_tests.Vectors(names[:200], by_pair.repeat(2, axis=0)[:200])
    assert gaps.accuracy(half) == 0.5  # what has no vector is wrong
    assert gaps._distractors.shape == (400, word_tests.GAP_CHOICES - 1)
    assert (gaps._distractors != gaps._right[:, None]).all()


def test_frequent_words_are_asked_for_less_often() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(["the", *(f"w{n}" for n in rng.integers(0, 50, 3))]) for _ in range(4000)]
    train = corpus.encode(texts, str.split)
    gaps = word_tests.Gaps(train, train)
    assert len(gaps._right) == word_tests.GAPS
    share = (gaps._right == train.words.index("the")).mean()
    assert 0 < share < 0.15  # of 0.25 that it occurs


def test_gaps_of_a_tiny_corpus() -> None:
    train = corpus.encode(["b a", "a b a"], str.split)
    gaps = word_tests.Gaps(train, train)
    vectors = word_tests.Vectors(["a", "b"], np.eye(2, dtype=np.float32))
    assert 0 <= gaps.accuracy(vectors) <= 1
    assert gaps._context[0].tolist() == [-1] * 5 + [1] + [-1] * 4


@pytest.mark.slow
def test_unknown_words_are_composed_as_gensim_does(news: PreparedData, tmp_path: Path) -> None:
    _, _, params = FAMILIES["fasttext"]
    arrays = weights(train("fasttext", news, tmp_path, epochs=1))
    vectors = fasttext._vectors(params, arrays)
    model = plain("fasttext", news, epochs=1)
    for word in ("the", "governmentally", "zzz"):
        assert np.allclose(vectors.of([word])[0], model.wv[word], atol=1e-6)
    assert np.isnan(word2vec._vectors({}, arrays).of(["governmentally"])).all()
