"""Tables as people have them: encodings, separators, compression, JSON, rare classes."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuner.data import PreparedData, prepare
from tuner.data.fingerprint import fingerprint, prepared_key
from tuner.data.prepared import PARTS
from tuner.data.sources import text_files
from tuner.errors import DataError, SpecError
from tuner.families import resolve
from tuner.study_file.data import DataSpec
from tuner.study_file.load import loads

ROWS = [(f"Ça c’est drôle, n° {n}", "bon" if n % 2 else "mauvais") for n in range(20)]


def content(separator: str = ",", rows: list[tuple[str, str]] = ROWS, header: str = "") -> str:
    lines = [header or f"text{separator}label"]
    lines += [f'"{text}"{separator}{label}' for text, label in rows]
    return "\n".join(lines) + "\n"


def opened(path: Path, **changes: object) -> PreparedData:
    spec = DataSpec.model_validate({"path": path, **changes})
    return prepare(spec, path.parent / "cache")


def texts(data: PreparedData) -> list[str]:
    return sorted(text for part in PARTS for text in data.texts(part))


def refused(path: Path, expected: str, **changes: object) -> None:
    with pytest.raises(DataError) as caught:
        opened(path, **changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


# Encodings


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("cp1252", b""), ("utf-16", b""), ("utf-16-le", b""), ("utf8", b"\xef\xbb\xbf")],
)
def test_a_named_encoding(tmp_path: Path, encoding: str, mark: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(mark + content().encode(encoding))
    data = opened(path, encoding=encoding)
    assert texts(data) == sorted(text for text, _ in ROWS)
    assert data.notes == ()


def test_a_byte_order_mark_names_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content().encode("utf-16"))
    data = opened(path)
    assert texts(data) == sorted(text for text, _ in ROWS)
    assert data.notes == ("the file was read as UTF-16, as its byte order mark says",)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Un café élégant, 5 €", "cp1252"),
        ("Größe passt nicht", "cp1252"),
        ("Отличная книга, мне очень понравилось", "cp1251"),
        ("とても良い本です。また買いたいと思います。", "cp932"),
        ("这本书非常好，值得购买。质量太差了，不推荐。", "gb18030"),
    ],
)
def test_an_encoding_is_proposed_with_what_it_gives(
    tmp_path: Path, text: str, encoding: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"text,label\nplain,x\n{text},x\n".encode(encoding))
    with pytest.raises(DataError) as caught:
        opened(path)
    assert "a.csv, line 3: is not UTF-8 text (byte 0x" in str(caught.value)
    assert f"with `encoding: {encoding}` in the data section it reads `" in str(caught.value)
    start = text.encode(encoding).decode("ascii", "replace").index("\ufffd")
    assert text[start : start + 3] in str(caught.value)


def test_a_wrong_encoding_is_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content(), encoding="utf-8")
    assert opened(path, encoding="cp1252").notes == (
        "the file is valid UTF-8, but was read as cp1252, as `encoding` says",
    )
    refused(path, "line 2: is not ascii text (byte 0xc3)", encoding="ascii")


@pytest.mark.parametrize(
    "name", ["nonsense", "rot13", "base64", "undefined", "idna", "unicode_escape", ""]
)
def test_what_is_no_encoding_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be an encoding of text, such as utf-8, cp1252"):
        DataSpec.model_validate({"path": "a.csv", "encoding": name})


def test_a_corpus_and_pairs_of_another_encoding(tmp_path: Path) -> None:
    lines = [f"Größe {n} äußerst schön" for n in range(40)]
    (tmp_path / "a.txt").write_bytes("\n".join(lines).encode("utf-16"))
    corpus = opened(tmp_path / "a.txt", encoding="utf-16")
    assert {"größe", "äußerst", "schön"} <= set(corpus.vocabulary)
    rows = [(line, line[::-1]) for line in lines]
    (tmp_path / "b.csv").write_bytes(content(";", rows).encode("cp1252"))
    pairs = opened(tmp_path / "b.csv", source="pairs", encoding="cp1252")
    assert texts(pairs) == sorted(lines)
    assert pairs.notes == ("the cells are separated by semicolons, as the header shows",)


# Separators and headers


@pytest.mark.parametrize(
    ("suffix", "separator", "name"),
    [
        (".csv", ";", "semicolons"),
        (".csv", "\t", "tabs"),
        (".csv", "|", "bars"),
        (".tsv", ",", "commas"),
        (".tsv", ";", "semicolons"),
    ],
)
def test_the_header_shows_the_separator(
    tmp_path: Path, suffix: str, separator: str, name: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(content(separator), encoding="utf-8-sig")
    data = opened(path)
    assert texts(data) == sorted(text for text, _ in ROWS)
    assert data.notes == (f"the cells are separated by {name}, as the header shows",)
    named = opened(path, separator="tab" if separator == "\t" else separator)
    assert texts(named) == texts(data)
    assert named.notes == ()


def test_the_usual_separator_comes_first(tmp_path: Path) -> None:
    """A header that has the columns with commas is not looked at with anything else."""
    path = tmp_path / "a.csv"
    path.write_text(
        content(header="text,label", rows=[(f"a b {n};c|d", "xy"[n % 2]) for n in range(20)])
    )
    data = opened(path)
    assert texts(data)[0] == "a b 0;c|d"
    assert data.notes == ()


def test_another_separator_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content("~"), encoding="utf-8")
    refused(path, "its columns are text~label")
    assert texts(opened(path, separator="~")) == sorted(text for text, _ in ROWS)


@pytest.mark.parametrize("separator", ["", ",,", "a", "7", '"', "\n"])
def test_what_is_no_separator_is_refused(separator: str) -> None:
    with pytest.raises(ValueError, match="must be one character between cells, or `tab`"):
        DataSpec.model_validate({"path": "a.csv", "separator": separator})


@pytest.mark.parametrize(
    "header",
    [
        "text, label",
        " text ,label ",
        "text\u00a0,\u00a0label",
        "\ufefftext,label",
        "\n\ntext,label",
    ],
)
def test_blanks_and_marks_around_names_of_columns(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content(header=header), encoding="utf-8-sig")
    assert texts(opened(path)) == sorted(text for text, _ in ROWS)


def test_blanks_before_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f'{"xy"[n % 2]}, "one, two {n}"' for n in range(20)]
    path.write_text("label, text\n" + "\n".join(rows))
    assert texts(opened(path))[0] == "one, two 0"


def test_a_name_with_blanks_can_be_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content(header="text, label").replace(",bon", ", bon"), encoding="utf-8")
    assert opened(path, label=" label").classes == ("bon", "mauvais")


def test_other_columns_may_share_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"{n},good text {n},{'xy'[n % 2]},," for n in range(20)]
    path.write_text("id,text,label,,\n" + "\n".join(lines))
    assert opened(path).classes == ("x", "y")


def numbers(path: Path, labels: list[str], separator: str = ";") -> Path:
    rows = [(f"a text {n}", labels[n % len(labels)]) for n in range(20)]
    path.write_text(content(separator, rows))
    return path


def test_decimal_commas(tmp_path: Path) -> None:
    path = numbers(tmp_path / "a.csv", ["3,5", "-4,25", "2"])
    data = opened(path, task="regression")
    assert data.scale is not None
    mean, std = data.scale
    values = {
        round(mean + std * label, 4) for part in PARTS for label in data.part(part).labels.tolist()
    }
    assert values == {3.5, -4.25, 2.0}
    assert data.notes[1:] == (
        "14 labels with a decimal comma, such as `3,5`, were read as numbers",
    )


def test_commas_and_points_are_not_mixed(tmp_path: Path) -> None:
    path = numbers(tmp_path / "a.csv", ["3,5", "1.234"])
    expected = (
        "the label `3,5` (line 2) has a decimal comma, `1.234` (line 3) a decimal point; use one"
    )
    refused(path, expected, task="regression")
    refused(numbers(tmp_path / "b.tsv", ["3,5"], "\t"), "is the text `3,5`", task="regression")


# Compressed files and JSON


def jsonl() -> str:
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS)


def array() -> str:
    return json.dumps([{"text": text, "label": label} for text, label in ROWS], indent=2)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv.gz", content),
        ("a.TSV.GZ", lambda: content("\t")),
        ("a.jsonl.gz", jsonl),
        ("a.json", array),
        ("a.json", jsonl),
        ("a.json.gz", array),
    ],
)
def test_compressed_tables_and_lists_of_objects(
    tmp_path: Path, name: str, write: Callable[[], str]
) -> None:
    packed = write().encode()
    (tmp_path / name).write_bytes(gzip.compress(packed) if name.lower().endswith("gz") else packed)
    data = opened(tmp_path / name)
    assert texts(data) == sorted(text for text, _ in ROWS)
    assert data.classes == ("bon", "mauvais")
    assert data.notes == ()


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (b"", "a.csv.gz: is empty"),
        (b"text,label\na,b\n", "a.csv.gz: is damaged: it cannot be decompressed"),
        (
            gzip.compress(content().encode(), mtime=0)[:-20],
            "a.csv.gz: is damaged: it cannot be decomp",
        ),
        (gzip.compress(b"", mtime=0), "a.csv.gz: is empty"),
    ],
)
def test_compressed_files_that_are_unfit(tmp_path: Path, packed: bytes, expected: str) -> None:
    (tmp_path / "a.csv.gz").write_bytes(packed)
    refused(tmp_path / "a.csv.gz", expected)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "FLOOR", 10_000)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a" * 3_000_000))
    refused(
        tmp_path / "a.csv.gz", "a.csv.gz: expands to more than 100 times its size; if you trust it"
    )
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a b\n" * 1_000_000))
    refused(
        tmp_path / "a.txt.gz", "a.txt.gz: expands to more than 100 times its size; if you trust it"
    )
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(os.urandom(2_000) * 8 + content().encode()))
    refused(tmp_path / "b.csv.gz", "is not UTF-8 text")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"text": "a", "label": 1}, 7]', "a.json, entry 2: must be a JSON object, is `7`"),
        ('[{"text": "a"}]', "a.json, entry 1: has no column `label`"),
        (
            '[{"text": "a",\n "label": }]',
            "a.json, line 2: is not JSON (Expecting value, column 11)",
        ),
        ("[" * 100_000, "a.json: holds a number that is too long or objects too deeply nested"),
        ("[]", "a.json: has no rows"),
        (
            '{\n  "data": []\n}',
            "a.json: is a single JSON object; a table must be a list of objects, or",
        ),
        (
            '{"data": [{"text": "a", "label": 1}]}',
            "a.json: is a single JSON object; a table must be a",
        ),
        ('{"text": {"0": "a"}}', "a.json, line 1: has no column `label`"),
    ],
)
def test_json_that_is_unfit(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a.json").write_text(text)
    refused(tmp_path / "a.json", expected)


# Rare classes


def rare(path: Path) -> Path:
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(20)]
    rows += [("one text", "c"), ("two texts", "c")] + [("same text", "d")] * 9
    path.write_text(content(rows=rows))
    return path


def test_rare_classes_are_left_out_on_request(tmp_path: Path) -> None:
    path = rare(tmp_path / "a.csv")
    refused(path, "or `min_class: 3` in the data section, which leaves such classes out")
    data = opened(path, min_class=5)
    assert data.classes == ("a", "b")
    assert sum(data.sizes.values()) == 20
    assert data.notes[0] == (
        "2 classes were left out, with fewer than 5 different rows: `d` (1 row), `c` (2 rows)"
    )
    assert opened(path, min_class=5, test_path=path).notes[1] == (
        "test data: 11 rows of classes that are left out"
    )
    refused(
        path,
        "no class has 99 different rows, as `min_class` asks; the largest has 10",
        min_class=99,
    )


def test_an_error_about_a_rare_class_says_what_it_may_mean(tmp_path: Path) -> None:
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(20)] + [("x", "A"), ("y", "NA")]
    (tmp_path / "a.csv").write_text(content(rows=rows))
    refused(tmp_path / "a.csv", "(labels that differ only in spelling are separate classes: `A`")
    (tmp_path / "b.csv").write_text(content(rows=[*rows[:20], rows[-1]]))
    refused(tmp_path / "b.csv", "(labels that often mean a missing value are classes: `NA`")


def test_rare_classes_of_images(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (33, 4, 4), dtype=np.uint8)
    y = np.array(["a", "b", "c"] * 10 + ["d"] * 3)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    data = opened(tmp_path / "a.npz", min_class=4)
    assert data.classes == ("a", "b", "c")
    contents = {image.tobytes() for part in PARTS for image in data.part(part).inputs}
    assert contents == {image.tobytes() for image in x[:30]}


def test_numbers_have_no_rare_classes() -> None:
    study = "name: x\nfamily: rnn\nobjective: {metric: rmse}\ndata: {path: a.csv, min_class: 5}\n"
    with pytest.raises(SpecError, match=r"data\.min_class: has no meaning where labels are numb"):
        resolve(loads(study))


# The specification


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("s3://bucket/reviews.csv", "download it first"),
        ("gs://bucket/photos", "download it first"),
        ("https://example.org/a.csv.gz", "download it first"),
        ("hf://datasets/x/train.parquet", "download it first"),
        (Path("s3://bucket/a.csv"), "download it first"),
        ("file:///tmp/a.csv", "write its path alone"),
    ],
)
@pytest.mark.parametrize("field", ["path", "test_path", "vectors"])
def test_an_address_is_no_path(path: str | Path, hint: str, field: str) -> None:
    with pytest.raises(ValueError, match=f"must be a path on this machine, .*; {hint}"):
        DataSpec.model_validate({"source": "text", "path": "a.csv", field: path})
    with pytest.raises(ValueError, match=f"must be a path on this machine, .*; {hint}"):
        DataSpec.model_validate(str(path).replace("s3:/b", "s3://b"))


def test_paths_that_look_nearly_like_addresses() -> None:
    for path in ("C:/data/a.csv", "a:b.csv", "data/s3/a.csv"):
        assert DataSpec.model_validate({"path": path}).path == Path(path)


def test_how_a_file_is_read_is_part_of_its_fingerprint(tmp_path: Path) -> None:
    path = rare(tmp_path / "a.csv")
    variants: list[dict[str, object]] = [
        {},
        {"encoding": "cp1252"},
        {"encoding": "utf-16"},
        {"separator": ";"},
        {"min_class": 5},
        {"min_class": 6},
    ]
    specs = [DataSpec.model_validate({"path": path, **changes}) for changes in variants]
    assert len({fingerprint(spec) for spec in specs}) == len(specs)
    assert len({prepared_key(spec) for spec in specs}) == len(specs)
    again = DataSpec.model_validate({"path": path, "encoding": "windows-1252"})
    assert fingerprint(again) == fingerprint(specs[1])
    default = DataSpec.model_validate({"path": path, "encoding": "utf8"})
    assert fingerprint(default) == fingerprint(specs[0])


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".csv", "d9518e59266b6c71"),
        (".tsv", "b1125d32056da98e"),
        (".jsonl", "308454e5ee3d666b"),
        (".parquet", "2c5030dce006c90f"),
    ],
)
def test_fingerprints_of_stored_studies_stay(tmp_path: Path, suffix: str, expected: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("text,label\n")
    assert fingerprint(DataSpec(source="text", path=path)) == expected
