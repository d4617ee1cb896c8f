"""What PostgreSQL's errors mean to a user, by their SQLSTATE; all of them, in one place.

Errors where waiting helps become `DatabaseUnreachableError`: a worker goes on training, keeps what
it reports and delivers it later, as it does while the server is away. What the server will refuse
again becomes `BadInputError` with the way out. No sentence holds SQL or a parameter's value.
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

# after these, the server on the other end may be another one: the next attempt connects anew
CONNECT_ANEW = ("25006",)

# an error while connecting has no SQLSTATE; in other languages than English it counts as away
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|not permitted to log in"
    r'|(database|role) ".*" does not exist|permission denied for database'
    r"|unsupported startup parameter"
)
_DENIED = re.compile(r"(?:permission denied for|must be owner of) (\w+) \"?([^\"]+?)\"?$")


@contextmanager
def translated(url: URL, *, is_patient: bool = False) -> Iterator[None]:
    """Turn the driver's errors into tuner's.

    `is_patient`: also a refused login counts as away, for a password that is being changed.
    """
    try:
        yield
    except DBAPIError as error:
        raise _translate(url, error.orig, error.connection_invalidated, is_patient) from error
    except psycopg2.Error as error:  # while a new connection is set up
        raise _translate(url, error, True, is_patient) from error


def sqlstate(error: BaseException) -> str:
    """The five characters of an error of the driver, SQLAlchemy's or its own; else nothing."""
    return getattr(getattr(error, "orig", error), "pgcode", None) or ""


def _translate(
    url: URL, error: BaseException | None, is_gone: bool, is_patient: bool
) -> TunerError:
    code, where, said = getattr(error, "pgcode", None) or "", address(url), _first_line(error)
    for prefix, make in _KNOWN:
        if code.startswith(prefix):
            return make(url, said)
    if is_gone or (isinstance(error, psycopg2.OperationalError) and not code):
        if code.startswith("28") or (not code and _REFUSED.search(said)):
            if is_patient and "startup parameter" not in said:
                return DatabaseUnreachableError(f"PostgreSQL at {where} refuses the login: {said}")
            return _refused(url, said)
        return DatabaseUnreachableError(f"PostgreSQL at {where} does not answer: {said}")
    suffix = f" (SQLSTATE {code})" if code else ""
    return DatabaseError(f"PostgreSQL at {where} reports an error: {said}{suffix}")


def _refused(url: URL, said: str) -> TunerError:
    cure = "see TUNER_DATABASE_URL"
    if "startup parameter" in said:
        cure = "a PgBouncer needs `ignore_startup_parameters = options`"
    elif "permission denied for database" in said:
        cure = f"GRANT CONNECT ON DATABASE {url.database} TO {url.username}"
    return DatabaseRefusesError(
        f"PostgreSQL at {address(url)} refuses the connection: {said}; {cure}"
    )


def _away(url: URL, said: str) -> TunerError:
    return DatabaseUnreachableError(f"PostgreSQL at {address(url)} does not answer: {said}")


def _read_only(url: URL, said: str) -> TunerError:
    return DatabaseUnreachableError(
        f"PostgreSQL at {address(url)} takes no writes now ({said}): it is a standby or a failover "
        "is under way; name the primary server in TUNER_DATABASE_URL"
    )


def _cancelled(url: URL, said: str) -> TunerError:
    return DatabaseUnreachableError(
        f"PostgreSQL at {address(url)} has ended a statement ({said}); if that happens often, "
        f"raise the limit: ALTER ROLE {url.username} SET statement_timeout = '60s'"
    )


def _locked(url: URL, said: str) -> TunerError:
    return DatabaseUnreachableError(
        f"PostgreSQL at {address(url)} has not got a lock in time ({said}); if that happens often, "
        f"raise the limit: ALTER ROLE {url.username} SET lock_timeout = '60s'"
    )


def _full(url: URL, _: str) -> TunerError:
    return DatabaseFullError(f"PostgreSQL at {address(url)} has no disk space left")


def _lacks_resources(url: URL, said: str) -> TunerError:
    return DatabaseUnreachableError(f"PostgreSQL at {address(url)} lacks resources: {said}")


def _denied(url: URL, said: str) -> TunerError:
    """What may not be done, and the grant that allows it."""
    match = _DENIED.search(said)
    kind, name = (match[1], match[2]) if match else ("", "")
    role = url.username
    if kind == "database":
        grant = f"GRANT CREATE ON DATABASE {name} TO {role}"
    elif kind == "schema":
        grant = f"GRANT USAGE, CREATE ON SCHEMA {name} TO {role}"
    elif "must be owner" in said:
        grant = f"REASSIGN OWNED to {role}, or run `tuner db upgrade` as the owner of {name}"
    else:
        grant = (
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {role} "
            f"(and USAGE ON ALL SEQUENCES)"
        )
    return BadInputError(
        f"PostgreSQL at {address(url)} does not allow the role {role} to do that: {said}; a "
        f"superuser can allow it: {grant}"
    )


# the first prefix that fits
_KNOWN: tuple[tuple[str, Callable[[URL, str], TunerError]], ...] = (
    ("25006", _read_only),
    ("57014", _cancelled),
    ("55P03", _locked),
    ("57P", _away),  # shutting down, crashed, starting
    ("25P03", _away),  # idle for longer than the server allows, and so is the next
    ("25P04", _away),
    ("08", _away),
    ("40", _away),  # a deadlock's victim, among others
    ("58", _away),  # its disk or system fails
    ("53100", _full),
    ("53300", _away),  # too many connections
    ("53", _lacks_resources),
    ("42501", _denied),
)


def address(url: URL) -> str:
    """Where the server is, without user and password."""
    host = url.query.get("host") or url.host or "localhost"
    return f"{host}:{url.port or 5432}/{url.database or url.username or ''}"


def _first_line(error: BaseException | None) -> str:
    text = str(error).strip()
    # libpq prefixes `connection to server at "…", port … failed: FATAL:  `
    return text.splitlines()[0].rsplit("failed: ", 1)[-1].removeprefix("FATAL:  ") if text else "?"
