"""Tables of texts: a CSV, TSV, JSONL or Parquet file with a column of texts and one of labels."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tuner.data import raw, words
from tuner.data.examples import Texts, key_of
from tuner.data.labels import (
    LabelColumn,
    LabelError,
    LabelName,
    MissingLabelError,
    column_class_name,
    unwritable,
)
from tuner.data.sources.columns import column
from tuner.errors import DataError
from tuner.files import shown
from tuner.spec.data import TEXT_SUFFIXES
from tuner.spec.words import a, counted, listed, quoted

LONGEST = 1_000_000  # characters of a cell; a quote that is not closed swallows the rest of a file


class Row(NamedTuple):
    """One row of a table."""

    at: str  # as messages name it: line 7
    text: object
    label: object


def read(path: Path, text: str, label: str, name: LabelName = column_class_name) -> Texts:
    """The texts of a table, without its blank ones; DataError names the first row that is wrong."""
    where = shown(path)
    suffix = path.suffix.lower()
    if suffix not in TEXT_SUFFIXES:
        raise DataError(f"{where}: its name must end in one of {listed(TEXT_SUFFIXES)}")
    if text == label:
        raise DataError(f"{where}: the text and the label cannot both be the column {quoted(text)}")
    return _texts(where, rows(path, text, label), name)


def rows(path: Path, text: str, label: str | None) -> Iterator[Row]:
    """The rows of a table; without `label`, that of each row is None."""
    where, suffix = shown(path), path.suffix.lower()
    if suffix == ".parquet":
        from tuner.data.sources import parquet

        yield from (Row(*row) for row in parquet.rows(path, text, label))
    elif suffix == ".jsonl":
        yield from _jsonl(_decoded(path, where), where, text, label)
    else:
        separator = "\t" if suffix == ".tsv" else ","
        yield from _csv(_decoded(path, where), where, separator, text, label)


def usable(where: str, row: Row) -> str | None:
    """The text of a row; None if it is blank, DataError if it is no text."""
    if row.text is None or (isinstance(row.text, str) and not row.text.strip()):
        return None
    if not isinstance(row.text, str):
        raise DataError(f"{where}, {row.at}: the text must be text, is {a(row.text)}")
    if len(row.text) > LONGEST:
        raise DataError(f"{where}, {row.at}: {_TOO_LONG}")
    if (bad := unwritable(row.text)) is not None:
        raise DataError(f"{where}, {row.at}: the text holds {bad}")
    return row.text


def _texts(where: str, rows: Iterable[Row], name: LabelName) -> Texts:
    labels = LabelColumn(name)
    texts, keys, blank, unlabelled = [], [], 0, 0
    for row in rows:
        text = usable(where, row)
        if text is None:
            blank += 1
            continue
        try:
            labels.append(row.label)
        except MissingLabelError:
            unlabelled += 1
            continue
        except LabelError as error:
            raise DataError(f"{where}, {row.at}: the label {error}") from None
        texts.append(text)
        keys.append(key_of(words.same_text(text)))
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
        notes=(*notes, *labels.merged("row")),
        texts=texts,
    )


_TOO_LONG = f"a cell has more than {LONGEST:,} characters; is a quote not closed?"


def _decoded(path: Path, where: str) -> str:
    content = raw.contents(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # the error counts from behind a byte order mark
        line = error.object.count(b"\n", 0, error.start) + 1
        hint = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        byte = f"0x{error.object[error.start]:02x}"
        raise DataError(f"{where}, line {line}: is not UTF-8 text (byte {byte}){hint}") from None
    if not text.strip():
        raise DataError(f"{where}: is empty")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{where}, line {line}: holds a NUL character; is this a text file?")
    return text


def _csv(content: str, where: str, separator: str, text: str, label: str | None) -> Iterator[Row]:
    lines = _lines(content, where, separator)
    _, header = next(lines, (0, []))
    _check_separator(where, header, separator)
    at_text = column(where, header, text, "text")
    at_label = None if label is None else column(where, header, label, "label")
    for line, cells in lines:
        if len(cells) != len(header):
            few = len(cells) < len(header)
            hint = "" if few else f" (a text with a {_SEPARATORS[separator]} must be in quotes)"
            raise DataError(
                f"{where}, line {line}: has {counted(len(cells), 'cell')}, the header has "
                f"{len(header)}{hint}"
            )
        yield Row(f"line {line}", cells[at_text], None if at_label is None else cells[at_label])


_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon"}


def _check_separator(where: str, header: Sequence[str], separator: str) -> None:
    for other, name in _SEPARATORS.items():
        if other != separator and len(header) == 1 and other in header[0]:
            raise DataError(
                f"{where}: its cells are separated by {name}s; a file with this ending needs "
                f"{_SEPARATORS[separator]}s"
            )


def _lines(content: str, where: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its first line."""
    # strict: otherwise a quote that is not closed takes the rest of the file without a word
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    limit = csv.field_size_limit(LONGEST)
    start = 1
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        reason = (
            _TOO_LONG if "field limit" in str(error) else f"{_CSV_ERRORS.get(str(error), error)}"
        )
        raise DataError(f"{where}, line {start}: {reason}") from None
    finally:
        csv.field_size_limit(limit)


_CSV_ERRORS = {
    "unexpected end of data": "a quote is opened and never closed",
    "',' expected after '\"'": "a comma must follow the closing quote (a quote inside a text is "
    "written twice)",
    "'\t' expected after '\"'": "a tab must follow the closing quote (a quote inside a text is "
    "written twice)",
}


def _jsonl(content: str, where: str, text: str, label: str | None) -> Iterator[Row]:
    # not splitlines: JSON texts may hold U+2028
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        at = f"{where}, line {number}"
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{at}: is not JSON ({error.msg}, column {error.colno})") from None
        except (ValueError, RecursionError):
            raise DataError(f"{at}: holds a number or a nesting beyond any measure") from None
        if not isinstance(found, dict):
            raise DataError(f"{at}: must be a JSON object, is {a(found)}")
        columns = list(found)
        column(at, columns, text, "text")
        if label is not None:
            column(at, columns, label, "label")
        yield Row(f"line {number}", found[text], None if label is None else found[label])
