"""The rows of a table, and looking up its columns."""

from collections.abc import Sequence
from typing import NamedTuple

from tuner.errors import DataError
from tuner.study_file.messages import listed, nearest, quoted

LONGEST = 1_000_000  # characters per cell; an unclosed quote swallows the rest of a file
TOO_LONG = f"a cell has more than {LONGEST:,} characters; is a quote not closed?"


class Row(NamedTuple):
    """One row of a table."""

    at: str  # as messages name it: line 7
    text: object
    label: object


def column(where: str, columns: Sequence[str], name: str, option: str, hint: str = "") -> int:
    """Return the index of a column; DataError if no column or several have that name.

    `option` is the study file's key that names it; `hint` is added if no name is similar.
    """
    if columns.count(name) == 1:
        return columns.index(name)
    if name in columns:
        raise DataError(f"{where}: has {columns.count(name)} columns {quoted(name)}; rename one")
    # a single column may be a whole line, which is similar to nothing
    close = nearest(name, columns) if len(columns) > 1 else None
    guess = f"did you mean {quoted(close)}? " if close is not None else ""
    raise DataError(
        f"{where}: has no column {quoted(name)}; {guess}its columns are {listed(columns)} "
        f"(set `{option}` in the study file's data section to the right one"
        f"{hint if close is None else ''})"
    )
