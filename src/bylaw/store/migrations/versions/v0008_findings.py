"""Findings that people report, and proposals seeded to see whether reviewers catch them."""

import sqlalchemy as sa
from alembic import op

revision = "v0008"
down_revision = "v0007"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "findings",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("reporter", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("record", sa.String(300), nullable=False),
        sa.Column("clause", sa.String(200), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("assignee", sa.Text, nullable=False),
        sa.Column("duplicate_of", sa.String(32), nullable=False),
        sa.Column("disclose_on", sa.String(10), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_findings"),
    )
    op.create_index("ix_findings_state_made_at", "findings", ["state", "made_at"])
    op.create_index("ix_findings_reporter_made_at", "findings", ["reporter", "made_at"])
    op.create_table(
        "finding_steps",
        sa.Column("finding", sa.String(32), nullable=False),
        sa.Column("revision", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("changed", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("finding", "revision", name="pk_finding_steps"),
    )
    op.create_table(
        "seeded_proposals",
        sa.Column("approval", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("approval", name="pk_seeded_proposals"),
    )
    op.create_index("ix_seeded_proposals_at", "seeded_proposals", ["at"])
