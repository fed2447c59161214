"""In which session a reply was given, so that the turn after it is known to belong there."""

import sqlalchemy as sa
from alembic import op

revision = "v0004"
down_revision = "v0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "session_replies",
        sa.Column("id", sa.String(71), nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_session_replies"),
    )
    op.create_index("ix_session_replies_made_at", "session_replies", ["made_at"])
    op.create_index("ix_session_replies_principal", "session_replies", ["principal"])
