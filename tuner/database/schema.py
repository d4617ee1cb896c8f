"""The schema's version: upgrade with Alembic, refuse a database that this tuner does not know.

Every command asks for the version, few upgrade it: Alembic, which takes longer to import than most
commands take to run, is imported where it is used, and the versions are read from the migrations'
file names, `NNNN_what.py`.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, select, table, text
from sqlalchemy.engine import URL

from tuner.database.engine import Database, connect
from tuner.database.tables import SCHEMA
from tuner.errors import SchemaVersionError
from tuner.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "schema_version"  # not Alembic's default name, which Optuna's own tables use
VIEWS = "optuna"  # the schema of read-only views in Optuna's layout
_UPGRADE_LOCK = 7_302_114  # advisory lock: two processes must not upgrade at the same time


def migrations_folder() -> Path:
    """The migrations: inside an installed package, at the top level in a source tree."""
    package = Path(str(files("tuner")))
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def config() -> Config:
    """Alembic's configuration, without a file."""
    from alembic.config import Config

    result = Config()
    result.set_main_option("script_location", str(migrations_folder()))
    return result


def versions() -> list[str]:
    """Those that this tuner knows, oldest first."""
    found = migrations_folder().joinpath("versions").glob("*.py")
    return sorted(path.stem.partition("_")[0] for path in found)


def newest() -> str:
    """The version that this tuner needs."""
    return versions()[-1]


def current(connection: Connection) -> str | None:
    """The database's version; None where tuner was never here."""
    is_there = text("SELECT to_regclass(:table) IS NOT NULL")
    if not connection.scalar(is_there, {"table": f"{SCHEMA}.{VERSION_TABLE}"}):
        return None
    version: str | None = connection.scalar(
        select(table(VERSION_TABLE, column("version_num"), schema=SCHEMA))
    )
    return version


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`; safe when several processes ask at once."""
    with database.transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        version = current(connection)
        if version is not None:
            _check_known(version)
        from alembic import command

        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, revision)


def check(database: Database) -> None:
    """Refuse an older or newer schema; a database where tuner was never is set up at once."""
    with database.transaction() as connection:
        version = current(connection)
    if version == newest():
        return
    if version is None or database.is_embedded:
        upgrade(database)
        return
    _check_known(version)
    raise SchemaVersionError(
        f"the database's schema is version {version}, this tuner needs {newest()}: "
        "stop the workers and run `tuner db upgrade`"
    )


def views_url(url: URL) -> URL:
    """What Optuna and optuna-dashboard take for a storage of their own: they find the views first.

    Read-only, so that a write is refused before it locks a row.
    """
    options = url.query.get("options", ())
    given = [options] if isinstance(options, str) else list(options)
    own = [f"-csearch_path={VIEWS}", "-cdefault_transaction_read_only=on"]
    return url.update_query_dict({"options": " ".join([*given, *own])})


def _check_known(version: str) -> None:
    if version not in versions():
        raise SchemaVersionError(
            f"the database's schema is version {version}, which this tuner ({newest()}) does not "
            "know: it was made by a newer tuner; install that one or name another database"
        )


def open_database(settings: Settings) -> Database:
    """Connect and check the schema; creates the embedded database on first use."""
    database = connect(settings)
    try:
        check(database)
    except BaseException:
        database.close()
        raise
    return database
