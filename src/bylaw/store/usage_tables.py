"""What each key has used, day by day: summed over all processes."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table

from bylaw.store.schema import METADATA

USAGE: Final = Table(
    "key_usage",
    METADATA,
    Column("key", String(16), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # since 1970, UTC
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("micros", BigInteger, nullable=False),  # millionths of the operator's currency
)
