"""Connections: one `Database` a process, made from the settings; only the edge commits.

Every connection runs in UTC, notices a dead network within seconds and names its process in
`pg_stat_activity`. Errors of the driver come out as `DatabaseUnreachableError` where waiting helps,
as `BadInputError` where the server refuses what the URL says, and as `DiskFullError` where the disk
is full; everything else is a bug and stays as it is.
"""

import json
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import psycopg2
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError

from tuner.database import embedded
from tuner.errors import BadInputError, DatabaseUnreachableError, DiskFullError
from tuner.settings import Settings

CONNECT_TIMEOUT = 10  # seconds
TCP_USER_TIMEOUT = 5_000  # milliseconds without an acknowledgement until a connection is dead
RESTED = 60.0  # seconds after which a connection is asked whether it lives before it is used

Connected = Connection  # for signatures of those who may not know SQLAlchemy
Write = Callable[[Connection], object]  # a single statement, to be run when the database is there

# connection lost, server shutting down or starting, too many connections, a deadlock's victim
_WAITING_HELPS = ("08", "57P", "53300", "40P01", "40001")
_DISK_FULL = "53100"
# What a server says that will say the same next time; an error while connecting has no SQLSTATE. In
# other languages than English it counts as unreachable.
_MASK = "***"
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|not permitted to log in"
    r'|(database|role) ".*" does not exist|permission denied for database'
    r"|unsupported startup parameter"
)


class Database:
    """A pool of connections to one PostgreSQL server; holds the embedded one up if it is that."""

    def __init__(
        self,
        url: URL,
        hold: embedded.EmbeddedServer | None = None,
        *,
        pool_size: int = 4,
        max_overflow: int = 12,
    ) -> None:
        self.url = url
        self._hold = hold
        self.engine = _engine(url, pool_size=pool_size, max_overflow=max_overflow)

    @property
    def is_embedded(self) -> bool:
        """Whether this process holds the embedded server."""
        return self._hold is not None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: commits at the end of the block, rolls back on an exception."""
        with translated(self.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """A connection in which each statement is its own transaction (one round trip)."""
        with translated(self.url), self.engine.connect() as connection:
            # SQLAlchemy's way to AUTOCOMMIT sends a statement before and another one after
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.autocommit = True
            try:
                yield connection
            finally:
                with suppress(psycopg2.InterfaceError):  # it is closed
                    driver.autocommit = False

    def close(self) -> None:
        """Close the pool and leave the embedded server."""
        self.engine.dispose()
        if self._hold is not None:
            self._hold.release()
            self._hold = None


def connect(settings: Settings) -> Database:
    """The database that the settings name; starts the embedded server where they name none."""
    if settings.database_url is None:
        hold = embedded.hold(settings.home, linger=settings.database_linger)
        return Database(make_url(hold.url), hold)
    return Database(parse_url(settings.database_url.get_secret_value()))


def parse_url(text: str) -> URL:
    """A PostgreSQL URL in SQLAlchemy's or libpq's spelling; refuses every other server."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        # the text is not shown: it holds a password
        raise BadInputError(
            "TUNER_DATABASE_URL is not a URL; it looks like postgresql://user:password@host/database"
        ) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise BadInputError(
            f"TUNER_DATABASE_URL names a {url.get_backend_name()} server; tuner needs PostgreSQL "
            "(postgresql://user:password@host/database)"
        )
    return url.set(drivername="postgresql+psycopg2")


def _engine(url: URL, *, pool_size: int, max_overflow: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        json_serializer=_json_text,
        use_native_hstore=False,  # none is stored, and asking for its type costs a round trip
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "tcp_user_timeout": TCP_USER_TIMEOUT,
            "application_name": f"tuner {Path(sys.argv[0] or 'python').name} {os.getpid()}",
            # a role named as our schema would look there first, and find our `trials` for Optuna's
            "options": "-c TimeZone=UTC -c search_path=public",
        },
    )
    event.listen(engine, "checkin", _rests)
    event.listen(engine, "checkout", _alive)
    return engine


def _rests(_: Any, record: Any) -> None:
    record.info["rests"] = time.monotonic()


def _alive(connection: Any, record: Any, _: Any) -> None:
    """Replace a dead connection before it is used, without a round trip for the usual one.

    A server that ends says so or closes the socket: there is something to read where nobody asked
    for anything. Only then, or after a long rest (a firewall may have forgotten the connection),
    is the server asked. Connections that die later fail in use, as they would after a ping.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):
            connection.poll()  # a hint, perhaps; what is left then is the end
        rested = time.monotonic() - record.info.get("rests", time.monotonic())
        if rested < RESTED and not poll.poll(0):
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise DisconnectionError from error


def _json_text(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn the driver's errors that a user can act upon into tuner's."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "pgcode", None) or ""
        if code == _DISK_FULL:
            raise DiskFullError(f"PostgreSQL at {address(url)} has no disk space left") from error
        if (
            error.connection_invalidated
            or code.startswith(_WAITING_HELPS)
            or (isinstance(error.orig, psycopg2.OperationalError) and not code)
        ):
            said = _first_line(error.orig)
            if not code and _REFUSED.search(said):
                cure = (
                    "a PgBouncer needs `ignore_startup_parameters = options`"
                    if "startup parameter" in said
                    else "see TUNER_DATABASE_URL"
                )
                raise BadInputError(
                    f"PostgreSQL at {address(url)} refuses the connection: {said}; {cure}"
                ) from error
            raise DatabaseUnreachableError(
                f"PostgreSQL at {address(url)} does not answer: {said}"
            ) from error
        raise


def masked(url: URL) -> str:
    """The URL as text without any secret: libpq takes passwords among its options as well."""
    query = {key: _MASK if "password" in key.lower() else value for key, value in url.query.items()}
    shown = url.set(query=query).render_as_string(hide_password=True)
    return shown.replace(quote_plus(_MASK), _MASK)


def address(url: URL) -> str:
    """Where the server is, without user and password."""
    host = url.query.get("host") or url.host or "localhost"
    return f"{host}:{url.port or 5432}/{url.database or url.username or ''}"


def _first_line(error: BaseException | None) -> str:
    text = str(error).strip()
    # libpq prefixes `connection to server at "…", port … failed: FATAL:  `
    return text.splitlines()[0].rsplit("failed: ", 1)[-1].removeprefix("FATAL:  ") if text else "?"
