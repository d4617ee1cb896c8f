"""The split: fixed, stratified, and no input in two parts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data import prepare, split
from tuner.data.examples import Texts, key_of
from tuner.data.prepared import PARTS
from tuner.errors import DataError
from tuner.study_file.data import DataSpec, Split


def texts(labels: list[str], names: list[str] | None = None) -> Texts:
    """Examples with these labels, each with a text of its own or the given ones."""
    names = [f"text {number}" for number in range(len(labels))] if names is None else names
    return Texts(
        where="a.csv",
        unit="row",
        labels=labels,
        keys=[key_of(name.encode()) for name in names],
        texts=names,
    )


def rows(examples: Texts, seed: int = 0, **shares: float) -> dict[str, list[int]]:
    chosen = split.split({"train": examples}, Split(seed=seed, **shares))
    return {name: list(part.rows) for name, part in chosen.items()}


def test_every_row_is_in_one_part() -> None:
    parts = rows(texts(["a", "b"] * 50))
    assert sorted(row for part in parts.values() for row in part) == list(range(100))


def test_the_split_is_fixed() -> None:
    # written down: another numpy, Python or machine must give the same parts
    parts = rows(texts(["a", "b"] * 10), seed=7)
    assert parts["validation"] == [4, 10, 11]
    assert parts["test"] == [6, 7, 18]


def test_another_seed_is_another_split() -> None:
    examples = texts(["a", "b"] * 50)
    assert rows(examples, 0) == rows(examples, 0)
    assert rows(examples, 0) != rows(examples, 1)


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
    names = [f"text {number}" for number in range(60)]
    labels = ["a", "b", "c"] * 20
    forward = rows(texts(labels, names))
    backward = rows(texts(labels[::-1], names[::-1]))
    for part in PARTS:
        assert {names[row] for row in forward[part]} == {names[::-1][row] for row in backward[part]}


@given(
    sizes=st.lists(st.integers(4, 60), min_size=2, max_size=6),
    seed=st.integers(0, 2**31 - 1),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
)
@settings(max_examples=60, deadline=None)
def test_parts_are_stratified(sizes: list[int], seed: int, validation: float, test: float) -> None:
    labels = [f"class {number}" for number, size in enumerate(sizes) for _ in range(size)]
    parts = rows(texts(labels), seed, validation=validation, test=test)
    for part, share in (("validation", validation), ("test", test)):
        counts = Counter(labels[row] for row in parts[part])
        for number, size in enumerate(sizes):
            count = counts[f"class {number}"]
            assert count >= 1
            assert count == 1 or abs(count - share * size) <= 1.5
        total = sum(counts.values())
        assert abs(total - share * len(labels)) <= 0.5 * len(sizes) + 1
    assert set(labels) == {labels[row] for row in parts["train"]}


@given(
    names=st.lists(st.integers(0, 30), min_size=20, max_size=200),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_equal_inputs_share_a_part(names: list[int], seed: int) -> None:
    labels = [str(name % 2) for name in names]
    contents = [f"text {name}" for name in names]
    try:
        split_rows = rows(texts(labels, contents), seed)
    except DataError:  # too few different ones
        return
    parts = [{contents[row] for row in split_rows[part]} for part in PARTS]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_no_text_is_in_two_parts_whatever_its_case_space_and_accents(tmp_path: Path) -> None:
    lines = ["text,label"]
    for number in range(60):
        label = "ab"[number % 2]
        for copy in (f"Café {number} good", f"CAFÉ  {number}  Good ", f"Cafe\u0301 {number} good"):
            lines.append(f"{copy},{label}")
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    prepared = prepare(DataSpec(source="text", path=path, lowercase=True), tmp_path / "cache")
    inputs = [{row.tobytes() for row in np.asarray(prepared.part(name).inputs)} for name in PARTS]
    vocabulary = set(prepared.vocabulary)
    numbers = {str(n) for n in range(60)}
    assert sum(prepared.sizes.values()) == 180
    assert all(size % 3 == 0 for size in prepared.sizes.values())
    assert len(numbers & vocabulary) == prepared.sizes["train"] // 3
    assert len(inputs[0]) == prepared.sizes["train"] // 3


def test_given_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    for name, number in (("train", 20), ("validation", 6), ("test", 4)):
        lines = [f"the {name} {row},{'ab'[row % 2]}" for row in range(number)]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(lines))
    spec = DataSpec(
        source="text",
        path=tmp_path / "train.csv",
        validation_path=tmp_path / "validation.csv",
        test_path=tmp_path / "test.csv",
    )
    prepared = prepare(spec, tmp_path / "cache")
    assert prepared.sizes == {"train": 20, "validation": 6, "test": 4}
    assert prepared.notes == ()
    assert not {"validation", "test"} & set(prepared.vocabulary)


def test_one_given_part_leaves_the_other_to_the_split(tmp_path: Path) -> None:
    for name, number in (("train", 40), ("test", 4)):
        lines = [f"{name} {row},{'ab'[row % 2]}" for row in range(number)]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(lines))
    spec = DataSpec(source="text", path=tmp_path / "train.csv", test_path=tmp_path / "test.csv")
    assert prepare(spec, tmp_path / "cache").sizes == {"train": 34, "validation": 6, "test": 4}


def test_given_parts_that_overlap_are_noted(tmp_path: Path) -> None:
    lines = [f"text {row},{'ab'[row % 2]}" for row in range(40)]
    (tmp_path / "train.csv").write_text("text,label\n" + "\n".join(lines))
    (tmp_path / "test.csv").write_text("text,label\n" + "\n".join([*lines[:1], "other,b", "  ,b"]))
    spec = DataSpec(source="text", path=tmp_path / "train.csv", test_path=tmp_path / "test.csv")
    notes = prepare(spec, tmp_path / "cache").notes
    assert notes[0] == "test data: 1 row with a blank text was left out"
    assert "1 row of the 2 in the test part is also in the validation part" in notes[1]


def test_a_label_that_the_training_part_lacks(tmp_path: Path) -> None:
    lines = [f"text {row},{'ab'[row % 2]}" for row in range(40)]
    (tmp_path / "train.csv").write_text("text,label\n" + "\n".join(lines))
    (tmp_path / "test.csv").write_text("text,label\nother,c")
    spec = DataSpec(source="text", path=tmp_path / "train.csv", test_path=tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"test\.csv: has labels that .*train\.csv lacks: c"):
        prepare(spec, tmp_path / "cache")
