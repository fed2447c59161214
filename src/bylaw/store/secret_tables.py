"""Secrets that all processes on one store share, each made by the first that asked for it."""

from typing import Final

from sqlalchemy import Column, LargeBinary, String, Table

from bylaw.store.schema import METADATA

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", String(64), primary_key=True),  # what it is for
    Column("secret", LargeBinary, nullable=False),
)
