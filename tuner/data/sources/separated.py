"""CSV and TSV files: their separator, header and rows."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tuner.data.sources.columns import LONGEST, TOO_LONG, Row, column
from tuner.errors import DataError
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import counted, quoted

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_HEAD = 100_000  # characters in which the header must be


class Layout(NamedTuple):
    """How a file's cells are laid out."""

    separator: str
    padded: bool  # blanks follow separators, also before quotes


def detect_layout(content: str, spec: DataSpec, default: str, label: bool) -> Layout:
    """Use the study file's separator, or the first with which the header has the columns.

    If none fits, use `default`, so that messages refer to it.
    """
    columns = {spec.text, spec.label} if label else {spec.text}
    separator_of_study = "\t" if spec.separator == "tab" else spec.separator
    candidates = (
        [separator_of_study] if separator_of_study else list(dict.fromkeys([default, *SEPARATORS]))
    )
    for separator in candidates:
        header = _header(content, separator)
        if columns <= set(header):
            return Layout(separator, padded=False)
        if columns <= set(map(_strip, header)):
            return Layout(separator, padded=any(cell[:1] == " " for cell in header[1:]))
    if len(_header(content, candidates[0])) > 1:
        return Layout(candidates[0], padded=False)
    # so that a message lists columns, not the whole line
    return Layout(max(candidates, key=lambda s: len(_header(content, s))), padded=False)


def rows(content: str, where: str, spec: DataSpec, layout: Layout, label: bool) -> Iterator[Row]:
    """Yield the rows; DataError names the first wrong one."""
    lines = _lines(content, where, layout)
    _, header = next(lines, (0, []))
    columns = {spec.text, spec.label} if label else {spec.text}
    names = header if columns <= set(header) else list(map(_strip, header))
    hint = "; if the first line is no header, add one"
    if len(names) == 1 and spec.text in names[0]:
        hint = "; set `separator` to the character between cells"
    at_text = column(where, names, spec.text, "text", hint)
    at_label = column(where, names, spec.label, "label", hint) if label else None
    for line, cells in lines:
        if len(cells) != len(header):
            too_few = len(cells) < len(header)
            name = _name(layout.separator)
            hint = "" if too_few else f" (a text with a {name} must be in quotes)"
            raise DataError(
                f"{where}, line {line}: has {counted(len(cells), 'cell')}, the header has "
                f"{len(header)}{hint}"
            )
        yield Row(f"line {line}", cells[at_text], None if at_label is None else cells[at_label])


def _strip(cell: str) -> str:
    return cell.strip().strip("\ufeff").strip()


def _name(separator: str) -> str:
    return SEPARATORS.get(separator, quoted(separator))


def _header(content: str, separator: str) -> Sequence[str]:
    """Return the cells of the first line that is not blank; none if it cannot be read."""
    head = content[:_HEAD]
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
    try:
        return next((cells for cells in reader if _is_row(cells)), [])
    except csv.Error:
        return []


def _is_row(cells: Sequence[str]) -> bool:
    return len(cells) > 1 or (len(cells) == 1 and bool(cells[0].strip()))


def _lines(content: str, where: str, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not blank, each with the number of its first line."""
    # strict: otherwise an unclosed quote silently swallows the rest of the file
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=layout.separator,
        skipinitialspace=layout.padded,
        strict=True,
    )
    limit = csv.field_size_limit(LONGEST)
    start = 1
    try:
        for cells in reader:
            if _is_row(cells):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{where}, line {start}: {_reason(str(error))}") from None
    finally:
        csv.field_size_limit(limit)


def _reason(error: str) -> str:
    if "field limit" in error:
        return TOO_LONG
    if error == "unexpected end of data":
        return "a quote is opened and never closed"
    if separator := re.fullmatch("'(.)' expected after '\"'", error):
        return (
            f"a {_name(separator[1])} must follow the closing quote (write a quote inside a text "
            "twice)"
        )
    return error
