"""How each trial was proposed.

Revision: 0007
Follows: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("origin", JSONB(), nullable=True), schema="tuner")


def downgrade() -> None:
    op.drop_column("trials", "origin", schema="tuner")
