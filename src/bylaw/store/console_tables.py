"""Who is signed in at the console, and since when each of them has had a request for approval before them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, String, Table

from bylaw.store.schema import METADATA

LOGINS: Final = Table(
    "console_logins",
    METADATA,
    Column("id", String(71), primary_key=True),  # SHA-256 of what the cookie holds
    Column("key", String(16), nullable=False),  # the API key that was shown; roles are read from it anew each time
    Column("made_at", BigInteger, nullable=False),  # ms since 1970, as all times here
    Column("used_at", BigInteger, nullable=False),
    Index("ix_console_logins_made_at", "made_at"),
)

SHOWN: Final = Table(
    "console_shown",
    METADATA,
    Column("login", String(71), primary_key=True),
    Column("approval", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False),  # when its page was first shown in this login
    Index("ix_console_shown_at", "at"),
)
