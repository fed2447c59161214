"""Policies on trial: canaries, which decide for a share, and shadows, which decide nothing; and what was counted of them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from bylaw.store.schema import METADATA

TRIALS: Final = Table(
    "policy_trials",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # the version `trials` that its start raised
    Column("kind", String(10), nullable=False),  # canary | shadow
    Column("digest", String(71), nullable=False),
    Column("content", String(71), nullable=False),  # of its files, in `policies`
    Column("baseline", String(71), nullable=False),  # digest of the policy that was in force when it began
    Column("terms", Text, nullable=False),  # JSON: for whom, and what rolls it back
    Column("state", String(12), nullable=False),  # running | stopped | promoted | rolled_back | ended
    Column("started_at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("ended_at", BigInteger),
    Column("why", Text, nullable=False),
    Column("looks", Integer, nullable=False),  # how often it was tested
)

COUNTS: Final = Table(
    "policy_trial_counts",
    METADATA,
    Column("trial", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", String(200), primary_key=True),  # the log whose entries were counted: each row has one writer
    Column("name", String(300), primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("bad", BigInteger, nullable=False),
    Column("example", Text, nullable=False),  # the name of a record
)
