"""Databases of the tests' server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL


def admin(server: URL, *statements: str) -> None:
    """Run statements that cannot be in a transaction."""
    engine = _autocommitting(server)
    _run(engine, *statements)
    engine.dispose()


@contextmanager
def cloned(server: URL, template: str = "template1") -> Iterator[URL]:
    """A fresh database like the template, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    # files copied are a quarter of the work of pages logged one by one
    _run(_kept(server), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield server.set(database=name)
    _run(_kept(server), f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _kept(server: URL) -> Engine:
    """An engine that keeps its connection: there are a thousand databases to be made."""
    return _autocommitting(server, pool_size=1, pool_pre_ping=True)


def _autocommitting(server: URL, **options: object) -> Engine:
    return create_engine(server, isolation_level="AUTOCOMMIT", **options)


def _run(engine: Engine, *statements: str) -> None:
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
