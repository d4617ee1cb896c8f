"""The connection to the database that this process's studies share, until the process ends."""

import atexit
from functools import lru_cache

from tuner.database import schema
from tuner.database.engine import Database
from tuner.settings import settings


@lru_cache(maxsize=1)
def database() -> Database:
    """Connect on first use; the process's end closes the connection."""
    connection = schema.open_database(settings())
    atexit.register(connection.close)
    return connection
