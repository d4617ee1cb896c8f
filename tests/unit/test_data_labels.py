"""What a label is, the same in every format, and what is said of labels that look wrong."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tuner.data import PreparedData, prepare
from tuner.data.fingerprint import fingerprint
from tuner.data.labels import note_suspicious
from tuner.data.prepared import PARTS
from tuner.errors import DataError
from tuner.study_file.data import DataSpec


def prepared(path: Path, **changes: object) -> PreparedData:
    spec = DataSpec(source="text", path=path, **changes)  # type: ignore[arg-type]
    return prepare(spec, path.parent / "cache")


def csv(path: Path, cells: list[str]) -> Path:
    """Rows with these labels in turn, 12 of each."""
    rows = [f'a text {n} {m},"{cell}"' for m in range(12) for n, cell in enumerate(cells)]
    path.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    return path


def jsonl(path: Path, values: list[object]) -> Path:
    rows = [
        json.dumps({"text": f"a text {n} {m}", "label": value})
        for m in range(12)
        for n, value in enumerate(values)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def parquet_file(path: Path, values: list[object]) -> Path:
    texts = [f"a text {n} {m}" for m in range(12) for n in range(len(values))]
    parquet.write_table(pa.table({"text": texts, "label": values * 12}), path)
    return path


@pytest.mark.parametrize(
    ("cells", "values", "classes"),
    [
        (["1", "2"], [1, 2], ("1", "2")),
        (["1", "2"], ["1", "2"], ("1", "2")),
        (["1.0", "2.0", "10.0"], [1.0, 2.0, 10.0], ("1", "2", "10")),
        (["1.0", "2.0"], ["1.0", "2.0"], ("1", "2")),
        (["-1.0", "1.00"], [-1.0, 1.0], ("-1", "1")),
        (["true", "false"], [True, False], ("false", "true")),
        (["True", "False"], ["True", "False"], ("False", "True")),
        (["1.5", "v1.0", "007"], ["1.5", "v1.0", "007"], ("007", "1.5", "v1.0")),
        (["a", "b", ""], ["a", "b", None], ("a", "b")),
        (["a", "b", "\u00a0"], ["a", "b", ""], ("a", "b")),
        (["1", "2", ""], [1.0, 2.0, float("nan")], ("1", "2")),
        (["a", "NA"], ["a", "NA"], ("NA", "a")),
    ],
)
def test_every_format_reads_a_label_alike(
    tmp_path: Path, cells: list[str], values: list[object], classes: tuple[str, ...]
) -> None:
    data_sets = [
        prepared(csv(tmp_path / "a.csv", cells)),
        prepared(jsonl(tmp_path / "a.jsonl", values)),
        prepared(parquet_file(tmp_path / "a.parquet", values)),
    ]
    assert [data.classes for data in data_sets] == [classes] * 3
    assert len({data.notes for data in data_sets}) == 1
    for part in PARTS:
        labels = [data.part(part).labels.tolist() for data in data_sets]
        assert labels[0] == labels[1] == labels[2]


def test_decimals_of_parquet_are_whole_numbers(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", [Decimal("1.00"), Decimal("12.00")])
    assert prepared(path).classes == ("1", "12")


def test_a_label_in_other_letters_is_recognized(tmp_path: Path) -> None:
    path, test = csv(tmp_path / "a.csv", ["Good", "Bad"]), csv(tmp_path / "b.csv", ["good", "Bad"])
    with pytest.raises(DataError, match=r"lacks: good; .* \(`good` may mean `Good`\)$"):
        prepared(path, test_path=test)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path, task: str) -> None:
    data = prepared(csv(tmp_path / "a.csv", ["1", "2", " "]), task=task)
    assert sum(data.sizes.values()) == 24
    assert data.notes == ("12 rows with no label were left out",)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Good", "good", "bad"], "`Good` (1 row), `good` (1 row)"),
        (["a\u200bb", "ab", "c"], "`ab` (1 row), `a\\u200bb` (1 row)"),
        (["a b", "a\u00a0b", "a  b"], "`a  b` (1 row), `a b` (1 row), `a\\xa0b` (1 row)"),
        (["e\u0301", "\u00e9", "x"], "`e\\u0301` (1 row), `\u00e9` (1 row)"),
        (["0", "00", "x"], "`0` (1 row), `00` (1 row)"),
        (["3", "\u0663", "x"], "`3` (1 row), `\u0663` (1 row)"),
        (["1000", "1e3", "x"], "`1000` (1 row), `1e3` (1 row)"),
        (["0.5", ".5", "x"], "`.5` (1 row), `0.5` (1 row)"),
    ],
)
def test_labels_that_differ_in_writing_are_named(labels: list[str], expected: str) -> None:
    assert list(note_suspicious(labels, "row")) == [
        "labels that differ only in spelling are separate classes: "
        f"{expected}; spell them the same if they mean the same"
    ]


def test_labels_that_stand_for_a_missing_one_are_named() -> None:
    labels = ["NA", "None", "nan", "null", "a", "b", "n/a", "nap"]
    (note,) = note_suspicious(labels, "row")
    assert note.startswith("labels that often mean a missing value are classes: `NA` (1 row), ")
    assert note.count("(1 row)") == 5
    assert "nap" not in note


@pytest.mark.parametrize(
    ("labels", "example"),
    [
        ({"a": 9, "b": 9, "a|b": 2}, "2 rows with a label such as `a|b`"),
        ({"red,big": 5, "blue,small": 4}, "9 rows with a label such as `red,big`"),
        ({"['a', 'b']": 3, "['a']": 5, "['b']": 5}, "3 rows with a label such as `['a', 'b']`"),
        ({"a; b": 2, "a": 2, "b": 1}, "2 rows with a label such as `a; b`"),
    ],
)
def test_labels_that_look_like_several_are_named(labels: dict[str, int], example: str) -> None:
    (note,) = note_suspicious(list(Counter(labels).elements()), "row")
    assert note.startswith(example)
    assert "each such label is one class" in note


@pytest.mark.parametrize(
    "labels",
    [
        ["3,5", "4,5", "5,0"],
        ["Salem, OR", "books", "toys"],
        ["a", "b"],
        ["a, ", "b"],
        ["12345678901234567", "12345678901234568"],  # one number as floats
    ],
)
def test_other_labels_are_passed_over(labels: list[str]) -> None:
    assert list(note_suspicious(labels, "row")) == []


def test_the_same_class_in_several_ways_is_named(tmp_path: Path) -> None:
    data = prepared(csv(tmp_path / "a.csv", ["0", "0.0", "1", "1 "]))
    assert data.classes == ("0", "1")
    assert data.notes == (
        "labels with several spellings are read as one class: "
        "`0` (12 rows), `0.0` (12 rows); `1` (12 rows), `1 ` (12 rows)",
    )


def test_numbers_to_be_predicted_have_no_such_notes(tmp_path: Path) -> None:
    data = prepared(csv(tmp_path / "a.csv", ["1", "1.0", "2"]), task="regression")
    assert data.notes == ()


def test_classes_with_other_numbers_than_before_have_another_fingerprint(tmp_path: Path) -> None:
    """`10.0` stood before `2.0`: weights that were trained so must not be used any more."""
    same = csv(tmp_path / "same.csv", ["1.0", "2.0"])
    other = csv(tmp_path / "other.csv", ["1.0", "2.0", "10.0"])
    merged = csv(tmp_path / "merged.csv", ["0", "0.0", "1"])
    for path, is_same in ((same, True), (other, False), (merged, False)):
        original = fingerprint(DataSpec(source="text", path=path))
        assert (prepared(path).fingerprint == original) == is_same


@pytest.mark.parametrize("dtype", ["i8", "f4", "U3"])
def test_labels_of_a_column_are_labels(tmp_path: Path, dtype: str) -> None:
    """[N, 1], as Keras's CIFAR-10 has them."""
    x = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    y = (np.arange(20) % 2).astype(dtype)
    names = []
    for name, labels in (("flat", y), ("column", y[:, None])):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
        spec = DataSpec(source="npz", path=tmp_path / f"{name}.npz")
        names.append(prepare(spec, tmp_path / "cache"))
    assert names[1].classes == ("0", "1")
    for part in PARTS:
        assert np.array_equal(names[0].part(part).labels, names[1].part(part).labels)
