"""The error tree: every error that a user can cause or must act upon.

A class's docstring is the sentence that the user reads when no other is given. The command line
prints the sentence and exits with the class's `exit_code`; anything that is not a `TunerError` is a
bug and keeps its traceback.
"""


class TunerError(Exception):
    """Something went wrong."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class BadInputError(TunerError):
    """The input is not usable."""

    exit_code = 2


class SpecError(BadInputError):
    """The study file is not valid."""


class DataError(BadInputError):
    """The data is missing, unreadable or too small."""


class StudyNotFoundError(BadInputError):
    """There is no study of that name."""


class StudyExistsError(BadInputError):
    """A study of that name exists already."""


class StudyStateError(BadInputError):
    """The study's state does not allow that."""


class TrialNotFoundError(BadInputError):
    """There is no such trial."""


class NothingToExportError(BadInputError):
    """The study has no finished trial yet, so there is nothing to export."""


class DatabaseError(TunerError):
    """The database could not do what was asked."""


class DatabaseUnreachableError(DatabaseError):
    """The database cannot be reached."""

    exit_code = 2


class SchemaVersionError(DatabaseError):
    """The database's schema is older or newer than this tuner."""

    exit_code = 2


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL server could not be started."""


class LeaseLostError(TunerError):
    """The trial's lease was lost: another worker or the reaper has taken it."""


class ExecutorError(TunerError):
    """An executor process could not be started."""


class DiskFullError(TunerError):
    """There is no space left on the device."""
