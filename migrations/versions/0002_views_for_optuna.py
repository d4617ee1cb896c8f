"""Optuna's own layout as read-only views, in the schema `optuna`.

They follow the models of optuna 5 (`optuna/storages/_rdb/models.py`): names, types, enumerations,
and keys that are unique in each view. A later migration that changes a column which a view reads
has to drop the view first and make it again.

Revision: 0002
Follows: 0001
"""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from tuner.errors import SchemaVersionError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# SQLAlchemy's Enum columns are native types in PostgreSQL, named after their Python classes
ENUMS = {
    "studydirection": ("NOT_SET", "MINIMIZE", "MAXIMIZE"),
    "trialstate": ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"),
    "trialvaluetype": ("FINITE", "INF_POS", "INF_NEG"),
    "trialintermediatevaluetype": ("FINITE", "INF_POS", "INF_NEG", "NAN"),
}

# Optuna's ORM needs a key that no other row of the view has. 16 bits number the parameters, values
# and attributes of one trial or study; Optuna's steps are 32-bit integers.
VIEWS = {
    "studies": """
        SELECT id AS study_id, name AS study_name FROM tuner.studies
    """,
    "study_directions": """
        SELECT (s.id << 16) | d.position AS study_direction_id,
               CAST(upper(d.direction) AS optuna.studydirection) AS direction,
               s.id AS study_id, CAST(d.position - 1 AS integer) AS objective
        FROM tuner.studies s,
             unnest(s.directions) WITH ORDINALITY AS d(direction, position)
    """,
    "study_user_attributes": """
        SELECT (s.id << 16) | a.position AS study_user_attribute_id, s.id AS study_id, a.key,
               a.value AS value_json
        FROM tuner.studies s,
             jsonb_each_text(s.user_attrs) WITH ORDINALITY AS a(key, value, position)
    """,
    # the objectives' names are where `Study.set_metric_names` puts them
    "study_system_attributes": """
        SELECT (s.id << 16) | a.position AS study_system_attribute_id, s.id AS study_id, a.key,
               a.value AS value_json
        FROM tuner.studies s,
             jsonb_each_text(s.system_attrs) WITH ORDINALITY AS a(key, value, position)
        UNION ALL
        SELECT s.id << 16, s.id, 'study:metric_names', CAST(to_jsonb(s.metrics) AS text)
        FROM tuner.studies s
        WHERE cardinality(s.metrics) > 0 AND NOT s.system_attrs ? 'study:metric_names'
    """,
    "trials": """
        SELECT id AS trial_id, number, study_id,
               CAST(CASE state WHEN 'failed' THEN 'FAIL' ELSE upper(state) END
                    AS optuna.trialstate) AS state,
               started_at AT TIME ZONE 'UTC' AS datetime_start,
               finished_at AT TIME ZONE 'UTC' AS datetime_complete
        FROM tuner.trials
    """,
    "trial_user_attributes": """
        SELECT (t.id << 16) | a.position AS trial_user_attribute_id, t.id AS trial_id, a.key,
               a.value AS value_json
        FROM tuner.trials t,
             jsonb_each_text(t.user_attrs) WITH ORDINALITY AS a(key, value, position)
    """,
    # Besides what is stored: the constraints as one list, as optuna-dashboard 0.21 and Optuna
    # before 5 read them, and why a trial failed. At most 65,532 attributes, so that the keys of
    # these added ones stay free.
    "trial_system_attributes": """
        SELECT (t.id << 16) | a.position AS trial_system_attribute_id, t.id AS trial_id, a.key,
               a.value AS value_json
        FROM tuner.trials t,
             jsonb_each_text(t.system_attrs) WITH ORDINALITY AS a(key, value, position)
        UNION ALL
        SELECT t.id << 16, t.id, 'constraints', c.list
        FROM tuner.trials t,
             LATERAL (SELECT '[' || string_agg(value, ', ' ORDER BY key) || ']' AS list
                      FROM jsonb_each_text(t.system_attrs) WHERE key LIKE 'constraints:%') c
        WHERE c.list IS NOT NULL AND NOT t.system_attrs ? 'constraints'
        UNION ALL
        SELECT (t.id << 16) | 65534, t.id, 'tuner:cause', CAST(to_jsonb(t.cause) AS text)
        FROM tuner.trials t WHERE t.cause IS NOT NULL
        UNION ALL
        SELECT (t.id << 16) | 65535, t.id, 'tuner:message', CAST(to_jsonb(t.message) AS text)
        FROM tuner.trials t WHERE t.message IS NOT NULL
    """,
    "trial_params": """
        SELECT (t.id << 16) | p.position AS param_id, t.id AS trial_id, p.name AS param_name,
               p.value AS param_value, p.distribution AS distribution_json
        FROM tuner.trials t JOIN tuner.spaces s ON s.id = t.space_id,
             unnest(s.names, s.texts, t.params)
                 WITH ORDINALITY AS p(name, distribution, value, position)
    """,
    "trial_values": """
        SELECT (t.id << 16) | v.position AS trial_value_id, t.id AS trial_id,
               CAST(v.position - 1 AS integer) AS objective,
               CASE WHEN abs(v.value) = 'infinity' THEN NULL ELSE v.value END AS value,
               CAST(CASE v.value WHEN 'infinity' THEN 'INF_POS' WHEN '-infinity' THEN 'INF_NEG'
                    ELSE 'FINITE' END AS optuna.trialvaluetype) AS value_type
        FROM tuner.trials t,
             unnest(t.objective_values) WITH ORDINALITY AS v(value, position)
    """,
    "trial_intermediate_values": """
        SELECT (trial_id << 32) | (step & 4294967295) AS trial_intermediate_value_id,
               trial_id, step,
               CASE WHEN abs(value) = 'infinity' OR value = 'nan' THEN NULL ELSE value END
                   AS intermediate_value,
               CAST(CASE value WHEN 'infinity' THEN 'INF_POS' WHEN '-infinity' THEN 'INF_NEG'
                    WHEN 'nan' THEN 'NAN' ELSE 'FINITE' END AS optuna.trialintermediatevaluetype)
                   AS intermediate_value_type
        FROM tuner.reports
    """,
    # empty: Optuna fails running trials with old heartbeats; ours have leases instead
    "trial_heartbeats": """
        SELECT id AS trial_heartbeat_id, id AS trial_id, CAST(NULL AS timestamp) AS heartbeat
        FROM tuner.trials WHERE FALSE
    """,
    # what RDBStorage reads before anything else
    "version_info": """
        SELECT 1 AS version_info_id, 12 AS schema_version,
               CAST('5.0.0' AS varchar(256)) AS library_version
    """,
    "alembic_version": """
        SELECT CAST('v3.2.0.a' AS varchar(32)) AS version_num
    """,
}

