"""What is remembered of MCP servers: the definition of each tool that was accepted, and answers that were given and hold once."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from bylaw.store.schema import METADATA

PINS: Final = Table(
    "mcp_pins",
    METADATA,
    Column("id", String(71), primary_key=True),  # the digest of server and tool
    Column("server", String(200), nullable=False),
    Column("tool", String(200), nullable=False),
    Column("digest", String(71), nullable=False),  # of the definition that holds
    Column("definition", LargeBinary, nullable=False),
    Column("seen", String(71), nullable=False),  # of the one that the server listed last
    Column("seen_definition", LargeBinary, nullable=False),
    Column("pinned_at", BigInteger, nullable=False),
    Column("pinned_by", Text, nullable=False),  # empty: at first sight
    Column("changed_at", BigInteger),  # null: the server lists what holds
    Index("ix_mcp_pins_server", "server"),
)
NONCES: Final = Table(
    "mcp_nonces",
    METADATA,
    Column("nonce", String(64), primary_key=True),
    Column("used_at", BigInteger, nullable=False),
    Index("ix_mcp_nonces_used_at", "used_at"),
)
