"""Tables of texts with labels, in every format."""

import json
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

Rows = list[tuple[object, object]]


ROWS: Rows = [(f'text, {n} "quoted"\nand more', "pos" if n % 2 else "neg") for n in range(20)]


def csv(path: Path, rows: Rows, separator: str = ",") -> Path:
    def cell(value: object) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    lines = [f"id{separator}text{separator}label"]
    lines += [separator.join(("7", cell(text), cell(label))) for text, label in rows]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")
    return path


def tsv(path: Path, rows: Rows) -> Path:
    return csv(path, rows, "\t")


def jsonl(path: Path, rows: Rows) -> Path:
    lines = [json.dumps({"id": 7, "text": text, "label": label}) for text, label in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def parquet_file(path: Path, rows: Rows) -> Path:
    texts, labels = zip(*rows, strict=True)
    table = pa.table({"id": [7] * len(rows), "text": list(texts), "label": list(labels)})
    parquet.write_table(table, path, row_group_size=7)
    return path


WRITERS = {".csv": csv, ".tsv": tsv, ".jsonl": jsonl, ".parquet": parquet_file}
