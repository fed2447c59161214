"""Approvals and the answers people gave to them."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from bylaw.store.schema import METADATA

APPROVALS: Final = Table(
    "approvals",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("revision", Integer, nullable=False),  # one more with every step: what a compare-and-swap compares
    Column("route", String(16), nullable=False),  # run | release
    Column("subject", LargeBinary),  # the canonical JSON of exactly what will run or be released; null once forgotten
    Column("digest", String(71), nullable=False),  # of the subject
    Column("principal", Text, nullable=False),  # canonical JSON: id, tenant, jurisdiction
    Column("requester", Text, nullable=False),  # the principal's id
    Column("tenant", Text, nullable=False),
    Column("policy", String(71), nullable=False),
    Column("clauses", Text, nullable=False),  # JSON list
    Column("needs", Text, nullable=False),  # JSON list
    Column("reason", Text, nullable=False),  # why a person is asked
    Column("requested_at", BigInteger, nullable=False),  # ms since 1970, as all times here
    Column("expires_at", BigInteger, nullable=False),
    Column("live_call", String(71)),  # digest of subject, principal, policy and route while the row answers for that call
    Column("edited_by", Text, nullable=False),  # who wrote this version of the call; may not approve it
    Column("replaced_by", String(32), nullable=False),  # the request that an edit made of this one
    Column("claim", String(71), nullable=False),  # digest of the claim's token
    Column("process", String(32), nullable=False),  # which process executes it
    Column("ended_by", Text, nullable=False),
    Column("ended_at", BigInteger),
    Column("said", Text, nullable=False),  # the reason given at the end
    Column("result", String(71), nullable=False),  # digest of what the execution gave
    Column("notice", Text, nullable=False),  # how ringing went
    Index("uq_approvals_live_call", "live_call", unique=True),
    Index("ix_approvals_state_requested_at", "state", "requested_at"),
    Index("ix_approvals_requester_state", "requester", "state"),
)

ANSWERS: Final = Table(
    "approval_answers",
    METADATA,
    Column("approval", String(32), ForeignKey("approvals.id"), primary_key=True),
    Column("person", Text, primary_key=True),
    Column("roles", Text, nullable=False),  # JSON list, as they were when the answer was given
    Column("yes", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("seconds", Integer),  # from when the console first showed the request; null: answered elsewhere
)
