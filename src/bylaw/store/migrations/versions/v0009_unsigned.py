"""Why a policy was put in force although signatures were missing."""

import sqlalchemy as sa
from alembic import op

revision = "v0009"
down_revision = "v0008"


def upgrade() -> None:
    """Add the column; nobody said so before."""
    op.add_column("policy_activations", sa.Column("unsigned", sa.Text, nullable=False, server_default=""))
