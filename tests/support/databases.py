"""Databases of the tests' server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL


def admin(server: URL, *statements: str) -> None:
    """Run statements that cannot be in a transaction."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@contextmanager
def cloned(server: URL, template: str) -> Iterator[URL]:
    """A fresh database with tuner's schema, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    admin(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.set(database=name)
    admin(server, f"DROP DATABASE {name} WITH (FORCE)")
