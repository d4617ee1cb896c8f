"""Tables of texts: CSV, TSV, JSON or Parquet files with a column of texts and one of labels."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.data import tokenizer
from tuner.data.examples import Texts, key_of
from tuner.data.labels import (
    LabelColumn,
    LabelError,
    MissingLabelError,
    ReadLabel,
    read_column_class,
    unwritable,
)
from tuner.data.sources import json_rows, separated, text_files
from tuner.data.sources.columns import LONGEST, TOO_LONG, Row
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import TEXT_SUFFIXES, DataSpec, table_suffix
from tuner.study_file.messages import a, counted, listed, quoted

_DEFAULT_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+,[0-9]+\s*")


@dataclass(frozen=True, slots=True)
class Table:
    """An open table."""

    where: str
    rows: Iterator[Row]  # a DataError names the first wrong one
    notes: Sequence[str] = ()  # on how the file is read
    decimal_commas: bool = False  # whether its numbers may be written `3,5`


def read(path: Path, spec: DataSpec, read_label: ReadLabel = read_column_class) -> Texts:
    """Read a table's texts that are not blank; DataError names the first wrong row."""
    where = shown(path)
    if spec.text == spec.label:
        raise DataError(
            f"{where}: the text and the label cannot both be the column {quoted(spec.text)}"
        )
    return _read_texts(open_table(path, spec), read_label, spec)


def open_table(path: Path, spec: DataSpec, *, label: bool = True) -> Table:
    """Open a table; without `label`, each row's label is None."""
    where, suffix = shown(path), table_suffix(path)
    if suffix is None:
        raise DataError(f"{where}: its name must end in one of {listed(TEXT_SUFFIXES)}")
    if suffix == ".parquet":
        from tuner.data.sources import parquet

        rows = parquet.rows(path, spec.text, spec.label if label else None)
        return Table(where, (Row(*row) for row in rows))
    content, notes = text_files.read(path, spec.encoding)
    kind = suffix.removesuffix(".gz")
    if kind not in _DEFAULT_SEPARATORS:
        read_rows = json_rows.rows if kind == ".json" else json_rows.lines
        return Table(where, read_rows(content, where, spec, label), notes)
    layout = separated.detect_layout(content, spec, _DEFAULT_SEPARATORS[kind], label)
    if layout.separator != _DEFAULT_SEPARATORS[kind] and spec.separator is None:
        name = separated.SEPARATORS[layout.separator]
        notes.append(f"the cells are separated by {name}s, as the header shows")
    rows = separated.rows(content, where, spec, layout, label)
    return Table(where, rows, notes, decimal_commas=layout.separator == ";")


def text_of(where: str, row: Row) -> str | None:
    """Return the text of a row; None if it is blank, DataError if it is no text."""
    if row.text is None or (isinstance(row.text, str) and not row.text.strip()):
        return None
    if not isinstance(row.text, str):
        raise DataError(f"{where}, {row.at}: the text must be text, is {a(row.text)}")
    if len(row.text) > LONGEST:
        raise DataError(f"{where}, {row.at}: {TOO_LONG}")
    if (character := unwritable(row.text)) is not None:
        raise DataError(f"{where}, {row.at}: the text holds {character}")
    return row.text


def _read_texts(table: Table, read_label: ReadLabel, spec: DataSpec) -> Texts:
    where = table.where
    labels = LabelColumn(read_label)
    texts, keys, blank, unlabelled = [], [], 0, 0
    numbers = _DecimalCommas(where) if spec.is_regression and table.decimal_commas else None
    for row in table.rows:
        text = text_of(where, row)
        if text is None:
            blank += 1
            continue
        try:
            labels.append(row.label if numbers is None else numbers.replace(row))
        except MissingLabelError:
            unlabelled += 1
            continue
        except LabelError as error:
            raise DataError(f"{where}, {row.at}: the label {error}") from None
        texts.append(text)
        keys.append(key_of(tokenizer.normalize_text(text)))
    left_out = {"a blank text": blank, "no label": unlabelled}
    if not texts:
        reasons = [f"{counted(n, 'row')} with {reason}" for reason, n in left_out.items() if n]
        only = f" that can be used, only {' and '.join(reasons)}" if reasons else ""
        raise DataError(f"{where}: has no rows{only}")
    notes = [
        f"{counted(number, 'row')} with {reason} {'was' if number == 1 else 'were'} left out"
        for reason, number in left_out.items()
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
            *labels.note_spellings("row"),
            *(numbers.notes() if numbers is not None else ()),
        ),
        texts=texts,
    )


class _DecimalCommas:
    """Numbers with decimal commas, as in tables with semicolons."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._with_comma: list[Row] = []
        self._with_point: Row | None = None

    def replace(self, row: Row) -> object:
        """Return a label with a decimal point; DataError if labels use both notations."""
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
                f"{quoted(point.label)} ({point.at}) a decimal point; use one of them throughout"
            )
        return row.label.replace(",", ".") if "," in row.label else row.label

    def notes(self) -> Iterator[str]:
        """Yield a note that commas were read as decimal points."""
        if self._with_comma:
            example = quoted(self._with_comma[0].label)
            number = counted(len(self._with_comma), "label")
            verb = "was read as a number" if len(self._with_comma) == 1 else "were read as numbers"
            yield f"{number} with a decimal comma, such as {example}, {verb}"
