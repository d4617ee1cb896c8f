"""Texts: words, the vocabulary of the training part, lengths, and word vectors."""

import gzip
import itertools
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data import PreparedData, prepare, tokenizer
from tuner.errors import DataError
from tuner.study_file.data import DataSpec


def spec(folder: Path, train: list[str], **changes: object) -> DataSpec:
    """Given parts: these training texts, and others with words that only they have."""
    for name, texts in (
        ("train", train),
        ("validation", ["seen onlyvalidation"] * 2),
        ("test", ["seen onlytest onlytest"] * 2),
    ):
        lines = [f'"{text}",{"ab"[number % 2]}' for number, text in enumerate(texts)]
        (folder / f"{name}.csv").write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
    return DataSpec(
        source="text",
        path=folder / "train.csv",
        validation_path=folder / "validation.csv",
        test_path=folder / "test.csv",
        **changes,  # type: ignore[arg-type]
    )


def prepared(folder: Path, train: list[str], **changes: object) -> PreparedData:
    return prepare(spec(folder, train, **changes), folder / "cache")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't like it.", ["i", "don't", "like", "it", "."]),
        ("Wow!!", ["wow", "!", "!"]),
        ("b/w, 2600", ["b", "/", "w", ",", "2600"]),
        ("L’été", ["l’été"]),
        ("Cafe\u0301", ["café"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("東京 is great", ["東京", "is", "great"]),
        ("👍", ["👍"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("ภาษาไทย ดี", ["ภาษาไทย", "ดี"]),
        ("العَرَبِيَّة جميلة", ["العَرَبِيَّة", "جميلة"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("İstanbul", ["i\u0307stanbul"]),
        ("J\u030c", ["\u01f0"]),
        ("x² ½", ["x²", "½"]),
        (
            "👨\u200d👩\u200d👧👍🏽🇩🇪🇫🇷❤\ufe0f!",
            ["👨\u200d👩\u200d👧", "👍🏽", "🇩🇪", "🇫🇷", "❤\ufe0f", "!"],
        ),
        ("1\ufe0f\u20e3 ok", ["1\ufe0f\u20e3", "ok"]),
        ("co\u00adoperate", ["cooperate"]),
        (
            "\ufeffshe said \u200f\u05e9\u05dc\u05d5\u05dd\u200e",
            ["she", "said", "\u05e9\u05dc\u05d5\u05dd"],
        ),
        (
            "\u1797\u17b6\u179f\u17b6\u200b\u1781\u17d2\u1798\u17c2\u179a",
            ["\u1797\u17b6\u179f\u17b6", "\u1781\u17d2\u1798\u17c2\u179a"],
        ),
        ("\u200b", ["\u200b"]),
        (" \t\u00a0", []),
    ],
)
def test_words_of_a_text(text: str, expected: list[str]) -> None:
    assert tokenizer.tokenize(text, lowercase=True) == expected


def test_case_is_kept_on_request() -> None:
    assert tokenizer.tokenize("The END", lowercase=False) == ["The", "END"]


@given(st.text())
@settings(deadline=None)
def test_a_text_that_is_not_blank_has_a_word(text: str) -> None:
    assert bool(tokenizer.tokenize(text, lowercase=True)) == bool(text.strip())
    assert bool(tokenizer.tokenize(text, lowercase=True, kind="characters")) == bool(text.strip())


@given(st.text())
@settings(deadline=None)
def test_no_token_holds_a_blank(text: str) -> None:
    for kind in ("words", "characters"):
        for token in tokenizer.tokenize(text, lowercase=True, kind=kind):
            assert token.split() == [token]


@given(st.text(st.characters(codec="ascii")))
@settings(deadline=None)
def test_ascii_is_cut_as_all_texts_are(text: str) -> None:
    cut = [tokenizer.tokenize(text, lowercase=True, kind=kind) for kind in ("words", "characters")]
    assert cut[0] == tokenizer._WORD.findall(text.lower())
    assert "".join(cut[1]) == tokenizer.SPACE.join(text.lower().split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ab  c\n", ["a", "b", "▁", "c"]),
        ("今天，好", ["今", "天", "，", "好"]),
        ("ดีที่", ["ดี", "ที่"]),
        ("हिन्दी", ["हि", "न्दी"]),
        ("👍🏽🇩🇪", ["👍🏽", "🇩🇪"]),
        ("\ufeffa\u00adb\u200bc", ["a", "b", "▁", "c"]),
        (" \t\u00a0", []),
    ],
)
def test_characters_of_a_text(text: str, expected: list[str]) -> None:
    assert tokenizer.tokenize(text, lowercase=True, kind="characters") == expected


def test_texts_are_read_by_character_on_request(tmp_path: Path) -> None:
    data = prepared(tmp_path, ["好 好人", "人"], tokens="characters")
    assert data.vocabulary == ("<padding>", "<unknown>", "人", "好", "▁")
    assert np.asarray(data.part("train").inputs).tolist() == [[3, 4, 3, 2], [2, 0, 0, 0]]
    assert data.tokens == "characters"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (
            ["今天天气很好，我很开心。", "这部电影不好看", "LG 手机很好用"],
            "most letters of the texts",
        ),
        (["วันนี้อากาศดี", "หนังไม่สนุกเลย", "ชอบมาก ok"], "most letters of the texts"),
        (["Smith", "Kowalski", "de Boer"], r"hardly more than one word each \(1\.3 on average\)"),
    ],
)
def test_characters_are_proposed(tmp_path: Path, texts: list[str], why: str) -> None:
    [note] = prepared(tmp_path, texts).notes
    assert re.search(why, note)
    assert "`tokens: characters`" in note
    by_character = prepared(tmp_path, texts, tokens="characters")
    assert by_character.notes == ()


@pytest.mark.parametrize(
    "texts",
    [
        ["कहानी अच्छी है", "फ़िल्म खराब है"],
        ["the film 東京 is good", "not bad at all"],
        ["5", "12!", "+ 7"],
    ],
)
def test_characters_are_not_proposed_where_words_do(tmp_path: Path, texts: list[str]) -> None:
    assert prepared(tmp_path, texts).notes == ()


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 5)),
    st.integers(1, 10),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_the_vocabulary_is_ordered(counts: dict[str, int], size: int, min_count: int) -> None:
    if all(count < min_count for count in counts.values()):
        with pytest.raises(DataError):
            tokenizer.build_vocabulary(counts, size=size, min_count=min_count)
        return
    vocabulary = tokenizer.build_vocabulary(counts, size=size, min_count=min_count)
    assert vocabulary[:2] == ("<padding>", "<unknown>")
    words = vocabulary[2:]
    expected = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))
    assert list(words) == expected[:size]


