"""Workers' devices, and samples of how they are doing.

Revision: 0003
Follows: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("worker_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["worker_id"],
            ["tuner.workers.id"],
            name=op.f("devices_worker_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("worker_id", "name", name=op.f("devices_pkey")),
        schema="tuner",
    )
    op.create_table(
        "device_samples",
        sa.Column("worker_id", sa.UUID(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("utilization", sa.REAL(), nullable=True),
        sa.Column("memory_used", sa.BigInteger(), nullable=True),
        sa.Column("temperature", sa.REAL(), nullable=True),
        sa.Column("power", sa.REAL(), nullable=True),
        sa.ForeignKeyConstraint(
            ["worker_id", "device"],
            ["tuner.devices.worker_id", "tuner.devices.name"],
            name=op.f("device_samples_worker_id_device_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("worker_id", "device", "at", name=op.f("device_samples_pkey")),
        schema="tuner",
    )
    op.create_index(
        op.f("device_samples_at"), "device_samples", ["at"], unique=False, schema="tuner"
    )


def downgrade() -> None:
    op.drop_index(op.f("device_samples_at"), table_name="device_samples", schema="tuner")
    op.drop_table("device_samples", schema="tuner")
    op.drop_table("devices", schema="tuner")
