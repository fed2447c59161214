"""What all gateways on one store share besides: sessions, and the policy in force."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    """Make the tables of sessions and policies."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(71), nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_used_at", "sessions", ["used_at"])
    op.create_index("ix_sessions_principal", "sessions", ["principal"])
    op.create_table(
        "policies",
        sa.Column("content", sa.String(71), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("files", sa.LargeBinary, nullable=False),
        sa.Column("kept_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("content", name="pk_policies"),
    )
    op.create_index("ix_policies_digest", "policies", ["digest"])
    op.create_table(
        "policy_activations",
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("content", sa.String(71), nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_policy_activations"),
    )
