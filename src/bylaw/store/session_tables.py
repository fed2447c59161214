"""Sessions: what each of them has done so far, and which replies were given in it, for all processes on one store."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from bylaw.store.schema import METADATA

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", String(71), primary_key=True),  # digest of the principal and the session's name
    Column("principal", Text, nullable=False),  # whose it is (`govern.session.owner`): to forget a person
    Column("version", BigInteger, nullable=False),  # one more with every change: what a compare-and-swap compares
    Column("body", LargeBinary, nullable=False),  # JSON, bounded by `session_rows.MAX_BYTES`
    Column("used_at", BigInteger, nullable=False),  # ms since 1970: a session that rests too long is forgotten
    Index("ix_sessions_used_at", "used_at"),
    Index("ix_sessions_principal", "principal"),
)

REPLIES: Final = Table(
    "session_replies",
    METADATA,
    Column("id", String(71), primary_key=True),  # digest of the principal and the reply's id at the upstream
    Column("principal", Text, nullable=False),
    Column("session", String(200), nullable=False),  # its name; empty: replies of several sessions have this id
    Column("made_at", BigInteger, nullable=False),  # ms since 1970
    Index("ix_session_replies_made_at", "made_at"),
    Index("ix_session_replies_principal", "principal"),
)
