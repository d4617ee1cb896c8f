"""Rows of a table, and finding its named columns."""

from collections.abc import Sequence
from typing import NamedTuple

from tuner.errors import DataError
from tuner.study_file.messages import listed, nearest, quoted

LONGEST = 1_000_000  # characters of a cell; a quote that is not closed swallows the rest of a file
TOO_LONG = f"a cell has more than {LONGEST:,} characters; is a quote not closed?"


class Row(NamedTuple):
    """One row of a table."""

    at: str  # as messages name it: line 7
    text: object
    label: object


def column(where: str, columns: Sequence[str], name: str, option: str, hint: str = "") -> int:
    """The place of a named column; DataError if there is none of that name, or two.

    `option` is the study file's key that names it; `hint` follows where no name comes close.
    """
    if columns.count(name) == 1:
        return columns.index(name)
    if name in columns:
        raise DataError(f"{where}: has {columns.count(name)} columns {quoted(name)}; rename one")
    # a single column may be a whole line, which is close to nothing
    close = nearest(name, columns) if len(columns) > 1 else None
    guess = f"did you mean {quoted(close)}? " if close is not None else ""
    raise DataError(
        f"{where}: has no column {quoted(name)}; {guess}its columns are {listed(columns)} "
        f"(`{option}` in the study file's data section names the right one"
        f"{hint if close is None else ''})"
    )
