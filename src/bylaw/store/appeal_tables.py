"""Appeals against refusals: who appealed against which record, what came of it, and who said so."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from bylaw.store.schema import METADATA

APPEALS: Final = Table(
    "appeals",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),  # open | upheld | overturned | withdrawn
    Column("revision", Integer, nullable=False),  # one more with every step: what a compare-and-swap compares
    Column("record", String(300), nullable=False),  # the refusal's place in the ledger
    Column("principal", Text, nullable=False),  # who was refused, and appeals
    Column("tenant", Text, nullable=False),
    Column("jurisdiction", Text, nullable=False),
    Column("decision", String(40), nullable=False),
    Column("policy", String(100), nullable=False),
    Column("clauses", Text, nullable=False),  # JSON list
    Column("why", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),  # ms
    Column("ended_by", Text, nullable=False),
    Column("ended_at", BigInteger),
    Column("said", Text, nullable=False),  # the reason of the answer
    Index("uq_appeals_record", "record", unique=True),  # one refusal, one appeal
    Index("ix_appeals_state_made_at", "state", "made_at"),
    Index("ix_appeals_principal_state", "principal", "state"),
)
