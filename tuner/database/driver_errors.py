"""What PostgreSQL's errors mean to a user, by SQLSTATE, all in one place.

An error that may pass becomes a `DatabaseUnreachableError`: a worker goes on training, keeps what
it reports and delivers it later, as it does while the server is away. One that will come again
becomes a `BadInputError` with the way out. No message holds SQL or a parameter's value.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tuner.errors import (
    BadInputError,
    DatabaseError,
    DatabaseFullError,
    DatabaseRefusesError,
    DatabaseUnreachableError,
    TunerError,
)

SCHEMA = "tuner"

# after these the server on the other end may be another one: the next attempt reconnects
CONNECT_ANEW = ("25006",)

# an error while connecting has no SQLSTATE; in a language other than English it counts as away
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|not permitted to log in"
    r'|(database|role) ".*" does not exist|permission denied for database'
    r"|unsupported startup parameter"
)
_DENIED = re.compile(r"(?:permission denied for|must be owner of) (\w+) \"?([^\"]+?)\"?$")


@contextmanager
def translated(url: URL, *, is_patient: bool = False) -> Iterator[None]:
    """Turn the driver's errors into tuner's.

    `is_patient`: a refused login counts as away too, for a password may be changed meanwhile.
    """
    try:
        yield
    except DBAPIError as error:
        raise _translate(url, error.orig, error.connection_invalidated, is_patient) from error
    except psycopg2.Error as error:  # while a new connection is set up
        raise _translate(url, error, True, is_patient) from error


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an error of the driver or of SQLAlchemy; empty if it has none."""
    return getattr(getattr(error, "orig", error), "pgcode", None) or ""


def _translate(
    url: URL, error: BaseException | None, is_gone: bool, is_patient: bool
) -> TunerError:
    code, where, message = getattr(error, "pgcode", None) or "", address(url), _first_line(error)
    for prefix, make in _BY_PREFIX:
        if code.startswith(prefix):
            return make(url, message)
    if is_gone or (isinstance(error, psycopg2.OperationalError) and not code):
        if code.startswith("28") or (not code and _REFUSED.search(message)):
            if is_patient and "startup parameter" not in message:
                return DatabaseUnreachableError(
                    f"PostgreSQL at {where} refuses the login: {message}"
                )
            return _refused(url, message)
        return DatabaseUnreachableError(f"PostgreSQL at {where} does not answer: {message}")
    suffix = f" (SQLSTATE {code})" if code else ""
    return DatabaseError(f"PostgreSQL at {where} reports an error: {message}{suffix}")


def _refused(url: URL, message: str) -> TunerError:
    cure = "see TUNER_DATABASE_URL"
    if "startup parameter" in message:
        cure = "a PgBouncer needs `ignore_startup_parameters = options`"
    elif "permission denied for database" in message:
        cure = f"GRANT CONNECT ON DATABASE {url.database} TO {url.username}"
    return DatabaseRefusesError(
        f"PostgreSQL at {address(url)} refuses the connection: {message}; {cure}"
    )


def _away(url: URL, message: str) -> TunerError:
    return DatabaseUnreachableError(f"PostgreSQL at {address(url)} does not answer: {message}")


def _read_only(url: URL, message: str) -> TunerError:
    return DatabaseUnreachableError(
        f"PostgreSQL at {address(url)} takes no writes now ({message}): it is a standby or a "
        "failover is under way; name the primary server in TUNER_DATABASE_URL"
    )


def _cancelled(url: URL, message: str) -> TunerError:
    return DatabaseUnreachableError(
        f"PostgreSQL at {address(url)} has ended a statement ({message}); if that happens often, "
        f"raise the limit: ALTER ROLE {url.username} SET statement_timeout = '60s'"
    )


def _locked(url: URL, message: str) -> TunerError:
    return DatabaseUnreachableError(
        f"PostgreSQL at {address(url)} has not got a lock in time ({message}); if that happens "
        f"often, raise the limit: ALTER ROLE {url.username} SET lock_timeout = '60s'"
    )


def _full(url: URL, _: str) -> TunerError:
    return DatabaseFullError(f"PostgreSQL at {address(url)} has no disk space left")


def _lacks_resources(url: URL, message: str) -> TunerError:
    return DatabaseUnreachableError(f"PostgreSQL at {address(url)} lacks resources: {message}")


def _denied(url: URL, message: str) -> TunerError:
    """Return what the role may not do, and the grant that would allow it."""
    match = _DENIED.search(message)
    kind, name = (match[1], match[2]) if match else ("", "")
    role = url.username
    if kind == "database":
        grant = f"GRANT CREATE ON DATABASE {name} TO {role}"
    elif kind == "schema":
        grant = f"GRANT USAGE, CREATE ON SCHEMA {name} TO {role}"
    elif "must be owner" in message:
        grant = f"REASSIGN OWNED to {role}, or run `tuner db upgrade` as the owner of {name}"
    else:
        grant = (
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {role} "
            f"(and USAGE ON ALL SEQUENCES)"
        )
    return BadInputError(
        f"PostgreSQL at {address(url)} does not allow the role {role} to do that: {message}; a "
        f"superuser can allow it: {grant}"
    )


# the first prefix that matches counts
_BY_PREFIX: tuple[tuple[str, Callable[[URL, str], TunerError]], ...] = (
    ("25006", _read_only),
    ("57014", _cancelled),
    ("55P03", _locked),
    ("57P", _away),  # shutting down, crashed, starting
    ("25P03", _away),  # idle for longer than the server allows, as is the next
    ("25P04", _away),
    ("08", _away),
    ("40", _away),  # a deadlock's victim, among others
    ("58", _away),  # its disk or its system fails
    ("53100", _full),
    ("53300", _away),  # too many connections
    ("53", _lacks_resources),
    ("42501", _denied),
)


def address(url: URL) -> str:
    """Return where the server is, without user and password."""
    host = url.query.get("host") or url.host or "localhost"
    return f"{host}:{url.port or 5432}/{url.database or url.username or ''}"


def _first_line(error: BaseException | None) -> str:
    text = str(error).strip()
    # libpq prefixes `connection to server at "…", port … failed: FATAL:  `
    return text.splitlines()[0].rsplit("failed: ", 1)[-1].removeprefix("FATAL:  ") if text else "?"
