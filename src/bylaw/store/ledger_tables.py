"""The tables of a ledger: leaves, the signed head, published checkpoints, and the deletable contents that leaves commit to.

Each log lives in an SQLite file of its own (`ledger/LOG.sqlite`, see `bylaw.ledger.writer`), so that no process waits for another's
lock. Every row names its log all the same: a row that was put there from another one shows itself.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, Text

from bylaw.store.schema import METADATA

LEAVES: Final = Table(
    "ledger_leaves",
    METADATA,
    Column("log", String(200), nullable=False),
    Column("at", Integer, primary_key=True, autoincrement=False),  # the index, from 0
    Column("leaf", LargeBinary, nullable=False),  # the RFC 8785 bytes that are hashed
    # `at` is SQLite's own row number (an INTEGER that is the whole key): an index beside would be a third of the pages that a commit writes
)

SESSIONS: Final = Table(
    "ledger_sessions",
    METADATA,
    Column("log", String(200), primary_key=True),
    Column("session", String(800), primary_key=True),
    Column("seq", BigInteger, nullable=False),  # the last number at the last published checkpoint; later ones stand in the leaves
    sqlite_with_rowid=False,
)

HEADS: Final = Table(
    "ledger_heads",
    METADATA,
    Column("log", String(200), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),  # C2SP tlog-checkpoint over every entry there is; replaced with each group
    Column("frontier", LargeBinary, nullable=False),  # 32 bytes a perfect subtree, largest first: what a writer goes on from
    sqlite_with_rowid=False,
)

CHECKPOINTS: Final = Table(
    "ledger_checkpoints",
    METADATA,
    Column("log", String(200), primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),  # those that were published
    sqlite_with_rowid=False,
)

CONTENTS: Final = Table(
    "ledger_contents",
    METADATA,
    Column("log", String(200), nullable=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(100), primary_key=True),
    Column("salt", LargeBinary, nullable=False),  # 32 random bytes; they are erased with the content
    Column("content", LargeBinary, nullable=False),
    Column("time_us", BigInteger, nullable=False),  # since 1970, UTC: what retention goes by
    Column("session", String(800), nullable=False),
)
