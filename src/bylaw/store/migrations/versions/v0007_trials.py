"""Policies on trial, and what was counted of them."""

import sqlalchemy as sa
from alembic import op

revision = "v0007"
down_revision = "v0006"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "policy_trials",
        sa.Column("id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("content", sa.String(71), nullable=False),
        sa.Column("baseline", sa.String(71), nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_trials"),
    )
    op.create_table(
        "policy_trial_counts",
        sa.Column("trial", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("writer", sa.String(200), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("bad", sa.BigInteger, nullable=False),
        sa.Column("example", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("trial", "writer", "name", name="pk_policy_trial_counts"),
    )
