"""Who is signed in at the console; how long people looked at a request before they answered it."""

import sqlalchemy as sa
from alembic import op

revision = "v0005"
down_revision = "v0004"


def upgrade() -> None:
    """Make the tables, and the new column of answers."""
    op.create_table(
        "console_logins",
        sa.Column("id", sa.String(71), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_console_logins"),
    )
    op.create_index("ix_console_logins_made_at", "console_logins", ["made_at"])
    op.create_table(
        "console_shown",
        sa.Column("login", sa.String(71), nullable=False),
        sa.Column("approval", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("login", "approval", name="pk_console_shown"),
    )
    op.create_index("ix_console_shown_at", "console_shown", ["at"])
    op.add_column("approval_answers", sa.Column("seconds", sa.Integer))
