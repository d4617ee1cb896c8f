"""Tables of texts: a CSV, TSV, JSON or Parquet file with a column of texts and one of labels."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.data import tokenizer
from tuner.data.examples import Texts, key_of
from tuner.data.labels import (
    LabelColumn,
    LabelError,
    LabelName,
    MissingLabelError,
    column_class_name,
    unwritable,
)
from tuner.data.sources import json_rows, separated, text_files
from tuner.data.sources.columns import LONGEST, TOO_LONG, Row
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import TEXT_SUFFIXES, DataSpec, table_suffix
from tuner.study_file.messages import a, counted, listed, quoted

_USUAL = {".csv": ",", ".tsv": "\t"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+,[0-9]+\s*")


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is open."""

    where: str
    rows: Iterator[Row]  # DataError names the first that is wrong
    notes: Sequence[str] = ()  # on how the file is read
    decimal_commas: bool = False  # whether its numbers may be written `3,5`


def read(path: Path, spec: DataSpec, name: LabelName = column_class_name) -> Texts:
    """The texts of a table, without its blank ones; DataError names the first row that is wrong."""
    where = shown(path)
    if spec.text == spec.label:
        raise DataError(
            f"{where}: the text and the label cannot both be the column {quoted(spec.text)}"
        )
    return _texts(opened(path, spec), name, spec)


def opened(path: Path, spec: DataSpec, *, label: bool = True) -> Table:
    """A table's rows; without `label`, that of each row is None."""
    where, suffix = shown(path), table_suffix(path)
    if suffix is None:
        raise DataError(f"{where}: its name must end in one of {listed(TEXT_SUFFIXES)}")
    if suffix == ".parquet":
        from tuner.data.sources import parquet

        rows = parquet.rows(path, spec.text, spec.label if label else None)
        return Table(where, (Row(*row) for row in rows))
    content, notes = text_files.read(path, spec.encoding)
    kind = suffix.removesuffix(".gz")
    if kind not in _USUAL:
        reader = json_rows.rows if kind == ".json" else json_rows.lines
        return Table(where, reader(content, where, spec, label), notes)
    layout = separated.layout(content, spec, _USUAL[kind], label)
    if layout.separator != _USUAL[kind] and spec.separator is None:
        name = separated.SEPARATORS[layout.separator]
        notes.append(f"the cells are separated by {name}s, as the header shows")
    rows = separated.rows(content, where, spec, layout, label)
    return Table(where, rows, notes, decimal_commas=layout.separator == ";")


def usable(where: str, row: Row) -> str | None:
    """The text of a row; None if it is blank, DataError if it is no text."""
    if row.text is None or (isinstance(row.text, str) and not row.text.strip()):
        return None
    if not isinstance(row.text, str):
        raise DataError(f"{where}, {row.at}: the text must be text, is {a(row.text)}")
    if len(row.text) > LONGEST:
        raise DataError(f"{where}, {row.at}: {TOO_LONG}")
    if (bad := unwritable(row.text)) is not None:
        raise DataError(f"{where}, {row.at}: the text holds {bad}")
    return row.text


def _texts(table: Table, name: LabelName, spec: DataSpec) -> Texts:
    where, rows = table.where, table.rows
    labels = LabelColumn(name)
    texts, keys, blank, unlabelled = [], [], 0, 0
    numbers = _Numbers(where) if spec.is_regression and table.decimal_commas else None
    for row in rows:
        text = usable(where, row)
        if text is None:
            blank += 1
            continue
        try:
            labels.append(row.label if numbers is None else numbers.read(row))
        except MissingLabelError:
            unlabelled += 1
            continue
        except LabelError as error:
            raise DataError(f"{where}, {row.at}: the label {error}") from None
        texts.append(text)
        keys.append(key_of(tokenizer.same_text(text)))
    left_out = {"a blank text": blank, "no label": unlabelled}
    if not texts:
        reasons = [f"{counted(n, 'row')} with {what}" for what, n in left_out.items() if n]
        only = f" that can be used, only {' and '.join(reasons)}" if reasons else ""
        raise DataError(f"{where}: has no rows{only}")
    notes = [
        f"{counted(number, 'row')} with {what} {'was' if number == 1 else 'were'} left out"
        for what, number in left_out.items()
        if number
    ]
    return Texts(
        where=where,
        unit="row",
        labels=labels.names,
        reordered=labels.reordered,
        keys=keys,
        notes=(
            *table.notes,
            *notes,
            *labels.merged("row"),
            *(numbers.notes() if numbers is not None else ()),
        ),
        texts=texts,
    )


class _Numbers:
    """Numbers with decimal commas, as tables with semicolons have them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._with_comma: list[Row] = []
        self._with_point: Row | None = None

    def read(self, row: Row) -> object:
        """A label with a point; DataError if some labels have a comma and others a point."""
        if not isinstance(row.label, str):
            return row.label
        if _DECIMAL_COMMA.fullmatch(row.label):
            self._with_comma.append(row)
        elif "." in row.label and self._with_point is None:
            self._with_point = row
        if self._with_comma and self._with_point is not None:
            comma, point = self._with_comma[0], self._with_point
            raise DataError(
                f"{self._where}: the label {quoted(comma.label)} ({comma.at}) has a decimal comma, "
                f"{quoted(point.label)} ({point.at}) a point; write them alike"
            )
        return row.label.replace(",", ".") if "," in row.label else row.label

    def notes(self) -> Iterator[str]:
        """That commas were read as points."""
        if self._with_comma:
            example = quoted(self._with_comma[0].label)
            number = counted(len(self._with_comma), "label")
            yield f"{number} with a decimal comma, as {example}, were read as numbers"
