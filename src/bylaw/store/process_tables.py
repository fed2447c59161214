"""Which processes use the store, how late it is, and how often each shared thing has changed."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from bylaw.store.schema import METADATA

PROCESSES: Final = Table(
    "processes",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("machine", Text, nullable=False),  # one boot of one machine, one space of process ids; empty: cannot be told
    Column("pid", Integer, nullable=False),
    Column("born", Text, nullable=False),  # when the pid began, in the kernel's ticks: a pid can come again
    Column("beat_at", BigInteger, nullable=False),
    Column("seen", Text, nullable=False),  # JSON map: which version of each shared thing it works with
)

TIME_SEEN: Final = Table(
    "time_seen",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),  # the latest time any process has worked with
)

VERSIONS: Final = Table(
    "versions",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("version", BigInteger, nullable=False),  # one more with every change of what has this name
)
