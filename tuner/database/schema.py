"""The schema's version: upgrade with Alembic, refuse a database that this tuner does not know.

Every command reads the version, few upgrade it. Alembic takes longer to import than most commands
take to run, so it is imported where it is used, and the versions are read from the migrations' file
names, `NNNN_what.py`.
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

VERSION_TABLE = "schema_version"  # not Alembic's default: that is Optuna's own table
VIEWS = "optuna"  # the schema of read-only views in Optuna's layout
_UPGRADE_LOCK = 7_302_114  # advisory lock: two processes must not upgrade at the same time


def migrations_folder() -> Path:
    """Find the migrations: in an installed package, or at the top level of a source tree."""
    package = Path(str(files("tuner")))
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def config() -> Config:
    """Return Alembic's configuration, without a file."""
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(migrations_folder()))
    return configuration


def versions() -> list[str]:
    """List the versions that this tuner knows, the oldest first."""
    paths = migrations_folder().joinpath("versions").glob("*.py")
    return sorted(path.stem.partition("_")[0] for path in paths)


def newest() -> str:
    """Return the version that this tuner needs."""
    return versions()[-1]


def current(connection: Connection) -> str | None:
    """Read the database's version; None if tuner was never here."""
    is_there = text("SELECT to_regclass(:table) IS NOT NULL")
    if not connection.scalar(is_there, {"table": f"{SCHEMA}.{VERSION_TABLE}"}):
        return None
    version: str | None = connection.scalar(
        select(table(VERSION_TABLE, column("version_num"), schema=SCHEMA))
    )
    return version


def upgrade(database: Database, revision: str = "head") -> None:
    """Upgrade the schema to `revision`; safe if several processes do so at once."""
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
    """Refuse an older or newer schema; sets a database up if tuner was never there."""
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
    """Return a URL that Optuna and optuna-dashboard can open: they find the views first.

    Read-only, so that a write is refused before it locks a row.
    """
    options = url.query.get("options", ())
    existing = [options] if isinstance(options, str) else list(options)
    own = [f"-csearch_path={VIEWS}", "-cdefault_transaction_read_only=on"]
    return url.update_query_dict({"options": " ".join([*existing, *own])})


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
