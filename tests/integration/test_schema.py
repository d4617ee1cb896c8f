"""The migrations lead from nothing to what tables.py says, back, and there again."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import URL

from tests.support.commands import tuner
from tests.support.databases import admin
from tuner.database import schema
from tuner.database.engine import Database
from tuner.database.tables import SCHEMA, Xid8, metadata
from tuner.errors import SchemaVersionError

COLUMNS = """
    SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default, is_identity,
           identity_generation, is_generated
    FROM information_schema.columns WHERE table_schema = 'tuner' ORDER BY 1, 2
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'tuner'::regnamespace ORDER BY 1, 2
"""
INDEXES = (
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'tuner' ORDER BY 2"
)
OPTIONS = """
    SELECT relname, reloptions
    FROM pg_class WHERE relnamespace = 'tuner'::regnamespace AND relkind = 'r' ORDER BY 1
"""


@pytest.fixture
def empty(empty_url: URL) -> Iterator[Database]:
    """A database without tuner's schema, connected."""
    database = Database(empty_url)
    yield database
    database.close()


def downgrade(database: Database) -> None:
    with database.transaction() as connection:
        alembic = schema.config()
        alembic.attributes["connection"] = connection
        command.downgrade(alembic, "base")


def structure(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Everything that the catalog says of our tables."""
    return {
        query: [
            tuple(row)
            for row in connection.execute(text(query))
            if row[0] not in (schema.VERSION_TABLE, f"{SCHEMA}.{schema.VERSION_TABLE}")
        ]
        for query in (COLUMNS, CONSTRAINTS, INDEXES, OPTIONS)
    }


def test_file_names_are_alembics_line_of_versions() -> None:
    scripts = ScriptDirectory.from_config(schema.config())
    assert [script.revision for script in scripts.walk_revisions()] == schema.versions()[::-1]
    assert scripts.get_heads() == [schema.newest()]


def test_upgrade_downgrade_and_upgrade_again(empty: Database) -> None:
    schema.upgrade(empty)
    with empty.transaction() as connection:
        first = structure(connection)
        assert schema.current(connection) == schema.newest()
    assert first[COLUMNS]
    downgrade(empty)
    with empty.transaction() as connection:
        assert not any(structure(connection).values())
        assert schema.current(connection) is None
    schema.upgrade(empty)
    schema.upgrade(empty)  # nothing is left to do
    with empty.transaction() as connection:
        assert structure(connection) == first


def test_alembic_finds_nothing_to_migrate(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ischema_names, "xid8", Xid8)  # SQLAlchemy does not know it
    with database.transaction() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.VERSION_TABLE,
                "version_table_schema": SCHEMA,
                "include_schemas": True,
                "include_name": lambda name, type_, _: type_ != "schema" or name == SCHEMA,
                "compare_type": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_what_the_tables_say(database: Database, empty: Database) -> None:
    """Also what Alembic does not compare: checks, defaults, identities, storage options."""
    with empty.transaction() as connection:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        metadata.create_all(connection)
        expected = structure(connection)
    with database.transaction() as connection:
        migrated = structure(connection)
    for query, rows in expected.items():
        assert migrated[query] == rows


def test_upgrading_leaves_other_schemas_alone(empty: Database) -> None:
    """Optuna's own tables, and their Alembic history, may be in the same database."""
    with empty.transaction() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('v3.0.0.a')"))
        connection.execute(text("CREATE TABLE studies (study_id int)"))
    schema.upgrade(empty)
    downgrade(empty)
    with empty.transaction() as connection:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        assert version == "v3.0.0.a"
        assert connection.execute(text("SELECT count(*) FROM studies")).scalar_one() == 0


def test_many_upgrade_at_once(empty_url: URL) -> None:
    databases = [Database(empty_url) for _ in range(4)]
    begin = threading.Barrier(len(databases))
    failures: list[Exception] = []

    def upgrade(database: Database) -> None:
        begin.wait()
        try:
            schema.check(database)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert failures == []


def test_upgrade_from_the_command_line(environment: dict[str, str], empty_url: URL) -> None:
    environment["TUNER_DATABASE_URL"] = empty_url.render_as_string(hide_password=False)
    for _ in range(2):
        completed = tuner("db", "upgrade", environment=environment)
        assert completed.stdout == f"the schema is version {schema.newest()}\n", completed.stderr


@pytest.fixture
def with_a_next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The next version of tuner, which has one more migration."""
    folder = tmp_path / "migrations"
    shutil.copytree(schema.migrations_folder(), folder)
    (folder / "versions" / "next.py").write_text(
        f"revision, down_revision = 'next', {schema.newest()!r}\n"
        "def upgrade(): pass\n"
        "def downgrade(): pass\n"
    )
    monkeypatch.setattr(schema, "migrations_folder", lambda: folder)
    return "next"


def test_an_older_schema_is_upgraded_only_when_asked(
    database: Database, with_a_next_version: str
) -> None:
    """A worker must not migrate under the workers of the version before."""
    with pytest.raises(SchemaVersionError, match="stop the workers and run `tuner db upgrade`"):
        schema.check(database)
    schema.upgrade(database)
    schema.check(database)
    with database.transaction() as connection:
        assert schema.current(connection) == with_a_next_version


def test_a_newer_schema_is_not_touched(database: Database, database_url: URL) -> None:
    admin(database_url, f"UPDATE {SCHEMA}.{schema.VERSION_TABLE} SET version_num = '9999'")
    for act in (schema.check, schema.upgrade):
        with pytest.raises(SchemaVersionError, match="was made by a newer tuner"):
            act(database)
