"""Reading and swapping rows of `sessions`: one row a session, one compare-and-swap a change, bounded in size, number and age.

What a body means is the business of whoever writes it (`govern.histories`). A principal's own: the same name under two principals is two
rows. Nothing here is retried: who lost reads again and decides anew.
"""

from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from bylaw.canonical import digest
from bylaw.errors import StoreError
from bylaw.store.database import Store
from bylaw.store.session_tables import SESSIONS

MAX_BYTES: Final = 256 * 1024  # of one body
MAX_ROWS: Final = 1_000_000
KEPT_MS: Final = 7 * 24 * 3600 * 1000  # how long a session that rests is remembered
PRUNED_AT_ONCE: Final = 1_000  # rows in one transaction, so that nobody waits for it long


class Row(NamedTuple):
    """A session as it stands in the store."""

    version: int
    body: bytes


def key(principal: str, name: str) -> str:
    """The id of a session's row."""
    return digest([_plain(principal), _plain(name)])


def read(connection: Connection, row: str) -> Row | None:
    """A session's row, if it has one."""
    found = connection.execute(select(SESSIONS.c.version, SESSIONS.c.body).where(SESSIONS.c.id == row)).first()
    return Row(int(found.version), bytes(found.body)) if found else None


def swap(store: Store, row: str, principal: str, version: int, body: bytes, now_ms: int) -> int:
    """Put a body in the place of that version (0: there is no row yet); the version it now is, or 0 where another was faster.

    A row's first version is the time it was made: so one that was forgotten and made anew is never taken for the older one.
    """
    if len(body) > MAX_BYTES:
        raise StoreError(f"a session of {len(body)} bytes is too large to keep", f"At most {MAX_BYTES}.")
    if version == 0:
        new = insert(SESSIONS).values(id=row, principal=_plain(principal), version=now_ms, body=body, used_at=now_ms)
        return now_ms if store.inserted(new) else 0  # a row that came meanwhile has the same id
    change = update(SESSIONS).where(SESSIONS.c.id == row, SESSIONS.c.version == version)
    with store.writing() as connection:
        won = connection.execute(change.values(version=version + 1, body=body, used_at=now_ms)).rowcount == 1
    return version + 1 if won else 0


def prune(store: Store, now_ms: int, kept_ms: int = KEPT_MS) -> int:
    """Forget some of the sessions that have rested for too long; how many."""
    with store.reading() as connection:
        old = select(SESSIONS.c.id).where(SESSIONS.c.used_at < now_ms - kept_ms).order_by(SESSIONS.c.used_at).limit(PRUNED_AT_ONCE)
        ids = [one.id for one in connection.execute(old)]
    if not ids:
        return 0
    with store.writing() as connection:  # one that was used meanwhile stays
        gone = connection.execute(delete(SESSIONS).where(SESSIONS.c.id.in_(ids), SESSIONS.c.used_at < now_ms - kept_ms))
    return int(gone.rowcount)


def count(store: Store) -> int:
    """How many sessions are remembered."""
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(SESSIONS)).scalar() or 0)


def forget(store: Store, principal: str) -> int:
    """Forget every session of a principal; how many there were. Whoever calls this says that no sum of theirs matters any more."""
    with store.writing() as connection:
        return int(connection.execute(delete(SESSIONS).where(SESSIONS.c.principal == _plain(principal))).rowcount)


def _plain(text: str) -> str:
    """A text as every database takes it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