def test_the_vocabulary_is_of_the_training_part(tmp_path: Path) -> None:
    data = prepared(tmp_path, ["b a seen", "b c", "b a"])
    assert data.vocabulary == ("<padding>", "<unknown>", "b", "a", "c", "seen")
    seen = data.vocabulary.index("seen")
    assert np.asarray(data.part("train").inputs).tolist() == [[2, 3, 5], [2, 4, 0], [2, 3, 0]]
    assert np.asarray(data.part("validation").inputs)[0].tolist() == [seen, 1, 0]
    assert np.asarray(data.part("test").inputs)[0].tolist() == [seen, 1, 1]
    assert data.part("test").inputs.dtype == np.int32


def test_rare_words_and_words_beyond_the_limit_are_unknown(tmp_path: Path) -> None:
    texts = [" ".join(["x", "x", "x", *(["y"] * 2), f"w{number}"]) for number in range(30)]
    assert prepared(tmp_path, texts, min_count=2).vocabulary[2:] == ("x", "y")
    limited = prepared(tmp_path, texts, vocabulary=10)
    assert len(limited.vocabulary) == 12
    assert limited.vocabulary[2:5] == ("x", "y", "w0")


def test_a_vocabulary_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no word occurs at least 50 times in the training part"):
        prepared(tmp_path, ["a b", "c d"], min_count=50)


def test_the_length_is_what_99_percent_of_the_training_texts_need(tmp_path: Path) -> None:
    texts = [" ".join(["w"] * (number + 1)) for number in range(200)]
    assert prepared(tmp_path, texts).input_shape == (198,)


@pytest.mark.parametrize(("longest", "expected"), [(1, 2), (511, 511), (700, 512)])
def test_the_length_has_limits(tmp_path: Path, longest: int, expected: int) -> None:
    data = prepared(tmp_path, [" ".join(["w"] * longest)] * 3 + ["v"])
    assert data.input_shape == (expected,)


def test_a_given_length_cuts_and_pads(tmp_path: Path) -> None:
    data = prepared(tmp_path, ["a b c d e", "a"], max_length=3)
    assert np.asarray(data.part("train").inputs).tolist() == [[2, 3, 4], [2, 0, 0]]


def test_classes_and_labels(tmp_path: Path) -> None:
    data = prepared(tmp_path, ["x", "y", "z"])
    assert data.classes == ("a", "b")
    assert data.class_counts == {"a": 2, "b": 1}
    assert np.asarray(data.part("train").labels).tolist() == [0, 1, 0]


VECTORS = {"good": [0.25, -1.5], "bad": [3.0, 4.0], "other": [5.0, 6.0], "good!": [0, 0]}


def text_vectors(header: bool = True, end: str = "\n") -> bytes:
    lines = [f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()]
    if header:
        lines.insert(0, f"{len(VECTORS)} 2")
    return (end.join(lines) + end).encode()


def binary_vectors(end: bytes = b"\n") -> bytes:
    rows = [word.encode() + b" " + struct.pack("<2f", *v) + end for word, v in VECTORS.items()]
    return f"{len(VECTORS)} 2\n".encode() + b"".join(rows)


