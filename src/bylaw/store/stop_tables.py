"""Emergency stops: what is stopped, by whom and why, and when it was lifted."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from bylaw.store.schema import METADATA

STOPS: Final = Table(
    "stops",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("scope", Text, nullable=False),  # global | tenant:T | principal:P | tool:T | drill:ID
    Column("reason", Text, nullable=False),
    Column("stopped_by", Text, nullable=False),
    Column("stopped_at", BigInteger, nullable=False),
    Column("lifted_by", Text, nullable=False),
    Column("lifted_at", BigInteger),  # null: in force
    Column("lifted_reason", Text, nullable=False),
    Index("ix_stops_lifted_at", "lifted_at"),
)
