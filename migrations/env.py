"""Alembic's entry: runs on the connection that `tuner.database.schema` hands over."""

from alembic import context
from sqlalchemy import text

from tuner.database.schema import VERSION_TABLE
from tuner.database.tables import SCHEMA, metadata


def include_name(name: str | None, type_: str, _parents: object) -> bool:
    """Leave everything outside our schema, Optuna's own tables among it, alone."""
    return name == SCHEMA if type_ == "schema" else True


connection = context.config.attributes["connection"]
connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=include_name,
    compare_type=True,
    compare_server_default=False,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
