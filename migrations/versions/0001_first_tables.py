"""First tables: studies, spaces, workers, trials, reports, attempts.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class Xid8(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("directions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "metrics", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("max_trials", sa.Integer(), nullable=True),
        sa.Column("issued", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "user_attrs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "system_attrs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('active', 'paused', 'stopped', 'finished')", name=op.f("studies_state_check")
        ),
        sa.CheckConstraint(
            "max_trials IS NULL OR issued <= max_trials", name=op.f("studies_budget_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("studies_pkey")),
        sa.UniqueConstraint("name", name=op.f("studies_name_key")),
        schema="tuner",
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("devices", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("workers_pkey")),
        schema="tuner",
    )
    op.create_table(
        "spaces",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("distributions", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["tuner.studies.id"],
            name=op.f("spaces_study_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("spaces_pkey")),
        sa.UniqueConstraint("study_id", "digest", name=op.f("spaces_study_id_digest_key")),
        schema="tuner",
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "params", postgresql.ARRAY(sa.Double()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("objective_values", postgresql.ARRAY(sa.Double()), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.UUID(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_key", sa.UUID(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("log_tail", sa.Text(), nullable=True),
        sa.Column(
            "user_attrs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "system_attrs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "changed", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False
        ),
        sa.CheckConstraint(
            "cause IN ('user_error', 'out_of_memory', 'diverged', 'timeout', 'lost', 'preempted')",
            name=op.f("trials_cause_check"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'complete', 'pruned', 'failed')",
            name=op.f("trials_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["tuner.studies.id"],
            name=op.f("trials_study_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("trials_pkey")),
        sa.UniqueConstraint("study_id", "number", name=op.f("trials_study_id_number_key")),
        schema="tuner",
        postgresql_with={
            "fillfactor": "70",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_cost_delay": "0",
        },
    )
    op.create_index(
        "trials_open",
        "trials",
        ["study_id", "state", "number"],
        unique=False,
        schema="tuner",
        postgresql_where=sa.text("state IN ('waiting', 'running')"),
    )
    op.create_index(
        op.f("trials_study_id_changed"),
        "trials",
        ["study_id", "changed"],
        unique=False,
        schema="tuner",
    )
    op.create_table(
        "attempts",
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.UUID(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("log_tail", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "cause IN ('user_error', 'out_of_memory', 'diverged', 'timeout', 'lost', 'preempted')",
            name=op.f("attempts_cause_check"),
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["tuner.trials.id"],
            name=op.f("attempts_trial_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "attempt", name=op.f("attempts_pkey")),
        schema="tuner",
    )
    op.create_table(
        "reports",
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "reported_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["tuner.trials.id"],
            name=op.f("reports_trial_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "step", name=op.f("reports_pkey")),
        schema="tuner",
    )


def downgrade() -> None:
    op.drop_table("reports", schema="tuner")
    op.drop_table("attempts", schema="tuner")
    op.drop_index(op.f("trials_study_id_changed"), table_name="trials", schema="tuner")
    op.drop_index(
        "trials_open",
        table_name="trials",
        schema="tuner",
        postgresql_where=sa.text("state IN ('waiting', 'running')"),
    )
    op.drop_table("trials", schema="tuner")
    op.drop_table("spaces", schema="tuner")
    op.drop_table("workers", schema="tuner")
    op.drop_table("studies", schema="tuner")