FORMS = {
    "word2vec.txt": text_vectors(),
    "glove.txt": text_vectors(header=False),
    "fasttext.vec": text_vectors(end=" \n"),
    "windows.txt": text_vectors(end="\r\n"),
    "word2vec.bin": binary_vectors(),
    "tight.bin": binary_vectors(end=b""),
    "packed.txt.gz": gzip.compress(text_vectors(), mtime=0),
    "packed.bin.gz": gzip.compress(binary_vectors(), mtime=0),
    "twice.txt": text_vectors(header=False) + b"good 9 9\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_vectors_of_every_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMS[name])
    data = prepared(tmp_path, ["good bad none", "good bad"], vectors=tmp_path / name)
    assert data.has_vectors
    assert data.vocabulary[2:] == ("bad", "good", "none")
    vectors = data.vectors()
    assert vectors.dtype == np.float32
    expected = [[np.nan] * 2] * 2 + [VECTORS["bad"], VECTORS["good"], [np.nan] * 2]
    np.testing.assert_array_equal(vectors, np.array(expected, dtype=np.float32))
    assert data.notes == ("1 of the 3 words of the vocabulary has no vector",)


def test_words_with_spaces_in_a_glove_file_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_bytes(b"bad 3 4\ngood night 1 2\n" + text_vectors(header=False))
    vectors = prepared(tmp_path, ["good bad", "good"], vectors=path).vectors()
    assert vectors[2:].tolist() == [VECTORS["good"], VECTORS["bad"]]


def test_a_large_binary_file_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.data import vectors

    monkeypatch.setattr(vectors, "BLOCK", 7)  # bytes
    (tmp_path / "v.bin").write_bytes(binary_vectors())
    data = prepared(tmp_path, ["good bad", "good"], vectors=tmp_path / "v.bin")
    assert data.vectors()[2:].tolist() == [VECTORS["good"], VECTORS["bad"]]


def test_vectors_that_gensim_writes(tmp_path: Path) -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors(2)
    keyed.add_vectors(list(VECTORS), list(map(np.array, VECTORS.values())))
    keyed.save_word2vec_format(str(tmp_path / "v.txt"))
    keyed.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    for name in ("v.txt", "v.bin"):
        data = prepared(tmp_path, ["good bad", "good"], vectors=tmp_path / name)
        assert data.vectors()[2:].tolist() == [VECTORS["good"], VECTORS["bad"]]
    keyed.save(str(tmp_path / "v.kv"))
    with pytest.raises(DataError, match=r"v\.kv: is a pickle written by gensim"):
        prepared(tmp_path, ["good bad", "good"], vectors=tmp_path / "v.kv")


def test_no_vectors(tmp_path: Path) -> None:
    data = prepared(tmp_path, ["good bad", "good"])
    assert not data.has_vectors
    with pytest.raises(FileNotFoundError):
        data.vectors()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("v.txt", b"", "is empty"),
        ("v.txt", b"good\n", "is not a file of word vectors"),
        ("v.txt", b"good night ladies\n", "is not a file of word vectors"),
        ("v.txt", b"other 1 2\n", "has vectors for none of the 2 words"),
        ("v.txt", b"bad 1 2\ngood 1\n", r"line 2: the vector of `good` must be 2 finite numbers"),
        ("v.txt", b"bad 1 2\ngood 1 x\n", r"line 2: the vector of `good` must be 2 finite"),
        ("v.txt", b"bad 1 2\ngood 1 nan\n", r"line 2: the vector of `good` must be 2 finite"),
        ("v.txt", b"bad 1 2\ngood 1 1e99\n", r"line 2: the vector of `good` must be 2 finite"),
        ("v.txt", b"9 2\nbad 1 2\ngood 1 3\n", "declares 9 words, but has 2"),
        ("v.txt", b"9 0\n", "vectors of 0 dimensions"),
        ("v.txt", b"9 999999\n", "vectors of 999,999 dimensions"),
        ("v.bin", b"bad 1 2\n", "is not a binary file of word2vec"),
        ("v.bin", binary_vectors()[:20], "declares 4 words, but has 1; it is cut off"),
        ("v.bin", binary_vectors()[:-9], "declares 4 words, but has 3"),
        ("v.kv", pickle.dumps([1]), "is a pickle written by gensim, which runs code"),
        ("v.txt", pickle.dumps([1]), "is a pickle written by gensim, which runs code"),
        ("v.txt.gz", gzip.compress(text_vectors(), mtime=0)[:-12], "it cannot be decompressed"),
        ("v.txt.gz", gzip.compress(b"", mtime=0), "is empty"),
    ],
    ids=itertools.count(),  # gzip writes the time
)
def test_vectors_that_are_unfit(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected) as caught:
        prepared(tmp_path, ["good bad", "good"], vectors=tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@given(st.binary(max_size=80), st.sampled_from([".txt", ".bin", ".txt.gz"]))
@settings(deadline=None)
def test_any_vectors_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    from tuner.data import vectors

    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        vectors.read(path, ("<padding>", "<unknown>", "good", "0", "1"))
    except DataError as error:
        assert "\n" not in str(error)
