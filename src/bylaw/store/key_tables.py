"""API keys: who may come in, as whom, and how much."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from bylaw.store.schema import METADATA

KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("id", String(16), primary_key=True),  # stands in the key itself, so that one row is looked up
    Column("hash", String(71), nullable=False),  # SHA-256 of the whole key
    Column("name", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("roles", Text, nullable=False),  # JSON list
    Column("tenant", Text, nullable=False),
    Column("jurisdiction", Text, nullable=False),
    Column("requests_per_min", Integer),
    Column("budget", Text, nullable=False),  # a decimal number in the operator's currency; empty: none
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("tokens_total", BigInteger),
    Column("price", Text, nullable=False, server_default=""),  # of a million tokens, IN/OUT; empty: not set
)
