"""Texts that a bundle's program reads: every table that a study can be trained on, but Parquet."""

import gzip
import json
from pathlib import Path

import pytest

from tuner.families.bundle.predict.tables import lines_of

TEXTS = ["Ça c’est, drôle", 'a "quoted"\ntext', "one | two; three"]


def table(separator: str, header: str = "id{0}text") -> str:
    cells = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    return (
        header.format(separator) + "\n" + "\n".join(f"7{separator}{cell}" for cell in cells) + "\n"
    )


def jsonl() -> str:
    return "\n\n".join(json.dumps({"text": text}) for text in TEXTS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", table(",")),
        ("a.csv", table(";")),
        ("a.csv", "\n" + table("|")),
        ("a.TSV", table("\t")),
        ("a.tsv", table(",")),
        ("a.csv", table(",", " id{0} text ")),
        ("a.csv.gz", table(",")),
        ("a.jsonl", jsonl()),
        ("a.json", jsonl()),
        ("a.json.gz", json.dumps([{"text": text} for text in TEXTS])),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_are_read(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    packed = content.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(packed) if name.endswith("gz") else packed)
    declared = "utf-8-sig" if encoding == "utf-16" else encoding  # its byte order mark tells
    assert list(lines_of(str(tmp_path / name), "text", declared)) == TEXTS


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "long " * 50_000 + ",x\n")
    assert len(next(lines_of(str(tmp_path / "a.csv"), "text", "utf-8-sig"))) == 250_000


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"body\nx\n", "a.csv: has no column `text`; name another one with --column"),
        ("a.jsonl", b'{"body": 1}', "a.jsonl: has no column `text`"),
        ("a.csv", b"id,text\n1\n", "a.csv, line 2: has no cell `text`"),
        (
            "a.csv",
            b"text\nd\xe9j\xe0\n",
            "a.csv: is not utf-8-sig text .*name its encoding with --encoding",
        ),
        ("a.csv.gz", b"text\n", "a.csv.gz: cannot be read"),
        ("a.xlsx", b"", "a.xlsx: must be a .csv, .tsv, .json, .jsonl or .txt file"),
        ("a.json", b"[", "a.json: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit, match=expected):
        list(lines_of(str(tmp_path / name), "text", "utf-8-sig"))


def test_an_unknown_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n")
    with pytest.raises(SystemExit, match="nonsense is not a text encoding"):
        list(lines_of(str(tmp_path / "a.csv"), "text", "nonsense"))
