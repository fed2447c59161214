"""Policies that were ever in force, their files and all, and which of them is."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from bylaw.store.schema import METADATA

POLICIES: Final = Table(
    "policies",
    METADATA,
    Column("content", String(71), primary_key=True),  # digest of `files`
    Column("digest", String(71), nullable=False),  # the policy's own; the same policy with other reviews has another content
    Column("files", LargeBinary, nullable=False),  # bounded by `policy_rows.MAX_BYTES`
    Column("kept_at", BigInteger, nullable=False),
    Index("ix_policies_digest", "digest"),
)

ACTIVATIONS: Final = Table(
    "policy_activations",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # the version `policy` that it raised; the highest is in force
    Column("digest", String(71), nullable=False),
    Column("content", String(71), nullable=False),  # empty: its files were never kept
    Column("version", Text, nullable=False),  # as its author wrote it
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("unsigned", Text, nullable=False, server_default=""),  # why, where signatures were missing and an operator said so
)
