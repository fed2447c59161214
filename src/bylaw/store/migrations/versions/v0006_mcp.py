"""What is remembered of MCP servers: tools' definitions, pinned, and answers that hold once."""

import sqlalchemy as sa
from alembic import op

revision = "v0006"
down_revision = "v0005"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "mcp_pins",
        sa.Column("id", sa.String(71), nullable=False),
        sa.Column("server", sa.String(200), nullable=False),
        sa.Column("tool", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("definition", sa.LargeBinary, nullable=False),
        sa.Column("seen", sa.String(71), nullable=False),
        sa.Column("seen_definition", sa.LargeBinary, nullable=False),
        sa.Column("pinned_at", sa.BigInteger, nullable=False),
        sa.Column("pinned_by", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_mcp_pins"),
    )
    op.create_index("ix_mcp_pins_server", "mcp_pins", ["server"])
    op.create_table(
        "mcp_nonces",
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("nonce", name="pk_mcp_nonces"),
    )
    op.create_index("ix_mcp_nonces_used_at", "mcp_nonces", ["used_at"])
