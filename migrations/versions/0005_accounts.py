"""Accounts, their sessions and tokens, the audit log, notes; killed trials and drained workers.

Revision: 0005
Follows: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CAUSES = ("user_error", "out_of_memory", "diverged", "timeout", "lost", "preempted")
CHECKED = ("trials", "attempts")


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False)


def _time(name: str, *, now: bool = False) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        server_default=sa.text("clock_timestamp()") if now else None,
        nullable=not now,
    )


def _set_causes(causes: tuple[str, ...]) -> None:
    for table in CHECKED:
        op.drop_constraint(op.f(f"{table}_cause_check"), table, schema="tuner")
        op.create_check_constraint(
            op.f(f"{table}_cause_check"),
            table,
            f"cause IN ({', '.join(map(repr, causes))})",
            schema="tuner",
        )


def upgrade() -> None:
    op.create_table(
        "accounts",
        _id(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        _time("created_at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("accounts_pkey")),
        sa.UniqueConstraint("name", name=op.f("accounts_name_key")),
        sa.CheckConstraint(
            "role IN ('viewer', 'operator', 'admin')", name=op.f("accounts_role_check")
        ),
        schema="tuner",
    )
    op.create_table(
        "tokens",
        _id(),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        _time("created_at", now=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        _time("used_at"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["tuner.accounts.id"],
            name=op.f("tokens_account_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tokens_pkey")),
        sa.UniqueConstraint("digest", name=op.f("tokens_digest_key")),
        sa.CheckConstraint("kind IN ('session', 'api')", name=op.f("tokens_kind_check")),
        sa.CheckConstraint(
            "role IN ('viewer', 'operator', 'admin')", name=op.f("tokens_role_check")
        ),
        schema="tuner",
    )
    op.create_table(
        "audit",
        _id(),
        _time("at", now=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
        schema="tuner",
    )
    op.create_table(
        "notes",
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        _time("updated_at", now=True),
        sa.ForeignKeyConstraint(
            ["study_id"], ["tuner.studies.id"], name=op.f("notes_study_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("notes_pkey")),
        schema="tuner",
    )
    op.add_column("studies", sa.Column("launched_by", sa.Text(), nullable=True), schema="tuner")
    op.add_column("workers", _time("drain_at"), schema="tuner")
    _set_causes((*CAUSES, "killed"))


def downgrade() -> None:
    for table in CHECKED:
        op.execute(f"UPDATE tuner.{table} SET cause = 'user_error' WHERE cause = 'killed'")  # noqa: S608
    _set_causes(CAUSES)
    op.drop_column("workers", "drain_at", schema="tuner")
    op.drop_column("studies", "launched_by", schema="tuner")
    for table in ("notes", "audit", "tokens", "accounts"):
        op.drop_table(table, schema="tuner")
