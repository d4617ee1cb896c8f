"""Tables in JSON: an object per line, or a list of objects."""

import json
from collections.abc import Iterator
from typing import Any

from tuner.data.sources.columns import Row, column
from tuner.errors import DataError
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import a


def rows(content: str, where: str, spec: DataSpec, label: bool) -> Iterator[Row]:
    """Yield the rows of a list of objects, or of lines with an object each."""
    if not content.lstrip().startswith("["):
        if _is_single(content.strip(), spec):
            raise DataError(
                f"{where}: is a single JSON object; a table must be a list of objects, or have an "
                "object per line"
            )
        yield from lines(content, where, spec, label)
        return
    entries = _parse(content, where, line=None)
    for number, entry in enumerate(entries, start=1):
        yield _row(entry, where, f"entry {number}", spec, label)


def _is_single(content: str, spec: DataSpec) -> bool:
    """Whether this is one object but no row: over several lines, or without the column."""
    first, *others = content.split("\n")
    if first.strip() == "{":
        return True
    if others or not content.startswith("{"):
        return False
    try:
        return spec.text not in json.loads(content)
    except (ValueError, RecursionError):
        return False  # `lines` reports what is wrong with it


def lines(content: str, where: str, spec: DataSpec, label: bool) -> Iterator[Row]:
    """Yield the rows of JSON Lines; blank lines are skipped."""
    # not splitlines: JSON texts may hold U+2028
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield _row(_parse(line, where, line=number), where, f"line {number}", spec, label)


def _parse(content: str, where: str, line: int | None) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        at = f"{where}, line {line or error.lineno}"
        raise DataError(f"{at}: is not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError):
        at = where if line is None else f"{where}, line {line}"
        raise DataError(
            f"{at}: holds a number that is too long or objects too deeply nested"
        ) from None


def _row(entry: object, where: str, at: str, spec: DataSpec, label: bool) -> Row:
    if not isinstance(entry, dict):
        raise DataError(f"{where}, {at}: must be a JSON object, is {a(entry)}")
    columns = list(entry)
    column(f"{where}, {at}", columns, spec.text, "text")
    if label:
        column(f"{where}, {at}", columns, spec.label, "label")
    return Row(at, entry[spec.text], entry[spec.label] if label else None)
