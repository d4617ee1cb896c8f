"""What the server reports about itself, for `tuner db status` and `tuner doctor`."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

_HEALTH = text("""
    SELECT current_setting('server_version') AS server,
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database()) AS connections,
           pg_database_size(current_database()) AS bytes
""")


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a database."""

    server: str  # PostgreSQL's version
    connections: int  # to this database, this one included
    bytes: int


def health(connection: Connection) -> Health:
    """Read the database's state."""
    row = connection.execute(_HEALTH).one()
    return Health(server=row.server, connections=row.connections, bytes=row.bytes)
