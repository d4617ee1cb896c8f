"""What studies have learned from others at their launch.

Revision: 0009
Follows: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "warm_starts",
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["tuner.studies.id"],
            name="warm_starts_study_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_id", name="warm_starts_pkey"),
        schema="tuner",
    )


def downgrade() -> None:
    op.drop_table("warm_starts", schema="tuner")
