"""Databases that are not tuner's, in which Optuna's own storages keep studies."""

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from tuner.database.engine import masked
from tuner.errors import BadInputError

DriverError = DBAPIError  # what every driver's error becomes


def url(text: str, *, must_exist: bool = False) -> str:
    """Return the URL with an installed driver; BadInputError if it names no database.

    `must_exist` refuses an SQLite file that does not exist: SQLite would make an empty one.
    """
    try:
        parsed = make_url(text)
        parsed.get_dialect()
    except NoSuchModuleError:
        raise BadInputError(
            f"there is no kind of database `{parsed.drivername}`; Optuna knows sqlite, "
            "postgresql and mysql"
        ) from None
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        # the text is not shown: it may hold a password
        raise BadInputError(
            "that is not a database's URL; it looks like sqlite:///study.db or "
            "postgresql://user:password@host/database"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg2")  # SQLAlchemy's default is another one
    if must_exist and _is_missing_file(parsed):
        raise BadInputError(f"there is no file {parsed.database}")
    return parsed.render_as_string(hide_password=False)


def message(error: BaseException) -> str:
    """Return the first line of a driver's own message, without what SQLAlchemy and Optuna add."""
    inner = error.__cause__ if isinstance(error.__cause__, DBAPIError) else error
    text = str(inner.orig if isinstance(inner, DBAPIError) else inner).strip()
    return text.splitlines()[0] if text else type(error).__name__


def mask(text: str) -> str:
    """Return a URL without its password, for messages."""
    return masked(make_url(text))


def _is_missing_file(parsed: URL) -> bool:
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return False
    if parsed.database == ":memory:" or parsed.database.startswith("file:"):
        return False
    return not Path(parsed.database).exists()