# 25006, read_only_sql_transaction: Optuna ignores errors of integrity in some writes
READ_ONLY = """
    CREATE FUNCTION optuna.read_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE 'optuna.% is a read-only view of tuner''s studies', TG_TABLE_NAME
            USING ERRCODE = '25006', HINT = 'Write through Optuna on tuner.storage().';
    END $$
"""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.execute(sa.text("SELECT to_regnamespace('optuna')")).scalar() is not None:
        raise SchemaVersionError(
            "the database has a schema `optuna` already, where tuner's views for Optuna belong: "
            "give it another name (ALTER SCHEMA optuna RENAME TO …) and run `tuner db upgrade`"
        )
    op.add_column(
        "spaces", sa.Column("names", postgresql.ARRAY(sa.Text()), nullable=True), schema="tuner"
    )
    op.add_column(
        "spaces", sa.Column("texts", postgresql.ARRAY(sa.Text()), nullable=True), schema="tuner"
    )
    for row in connection.execute(sa.text("SELECT id, distributions FROM tuner.spaces")).all():
        stored = json.loads(row.distributions)
        connection.execute(
            sa.text("UPDATE tuner.spaces SET names = :names, texts = :texts WHERE id = :id"),
            {
                "id": row.id,
                "names": [name.replace("\0", "\ufffd") for name, _ in stored],
                "texts": [json.dumps(distribution) for _, distribution in stored],
            },
        )
    op.alter_column("spaces", "names", nullable=False, schema="tuner")
    op.alter_column("spaces", "texts", nullable=False, schema="tuner")

    op.execute("CREATE SCHEMA optuna")
    op.execute("COMMENT ON SCHEMA optuna IS 'tuner''s studies, read-only, in the layout of Optuna'")
    for name, values in ENUMS.items():
        op.execute(f"CREATE TYPE optuna.{name} AS ENUM ({', '.join(map(repr, values))})")
    op.execute(READ_ONLY)
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW optuna.{name} AS {query}")
        # without this, simple views could be written through
        op.execute(
            f"CREATE TRIGGER read_only INSTEAD OF INSERT OR UPDATE OR DELETE ON optuna.{name} "
            "FOR EACH ROW EXECUTE FUNCTION optuna.read_only()"
        )


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW optuna.{name}")
    op.execute("DROP FUNCTION optuna.read_only()")
    for name in ENUMS:
        op.execute(f"DROP TYPE optuna.{name}")
    op.execute("DROP SCHEMA optuna")
    op.drop_column("spaces", "texts", schema="tuner")
    op.drop_column("spaces", "names", schema="tuner")
