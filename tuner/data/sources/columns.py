"""Finding a named column."""

from collections.abc import Sequence

from tuner.errors import DataError
from tuner.spec.words import listed, nearest, quoted


def column(where: str, columns: Sequence[str], name: str, option: str) -> int:
    """The place of a named column; DataError if there is none of that name, or two.

    `option` is the study file's key that names it.
    """
    if columns.count(name) == 1:
        return columns.index(name)
    if name in columns:
        raise DataError(f"{where}: has {columns.count(name)} columns {quoted(name)}")
    close = nearest(name, columns)
    hint = f"did you mean {quoted(close)}? " if close is not None else ""
    raise DataError(
        f"{where}: has no column {quoted(name)}; {hint}its columns are {listed(columns)} "
        f"(`{option}` in the study file's data section names the right one)"
    )
