"""Statements that the server parses and plans once per connection: half the cost of a short one.

A pooler between us and the server may run each statement on another of its connections. So a
statement's name follows from its text: one that another client prepared is the same, and one that
is missing is prepared and executed again. That is safe, for nothing had happened.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, text
from sqlalchemy.exc import DBAPIError

from tuner.database.driver_errors import sqlstate

_PARAMETER = re.compile(r":([a-z_]+)")
_PREPARED = "prepared"  # in a connection's `info`: the names of what it has prepared
_MISSING, _DUPLICATE = "26000", "42P05"


class PreparedStatement:
    """A statement with `:named` parameters, whose types follow from their context."""

    def __init__(self, statement: str) -> None:
        self._plain = text(statement)
        names = list(dict.fromkeys(_PARAMETER.findall(statement)))
        numbered = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement)
        self._name = f"tuner_{hashlib.sha256(statement.encode()).hexdigest()[:16]}"
        self._prepare = f"PREPARE {self._name} AS {numbered}"
        # as the driver takes it: SQLAlchemy's text would cost half of a short statement's time
        self._execute = f"EXECUTE {self._name}({', '.join(f'%({name})s' for name in names)})"

    def run(self, connection: Connection, arguments: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute it; in a transaction as an ordinary statement, for an error would end that."""
        driver = connection.connection.driver_connection
        if driver is None or not driver.autocommit:
            return connection.execute(self._plain, arguments)
        prepared = connection.info.setdefault(_PREPARED, set())
        if self._name not in prepared:
            self._prepare_on(connection)
            prepared.add(self._name)
        try:
            return connection.exec_driver_sql(self._execute, dict(arguments))
        except DBAPIError as error:
            if sqlstate(error) != _MISSING:
                raise
        self._prepare_on(connection)
        # behind a pooler the next statement may reach yet another connection
        return connection.execute(self._plain, arguments)

    def _prepare_on(self, connection: Connection) -> None:
        try:
            connection.exec_driver_sql(self._prepare)
        except DBAPIError as error:
            if sqlstate(error) != _DUPLICATE:
                raise
