"""Appeals against refusals; what a key may use, at which price, and what it has used."""

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"


def upgrade() -> None:
    """Make the tables, and the new columns of keys."""
    op.create_table(
        "appeals",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("record", sa.String(300), nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("jurisdiction", sa.Text, nullable=False),
        sa.Column("decision", sa.String(40), nullable=False),
        sa.Column("policy", sa.String(100), nullable=False),
        sa.Column("clauses", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("ended_by", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("said", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_appeals"),
    )
    op.create_index("uq_appeals_record", "appeals", ["record"], unique=True)
    op.create_index("ix_appeals_state_made_at", "appeals", ["state", "made_at"])
    op.create_index("ix_appeals_principal_state", "appeals", ["principal", "state"])
    op.create_table(
        "key_usage",
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("day", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("tokens_in", sa.BigInteger, nullable=False),
        sa.Column("tokens_out", sa.BigInteger, nullable=False),
        sa.Column("micros", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", "day", name="pk_key_usage"),
    )
    op.add_column("api_keys", sa.Column("tokens_per_day", sa.BigInteger))
    op.add_column("api_keys", sa.Column("tokens_total", sa.BigInteger))
    op.add_column("api_keys", sa.Column("price", sa.Text, nullable=False, server_default=""))
