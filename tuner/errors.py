"""The error tree: every error that a user can cause or must act upon.

A class's docstring is its default message. The command line prints the message and exits with the
class's `exit_code`; anything that is not a `TunerError` is a bug and keeps its traceback.
"""

from collections.abc import Sequence
from typing import NamedTuple


class TunerError(Exception):
    """Something went wrong."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class BadInputError(TunerError):
    """The input is not usable."""

    exit_code = 2


class Issue(NamedTuple):
    """One problem in a study file: its place, as keys and list indices, and its message."""

    loc: tuple[str | int, ...]
    message: str  # continues the sentence `search.lr.low: …`
    of_key: bool = False  # the last key itself is wrong, and the message names it

    def __str__(self) -> str:
        where = dotted(self.loc[:-1] if self.of_key else self.loc)
        return f"{where}: {self.message}" if where else self.message


def visible(text: str) -> str:
    r"""Escape invisible and control characters, as in `\x1b`; the text stays on one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def overwritten(text: str) -> str:
    r"""Reduce each line to what a terminal finally shows: the part behind its last `\r`.

    Progress bars rewrite a line like that. Longer text that was overwritten in part is dropped.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(
        next((part for part in reversed(line.split("\r")) if part), "") for line in lines
    )


def dotted(loc: Sequence[str | int]) -> str:
    """Format `("enqueue", 0, "lr")` as `enqueue[0].lr`, on a single line."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = visible(part if len(part) <= 60 else part[:59] + "…")
            text += f".{key}" if text else key
    return text


class SpecError(BadInputError):
    """The study file is not valid."""

    def __init__(self, message: str | None = None, issues: Sequence[Issue] = ()) -> None:
        super().__init__(message or "\n".join(map(str, issues)) or None)
        self.issues = tuple(issues)  # for callers that know their lines


class DataError(BadInputError):
    """The data is missing, unreadable or too small."""


class StudyNotFoundError(BadInputError):
    """There is no study of that name."""


class StudyExistsError(BadInputError):
    """A study of that name exists already."""


class StudyStateError(BadInputError):
    """The study's state does not allow that."""


class StudyClosedError(StudyStateError):
    """The study gives no further trial."""


class TrialNotFoundError(BadInputError):
    """There is no such trial."""


class WorkerNotFoundError(BadInputError):
    """There is no such worker."""


class NothingToExportError(BadInputError):
    """The study has no finished trial yet, so there is nothing to export."""


class AllTrialsFailedError(TunerError):
    """All trials of the study failed."""


class AccountError(BadInputError):
    """There is no such account, or it may not do that."""


class DatabaseError(TunerError):
    """The database could not execute a request."""


class DatabaseUnreachableError(DatabaseError):
    """The database cannot be reached."""

    exit_code = 2


class DatabaseRefusesError(BadInputError):
    """The database does not let this role in."""


class DatabaseFullError(DatabaseUnreachableError):
    """The database's server has no disk space left."""


class SchemaVersionError(DatabaseError):
    """The database's schema is older or newer than this tuner."""

    exit_code = 2


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL server could not be started."""


class LeaseLostError(TunerError):
    """The trial's lease was lost: another worker has taken it, or it was requeued."""


class ExecutorError(TunerError):
    """An executor process could not be started."""


class DiskFullError(TunerError):
    """There is no space left on the device."""
