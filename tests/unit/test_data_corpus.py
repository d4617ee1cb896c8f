"""Sentences without labels, and the word pairs and analogies that judge what is learned of them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.tables import ROWS, WRITERS
from tuner.data import PreparedData, corpus, prepare, source_files, tokenizer, vector_benchmarks
from tuner.data.fingerprint import fingerprint
from tuner.data.prepared import PARTS
from tuner.errors import DataError, SpecError
from tuner.families import check_data, resolve
from tuner.study_file.data import DataSpec
from tuner.study_file.load import loads

LINES = [f"Sentence {n} is , like the others , about number{n % 7} ." for n in range(200)]


def opened(path: Path, **changes: object) -> tuple[DataSpec, PreparedData]:
    spec = DataSpec.model_validate({"path": path, **changes})
    return spec, prepare(spec, path.parent / "cache")


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_one_sentence_a_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    content = "\r\n".join([*LINES, "", "  "]).encode()
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    spec, data = opened(path)
    parts = corpus.load(data, spec)
    assert data.sizes == {name: len(parts[name]) for name in PARTS}
    assert sum(data.sizes.values()) == 200
    assert 10 < data.sizes["validation"] < 60
    index = {word: number for number, word in enumerate(data.vocabulary)}
    sentences = [tokenizer.tokenize(line, lowercase=True) for line in LINES]
    train = list(parts["train"])
    assert [s for s in sentences if s in train] == train
    assert parts["train"].words == tuple(dict.fromkeys(w for s in train for w in s))
    counts = dict(zip(index, parts["train"].counts.tolist(), strict=True))
    assert counts["sentence"] == len(train)
    heldout = [tuple(s) for name in ("validation", "test") for s in parts[name]]
    missing = [tuple(w for w in s if w in index) for s in sentences if s not in train]
    assert sorted(heldout) == sorted(missing)  # words that the training part lacks are unknown
    assert (parts["validation"].ids == corpus.UNKNOWN).any()


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_column_of_a_table_without_labels(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    WRITERS[suffix](path, ROWS)
    spec, data = opened(path, source="corpus", split={"validation": 0.2, "test": 0.2})
    tokens = sum(len(tokenizer.tokenize(str(text), lowercase=True)) for text, _ in ROWS)
    assert sum(len(part.ids) for part in corpus.load(data, spec).values()) == tokens


def test_a_labelled_table_is_a_corpus_too(reviews: PreparedData) -> None:
    spec = DataSpec(source="text", path=Path("x.csv"))
    parts = corpus.load(reviews, spec)
    assert corpus.load(reviews, spec) is parts
    texts = [tokenizer.tokenize(text, lowercase=True) for text in reviews.texts("train")]
    assert list(parts["train"]) == texts
    assert len(parts["validation"]) == reviews.sizes["validation"]


def test_the_split_follows_from_content_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES * 2))
    spec, data = opened(path)
    again, other = opened(path, split={"seed": 1})[1], opened(path, split={"test": 0.3})[1]
    assert data.sizes["train"] % 2 == 0  # copies stay together
    train = set(map(tuple, corpus.load(data, spec)["train"]))
    for name in ("validation", "test"):
        assert not train & set(map(tuple, corpus.load(data, spec)[name]))
    assert len({data.fingerprint, again.fingerprint, other.fingerprint}) == 3
    assert other.sizes["test"] > data.sizes["test"]


def test_a_sentence_that_gensim_would_cut_is_several(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    long = " ".join(f"w{n}" for n in range(25_000))
    path.write_text("\n".join(f"{long} {line}" for line in LINES[:30]))
    spec, data = opened(path)
    lengths = {len(sentence) for sentence in corpus.load(data, spec)["train"]}
    assert max(lengths) == corpus.LONGEST
    assert data.sizes["train"] % 3 == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", b"", "c.txt: has too few sentences to be split; the train part would be empty"),
        ("c.txt", b"only one", "has too few sentences to be split"),
        ("c.txt", b"fine\nb\xffd\n", "c.txt, line 2: is not UTF-8 text (byte 0xff)"),
        ("c.txt", "fine".encode("utf-16"), "line 1: is not UTF-8 text (byte 0xff); it looks like"),
        ("c.txt", b"a\nb\0c", "c.txt, line 2: holds a NUL character"),
        (
            "c.txt.gz",
            gzip.compress(b"a b\n" * 999, mtime=0)[:-9],
            "is damaged: it cannot be decompressed",
        ),
        ("c.pdf", b"x", "c.pdf: its name must end in one of .txt, .txt.gz, .csv"),
        ("c.csv", b"body\nx", "c.csv: has no column `text`"),
    ],
)
def test_what_is_no_corpus(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        opened(path, source="corpus")
    assert message in str(raised.value)


def test_lee_is_gensims(lee: PreparedData) -> None:
    lines = source_files.locate_packaged("lee").read_text().splitlines()
    parts = corpus.load(lee, DataSpec(source="lee"))
    assert sum(map(len, parts.values())) == len(lines) == 300
    tokens = sum(len(tokenizer.tokenize(line, lowercase=True)) for line in lines)
    assert sum(len(part.ids) for part in parts.values()) == tokens


def test_word_pairs_and_analogies_come_with_gensim() -> None:
    spec = DataSpec(source="lee")
    pairs, questions = vector_benchmarks.word_pairs(spec), vector_benchmarks.analogies(spec)
    assert len(pairs) == 353
    assert pairs[0] == ("love", "sex", 6.77)
    assert len(questions) == 19_544
    assert questions[0] == ("athens", "greece", "baghdad", "iraq")
    cased = DataSpec(source="lee", lowercase=False)
    assert vector_benchmarks.analogies(cased)[0] == ("Athens", "Greece", "Baghdad", "Iraq")


@pytest.mark.parametrize(
    "content",
    [
        "# a comment\nOld\tnew\t1.58\nsmart\tintelligent\t9.2\n",
        "word1\tword2\tPOS\tSimLex999\tconc\nold\tnew\tA\t1.58\t2\nsmart\tintelligent\tA\t9.2\t2",
        "word1,word2,score\nold,new,1.58\nsmart,intelligent,9.2",
        "old new 1.58\nsmart intelligent 9.2",
    ],
)
def test_word_pairs_in_the_usual_formats(content: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    pairs = vector_benchmarks.word_pairs(DataSpec(source="lee", word_pairs=path))
    assert pairs == [("old", "new", 1.58), ("smart", "intelligent", 9.2)]


@pytest.mark.parametrize(
    ("field", "content", "message"),
    [
        ("word_pairs", "a b 1\nc d", "line 2: must be two words and a number, is `c d`"),
        ("word_pairs", "", "has no line with two words and a number"),
        ("word_pairs", "a b nan", "has no line with two words and a number"),
        ("analogies", ": x\na b c", "line 2: must be four words, is `a b c`"),
        ("analogies", ": x\n", "has no line with four words"),
    ],
)
def test_unfit_benchmarks(field: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    spec = DataSpec.model_validate({"source": "lee", field: path})
    with pytest.raises(DataError) as raised:
        getattr(vector_benchmarks, field)(spec)
    assert message in str(raised.value)


def test_halves_hold_each_covered_pair_once_and_never_change() -> None:
    pairs = vector_benchmarks.word_pairs(DataSpec(source="lee"))
    vocabulary = {word for pair in pairs[:300] for word in pair.words}
    parts = vector_benchmarks.halves(pairs, vocabulary)
    both = [*parts["validation"], *parts["test"]]
    assert sorted(both) == sorted(p for p in pairs if set(p.words) <= vocabulary)
    assert len(set(both)) == len(both)
    assert abs(len(parts["validation"]) - len(parts["test"])) < 60
    assert vector_benchmarks.halves(pairs, vocabulary) == parts


def test_files_of_benchmarks_are_part_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\t1\n")
    spec = DataSpec(source="lee", word_pairs=path)
    before = fingerprint(spec)
    assert before != fingerprint(DataSpec(source="lee"))
    path.write_text("a\tb\t2\n")
    assert fingerprint(spec) != before


def test_too_few_pairs_are_told_at_the_launch(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES))
    for metric, field in vector_benchmarks.METRICS.items():
        text = json.dumps(
            {
                "name": "x",
                "family": "word2vec",
                "data": {"path": str(path)},
                "objective": {"metric": metric},
            }
        )
        spec = resolve(loads(text))
        with pytest.raises(DataError, match=f"too few for `{metric}`.*with `{field}`"):
            check_data(spec, prepare(spec.data, tmp_path / "cache"))


def test_a_network_refuses_a_corpus(lee: PreparedData) -> None:
    spec = resolve(loads("name: x\nfamily: rnn\ndata: lee"))
    with pytest.raises(DataError, match="`rnn` needs text; `data: lee` is a corpus"):
        check_data(spec, lee)


def test_ids_are_four_bytes_and_mapped(lee: PreparedData) -> None:
    ids, ends = lee.sentences("train")
    assert isinstance(ids, np.memmap)
    assert (ids.dtype, ends.dtype) == (np.int32, np.int64)


def test_no_trial_is_pruned_before_its_fifth_epoch() -> None:
    def first_rung(more: str) -> int:
        return resolve(loads(f"name: x\n{more}")).pruner.min_epochs

    lee = "family: word2vec\ndata: lee"
    assert first_rung(lee) == 5
    assert first_rung(f"{lee}\nbudget: {{epochs: 3}}") == 3
    assert first_rung(f"{lee}\npruner: {{min_epochs: 2}}") == 2
    assert first_rung("family: cnn\ndata: digits") == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", "5 … 30 (int, log)"),
        ("budget: {epochs: 9}", "5 … 9 (int, log)"),
        ("budget: {epochs: 100}", "5 … 100 (int, log)"),
        ("budget: {epochs: 3}", "3 (fixed)"),
        ("budget: {epochs: 9}\nsearch: {epochs: {low: 2}}", "2 … 9 (int, log)"),
    ],
)
def test_epochs_are_searched_up_to_the_budget(more: str, expected: str) -> None:
    spec = resolve(loads(f"name: x\nfamily: word2vec\ndata: lee\n{more}"))
    assert spec.space.describe()["epochs"] == expected


@pytest.mark.parametrize(
    ("family", "field"), [("bow", "vectors"), ("fasttext", "vectors"), ("rnn", "word_pairs")]
)
def test_files_that_a_family_passes_over_are_refused(family: str, field: str) -> None:
    text = f"name: x\nfamily: {family}\ndata:\n  path: a.csv\n  {field}: b.txt"
    with pytest.raises(SpecError) as raised:
        resolve(loads(text, name="s.yaml"))
    assert str(raised.value) == (
        f"s.yaml:5: data.{field}: has no meaning with family `{family}`; remove it"
    )
