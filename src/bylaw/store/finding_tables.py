"""Findings that people report, every step taken on them, and wrong proposals that were seeded to see whether reviewers catch them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from bylaw.store.schema import METADATA

FINDINGS: Final = Table(
    "findings",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),  # new | triaged | accepted | fixed | rejected | duplicate
    Column("revision", Integer, nullable=False),  # one more with every step: what a compare-and-swap compares
    Column("source", String(16), nullable=False),  # user | tester | public
    Column("reporter", Text, nullable=False),  # a principal; empty: somebody without a key
    Column("tenant", Text, nullable=False),
    Column("said", Text, nullable=False),  # what is wrong, in the reporter's words; empty once forgotten, as the next three
    Column("prompt", Text, nullable=False),  # what was asked
    Column("reply", Text, nullable=False),  # what came of it
    Column("contact", Text, nullable=False),
    Column("record", String(300), nullable=False),  # a decision's place in the ledger
    Column("clause", String(200), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("assignee", Text, nullable=False),
    Column("duplicate_of", String(32), nullable=False),
    Column("disclose_on", String(10), nullable=False),  # ISO date
    Column("made_at", BigInteger, nullable=False),  # ms
    Column("changed_at", BigInteger, nullable=False),
    Index("ix_findings_state_made_at", "state", "made_at"),
    Index("ix_findings_reporter_made_at", "reporter", "made_at"),
)

STEPS: Final = Table(
    "finding_steps",
    METADATA,
    Column("finding", String(32), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("changed", Text, nullable=False),  # JSON: what became what
    Column("note", Text, nullable=False),
)

SEEDS: Final = Table(
    "seeded_proposals",
    METADATA,
    Column("approval", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),  # what is wrong with it
    Index("ix_seeded_proposals_at", "at"),
)
