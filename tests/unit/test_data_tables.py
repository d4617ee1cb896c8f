"""Texts of every kind of table, and what a table can do wrong."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.support.tables import ROWS, WRITERS, Rows, csv, jsonl, parquet_file
from tuner.data import PreparedData, prepare
from tuner.data.prepared import PARTS
from tuner.errors import DataError
from tuner.study_file.data import DataSpec


def opened(path: Path, **changes: object) -> PreparedData:
    spec = DataSpec(source="text", path=path, **changes)  # type: ignore[arg-type]
    return prepare(spec, path.parent / "cache")


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same(tmp_path: Path, suffix: str) -> None:
    prepared = opened(WRITERS[suffix](tmp_path / f"a{suffix}", ROWS))
    expected = opened(csv(tmp_path / "expected.csv", ROWS))
    assert prepared.classes == ("neg", "pos")
    assert prepared.vocabulary == expected.vocabulary
    assert prepared.fingerprint != expected.fingerprint or suffix == ".csv"
    for name in PARTS:
        assert np.array_equal(prepared.part(name).inputs, expected.part(name).inputs)
        assert np.array_equal(prepared.part(name).labels, expected.part(name).labels)


@pytest.mark.parametrize("suffix", WRITERS)
def test_blank_texts_are_left_out_and_counted(tmp_path: Path, suffix: str) -> None:
    rows: Rows = [*ROWS, ("", "pos"), (" \u00a0", "neg")]
    if suffix in (".jsonl", ".parquet"):
        rows.append((None, "pos"))
    prepared = opened(WRITERS[suffix](tmp_path / f"a{suffix}", rows))
    assert sum(prepared.sizes.values()) == 20
    assert prepared.notes == (f"{len(rows) - 20} rows with a blank text were left out",)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1], ("0", "1")),
        ([0.0, 1.0], ("0", "1")),
        ([False, True], ("false", "true")),
        ([10, 9], ("9", "10")),
        ([" a", "b "], ("a", "b")),
    ],
)
def test_labels_of_every_type(
    tmp_path: Path, suffix: str, labels: list[object], classes: tuple[str, ...]
) -> None:
    rows: Rows = [(f"text {n}", labels[n % 2]) for n in range(20)]
    assert opened(WRITERS[suffix](tmp_path / f"a{suffix}", rows)).classes == classes


def test_parquet_of_other_writers(tmp_path: Path) -> None:
    """Dictionaries, large texts, bytes without a declared type, dots in a name."""
    texts = [f"text {n}" for n in range(20)]
    labels = ["ab"[n % 2] for n in range(20)]
    variants: list[tuple[object, object]] = [
        (pa.array(texts).dictionary_encode(), pa.array(labels).dictionary_encode()),
        (pa.array(texts, pa.large_string()), pa.array(labels, pa.large_string())),
        (pa.array([text.encode() for text in texts]), pa.array([x.encode() for x in labels])),
    ]
    for number, (text, label) in enumerate(variants):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(pa.table({"my.text": text, "label": label}), path)
        assert opened(path, text="my.text").classes == ("a", "b")


def test_other_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["Review,extra,Stars", *(f"text {n},,{n % 2 + 1}" for n in range(20)), "", "  "]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    prepared = opened(path, text="Review", label="Stars")
    assert prepared.classes == ("1", "2")
    assert sum(prepared.sizes.values()) == 20


def test_suffixes_are_read_in_any_case(tmp_path: Path) -> None:
    assert opened(csv(tmp_path / "A.CSV", ROWS)).classes == ("neg", "pos")


def test_a_long_text_is_read(tmp_path: Path) -> None:
    rows: Rows = [*ROWS, ("long " * 50_000, "pos")]  # more than csv's own limit
    prepared = opened(csv(tmp_path / "a.csv", rows))
    assert sum(prepared.sizes.values()) == 21


HEAD = "text,label\n"
GOOD = "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "a.csv: is empty"),
        ("\ufeff \n\n", "a.csv: is empty"),
        (HEAD, "a.csv: has no rows"),
        (HEAD + "\n\n", "a.csv: has no rows"),
        ("texts,label\n" + GOOD, "has no column `text`; did you mean `texts`? its columns are "),
        ("body,label\n" + GOOD, "has no column `text`; its columns are body, label (set `text` in"),
        ("text,sentiment\n" + GOOD, "has no column `label`; its columns are text, sentiment"),
        ("text,text,label\na,b,c\n", "has 2 columns `text`; rename one"),
        ("text:label\na:b\n", "right one; set `separator` to the character between cells)"),
        (HEAD + "a,b\n", "a.csv: its only row has the label `b`; at least 2 classes are needed"),
        ("body;label\na;b\n", "has no column `text`; its columns are body, label (set `text` in"),
        (
            "good,1\nbad,0\n",
            "section to the right one; if the first line is no header, add one)",
        ),
        ("text;label\na;b\nc;d;e\n", "the header has 2 (a text with a semicolon must be in"),
        (HEAD + GOOD + "only text\n", "line 22: has 1 cell, the header has 2"),
        (HEAD + GOOD + "a,b,c\n", "line 22: has 3 cells, the header has 2 (a text with a comma"),
        (HEAD + '"two\nlines",a\nx\n' + GOOD, "line 4: has 1 cell, the header has 2"),
        (HEAD + GOOD + '"open,a\n' + GOOD, "line 22: a quote is opened and never closed"),
        (HEAD + GOOD + '"a"b,a\n', "line 22: a comma must follow the closing quote"),
        (HEAD + GOOD + "nul\0,a\n", "line 22: holds a NUL character"),
        (HEAD + GOOD + "x" * 1_000_001 + ",a\n", "line 22: a cell has more than 1,000,000"),
        (HEAD + GOOD.replace(",b", ",a"), "all 20 rows have the label `a`; at least 2 classes"),
        (HEAD + " ,a\n,b\n", "has no rows that can be used, only 2 rows with a blank text"),
        (HEAD + GOOD + "one,c\n", "class `c` has 1 row; a stratified split into three parts needs"),
        (HEAD + GOOD + "one,c\n", "needs at least 3, or `min_class: 3` in the data section, which"),
        (HEAD + "one,a\ntwo,b\n", "class `a` has 1 row; a stratified split into three parts"),
        (HEAD + GOOD + "one,c\n" * 5, "class `c` has 5 rows, but only 1 different input"),
        (
            HEAD + "".join(f"text,{n}\n" for n in range(50)),
            "(there are 50 different labels in 50 rows: is that the right column? To predict "
            "numbers, set `task: regression`)",
        ),
    ],
    ids=itertools.count(),  # some contents are a megabyte
)
def test_csv_files_that_are_unfit(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8", newline="")
    refused(path, expected)


def refused(path: Path, expected: str, **changes: object) -> None:
    """One line that names the file and says what is wrong; the same a second time."""
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            opened(path, **changes)
        assert expected in str(caught.value)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"text,label\na,b\nc\xff,d\n", "line 3: is not UTF-8 text (byte 0xff)"),
        (b"\xef\xbb\xbftext,label\n\xe9t\xe9,b\n", "line 2: is not UTF-8 text (byte 0xe9)"),
        ("text,label\n".encode("utf-16"), "a.csv: has no rows"),
        (
            "text,label\n".encode("utf-16-le"),
            "it looks like UTF-16: set `encoding: utf-16-le` in the",
        ),
        (
            "text,label\n\u20ac,b".encode("utf-16-be"),
            "it looks like UTF-16: set `encoding: utf-16-be`",
        ),
        ("text,label\n".encode("utf-32"), "it looks like UTF-32: set `encoding: utf-32-le` in the"),
        (
            "\ufefftext,label\n".encode("utf-32-be"),
            "it looks like UTF-32: set `encoding: utf-32-be`",
        ),
        (b"\x1f\x8b\x08\0", "it is compressed with gzip, so its name must end in .gz"),
        (b"PK\x03\x04\0\0\0\0", "line 1: holds a NUL character; is this a text file?"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    refused(path, expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "line 21: is not JSON (Expecting property name"),
        ("[1]", "line 21: must be a JSON object, is a list"),
        ("7", "line 21: must be a JSON object, is `7`"),
        ('{"label": "a"}', "line 21: has no column `text`; its columns are label"),
        ('{"text": "x", "lable": "a"}', "did you mean `lable`?"),
        ('{"text": 5, "label": "a"}', "line 21: the text must be text, is `5`"),
        ('{"text": ["x"], "label": "a"}', "line 21: the text must be text, is a list"),
        (
            '{"text": "x", "label": ["a", "b"]}',
            "line 21: the label is a list, but each row must name a single label",
        ),
        ('{"text": "x", "label": 0.5}', "line 21: the label must be text or a whole number"),
        ('{"text": "x", "label": {}}', "line 21: the label must be text or a whole number"),
        ('{"text": "x", "label": "a\\u0000"}', "line 21: the label holds a NUL character"),
        ('{"text": "x\\u0000", "label": "a"}', "line 21: the text holds a NUL character"),
        ('{"text": "x\\ud800", "label": "a"}', "line 21: the text holds half a character"),
        ('{"text": "x", "label": ' + "9" * 5000 + "}", "line 21: holds a number that is too long"),
        ('{"text": ' + "[" * 100_000, "line 21: holds a number that is too long"),
        ('{"text": "' + "x" * 1_000_001 + '", "label": 1}', "line 21: a cell has more than"),
    ],
    ids=itertools.count(),
)
def test_jsonl_files_that_are_unfit(tmp_path: Path, line: str, expected: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + line)
    refused(path, expected)


def a_parquet(path: Path, **columns: object) -> None:
    parquet.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"PAR1"), "is damaged or not a Parquet file"),
        (lambda p: p.write_bytes(b"text,label\na,b\n" * 9), "a.parquet: is damaged or not"),
        (lambda p: a_parquet(p, text=pa.array([], "string"), label=pa.array([], "string")), "rows"),
        (lambda p: a_parquet(p, texts=["a"], label=["b"]), "did you mean `texts`?"),
        (lambda p: a_parquet(p, text=[1], label=["b"]), "row 1: the text must be text, is `1`"),
        (
            lambda p: a_parquet(p, text=["a"], label=[["b"]]),
            "row 1: the label is a list, but each row",
        ),
        (lambda p: a_parquet(p, text=["a"], label=[None]), "only 1 row with no label"),
        (lambda p: a_parquet(p, text=["a", "b"], label=[b"b", b"\xff"]), "row 2: is not UTF-8"),
        (
            lambda p: a_parquet(p, text=[b"a", b"\xff"], label=["a", "b"]),
            "row 2: is not UTF-8 text",
        ),
    ],
)
def test_parquet_files_that_are_unfit(
    tmp_path: Path, write: Callable[[Path], object], expected: str
) -> None:
    write(tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", expected)


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", ROWS)
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes(len(content) - 80) + content[-40:])
    refused(path, "is damaged or not a Parquet file")


def test_another_ending(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.txt", ROWS)
    refused(path, "its name must end in one of .csv, .tsv, .jsonl, .json, .parquet, ")


def test_one_column_for_both(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", ROWS)
    refused(path, "the text and the label cannot both be the column `label`", text="label")


def tried(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        prepared = opened(path)
    except DataError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    else:
        assert len(prepared.classes) >= 2
        for name in PARTS:
            part = prepared.part(name)
            assert len(part.inputs) == len(part.labels) == prepared.sizes[name] > 0
            assert (part.inputs[:, 0] != 0).all()
            assert set(Counter(part.labels.tolist())) <= set(range(len(prepared.classes)))


@given(content=st.binary(max_size=200), suffix=st.sampled_from(list(WRITERS)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_prepared_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    tried(tmp_path_factory.mktemp("any") / f"a{suffix}", content)


@given(
    rows=st.lists(
        st.tuples(st.text(max_size=8), st.sampled_from(["a", "b", "", "\ud800", '"', "\r", "a\n"])),
        max_size=40,
    ),
    separator=st.sampled_from([",", ",", "\t", ";"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(max_examples=150, deadline=None)
def test_nearly_right_csv_is_prepared_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, separator: str, end: str
) -> None:
    lines = ["text,label", *(f"{text}{separator}{label}" for text, label in rows)]
    lines += [f"text {number},{'ab'[number % 2]}" for number in range(8)]
    content = end.join(lines).encode("utf-8", "surrogatepass")
    tried(tmp_path_factory.mktemp("nearly") / "a.csv", content)


@given(position=st.floats(0, 1), byte=st.integers(0, 255), suffix=st.sampled_from(list(WRITERS)))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_prepared_or_refused(
    tmp_path_factory: pytest.TempPathFactory, position: float, byte: int, suffix: str
) -> None:
    path = WRITERS[suffix](tmp_path_factory.mktemp("changed") / f"a{suffix}", ROWS)
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] = byte
    tried(path, bytes(content))
