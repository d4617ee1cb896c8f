"""Budgets of epochs and device seconds, and what decides which study is next.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _labels() -> sa.Column[dict[str, str]]:
    return sa.Column(
        "labels",
        postgresql.JSONB(astext_type=sa.Text()),
        server_default=sa.text("'{}'"),
        nullable=False,
    )


COLUMNS = {
    "studies": [
        sa.Column("trial_epochs", sa.Integer(), nullable=True),
        sa.Column("max_epochs", sa.BigInteger(), nullable=True),
        sa.Column("epochs_issued", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("max_seconds", sa.Double(), nullable=True),
        sa.Column("seconds_issued", sa.Double(), server_default="0", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_concurrent", sa.Integer(), nullable=True),
        _labels(),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
    ],
    "workers": [_labels()],
    "trials": [
        sa.Column("epochs", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("paid_until", sa.DateTime(timezone=True), nullable=True),
    ],
}
CHECKS = {
    "studies_epochs_check": "max_epochs IS NULL OR epochs_issued <= max_epochs",
    "studies_seconds_check": "max_seconds IS NULL OR seconds_issued <= max_seconds",
}
# the most epochs per trial were only in the specification
FILL = """
    UPDATE tuner.studies
    SET trial_epochs = CAST(spec -> 'budget' ->> 'epochs' AS integer)
"""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(table, column, schema="tuner")
    op.execute(FILL)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(name), "studies", condition, schema="tuner")
    op.create_index(
        "studies_active",
        "studies",
        ["id"],
        schema="tuner",
        postgresql_where=sa.text("state = 'active'"),
    )


def downgrade() -> None:
    op.drop_index("studies_active", table_name="studies", schema="tuner")
    for name in CHECKS:
        op.drop_constraint(op.f(name), "studies", schema="tuner")
    for table, columns in COLUMNS.items():
        for column in columns:
            op.drop_column(table, column.name, schema="tuner")
