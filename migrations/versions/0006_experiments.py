"""The experiment that a study is part of: studies of several families on the same data.

Revision: 0006
Follows: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("experiment", sa.Text(), nullable=True), schema="tuner")


def downgrade() -> None:
    op.drop_column("studies", "experiment", schema="tuner")
