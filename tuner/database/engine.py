"""Connections: one `Database` per process, made from the settings; only the edge commits.

Every connection runs in UTC, notices a dead network within seconds and names its process in
`pg_stat_activity`. The driver's errors come out as tuner's (`driver_errors.py`).
"""

import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import psycopg2
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError

from tuner import files
from tuner.database import embedded
from tuner.database.driver_errors import CONNECT_ANEW, address, sqlstate, translated
from tuner.errors import BadInputError, TunerError
from tuner.settings import Settings

CONNECT_TIMEOUT = 10  # seconds
TCP_USER_TIMEOUT = 5_000  # milliseconds without an acknowledgement until a connection is dead
RESTED = 60.0  # seconds of rest after which a connection is tested before it is used

Connected = Connection  # for signatures of modules that may not import SQLAlchemy
Write = Callable[[Connection], object]  # a single statement, run once the database is there

_MASK = "***"


class Database:
    """A pool of connections to one PostgreSQL server; holds the embedded server, if it is that."""

    def __init__(
        self,
        url: URL,
        hold: embedded.EmbeddedServer | None = None,
        *,
        pool_size: int = 4,
        max_overflow: int = 12,
    ) -> None:
        self.url = url
        self.is_patient = False
        """Whether a refused login counts as a server that is away, for it has let us in before."""
        self._hold = hold
        self.engine = _engine(url, pool_size=pool_size, max_overflow=max_overflow)

    @property
    def is_embedded(self) -> bool:
        """Whether this process holds the embedded server."""
        return self._hold is not None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction: commits at the end of the block, rolls back on an exception."""
        with self._translated(), self.engine.begin() as connection, _replaced(connection):
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Open a connection in which each statement is its own transaction (one round trip)."""
        with self._translated(), self.engine.connect() as connection, _replaced(connection):
            # SQLAlchemy's own AUTOCOMMIT sends a statement before and another one after
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.autocommit = True
            try:
                yield connection
            finally:
                with suppress(psycopg2.InterfaceError):  # it is closed
                    driver.autocommit = False

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.url, is_patient=self.is_patient)

    def close(self) -> None:
        """Close the pool and release the embedded server."""
        self.engine.dispose()
        if self._hold is not None:
            self._hold.release()
            self._hold = None


@contextmanager
def _replaced(connection: Connection) -> Iterator[None]:
    """Drop the connection after errors that another server may not have: it may be a standby."""
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) in CONNECT_ANEW:
            connection.invalidate()
        raise


def connect(settings: Settings) -> Database:
    """Connect to the database in the settings; starts the embedded server if they name none."""
    if settings.database_url is None:
        hold = embedded.hold(settings.home, linger=settings.database_linger)
        return Database(make_url(hold.url), hold)
    with suppress(TunerError):  # whatever needs the home reports it
        files.make_home(settings.home)
    return Database(parse_url(settings.database_url.get_secret_value()))


def parse_url(text: str) -> URL:
    """Parse a PostgreSQL URL in SQLAlchemy's or libpq's spelling; refuses other servers."""
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
        use_native_hstore=False,  # none is stored, and looking its type up costs a round trip
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "tcp_user_timeout": TCP_USER_TIMEOUT,
            "application_name": f"tuner {Path(sys.argv[0] or 'python').name} {os.getpid()}",
            # for a role named like our schema, `trials` would be ours instead of Optuna's
            "options": "-c TimeZone=UTC -c search_path=public",
        },
    )
    event.listen(engine, "connect", partial(_check_encoding, url))
    event.listen(engine, "checkin", _note_checkin)
    event.listen(engine, "checkout", _check_alive)
    return engine


def _check_encoding(url: URL, driver: Any, _: object) -> None:
    """BadInputError if the database cannot hold every text that trials and users write."""
    encoding = driver.get_parameter_status("server_encoding")  # sent when the connection starts
    if encoding not in ("UTF8", None):
        raise BadInputError(
            f"the database {address(url)} is encoded in {encoding}, tuner needs UTF8: make another "
            f"one with CREATE DATABASE {url.database} ENCODING 'UTF8' TEMPLATE template0"
        )


def _note_checkin(_: Any, record: Any) -> None:
    record.info["rests"] = time.monotonic()


def _check_alive(connection: Any, record: Any, _: Any) -> None:
    """Replace a dead connection before it is used, without a round trip for the usual one.

    A server that ends says so or closes the socket: there is something to read though nothing was
    asked. Only then, or after a long rest (a firewall may have forgotten the connection), is the
    server asked. Connections that die later fail in use, as they would after a ping.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):
            connection.poll()  # a hint, perhaps; if there still is something, it is the end
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


def masked(url: URL) -> str:
    """Return the URL as text without secrets: libpq takes passwords as options, too."""
    query = {key: _MASK if "password" in key.lower() else value for key, value in url.query.items()}
    text = url.set(query=query).render_as_string(hide_password=True)
    return text.replace(quote_plus(_MASK), _MASK)
