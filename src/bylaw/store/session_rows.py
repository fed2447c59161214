"""Reading and swapping rows of `sessions`: one row a session, one compare-and-swap a change, bounded in size, number and age.

Beside them `session_replies`: in which session a reply was given, for turns that name no more than the reply before them.

What a body means is the business of whoever writes it (`govern.histories`). A principal's own: the same name under two principals is two
rows. Nothing here is retried: who lost reads again and decides anew.
"""

from typing import Final, NamedTuple

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from bylaw.canonical import digest
from bylaw.errors import StoreError
from bylaw.store.database import Store
from bylaw.store.session_tables import REPLIES, SESSIONS

MAX_BYTES: Final = 256 * 1024  # of one body
MAX_ROWS: Final = 1_000_000
MAX_REPLIES: Final = 1_000_000  # beyond that the oldest are forgotten: a turn that names one is not guessed at
KEPT_MS: Final = 7 * 24 * 3600 * 1000  # how long a session that rests is remembered
PRUNED_AT_ONCE: Final = 1_000  # rows in one transaction, so that nobody waits for it long
REPLIES_AT_ONCE: Final = 10_000


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
    """Forget some of the sessions that have rested for too long, and replies as old; how many sessions."""
    with store.reading() as connection:
        old = select(SESSIONS.c.id).where(SESSIONS.c.used_at < now_ms - kept_ms).order_by(SESSIONS.c.used_at).limit(PRUNED_AT_ONCE)
        ids = [one.id for one in connection.execute(old)]
        due = select(func.count()).select_from(REPLIES).where(REPLIES.c.made_at < now_ms - kept_ms)
        over = max(int(connection.execute(due).scalar() or 0), _number(connection, REPLIES) - MAX_REPLIES)
        oldest = select(REPLIES.c.id).order_by(REPLIES.c.made_at).limit(min(max(over, 0), REPLIES_AT_ONCE))
        given = [one.id for one in connection.execute(oldest)]
    if not (ids or given):
        return 0
    with store.writing() as connection:  # one that was used meanwhile stays
        gone = connection.execute(delete(SESSIONS).where(SESSIONS.c.id.in_(ids), SESSIONS.c.used_at < now_ms - kept_ms))
        connection.execute(delete(REPLIES).where(REPLIES.c.id.in_(given)))
    return int(gone.rowcount)


def count(store: Store) -> int:
    """How many sessions are remembered."""
    with store.reading() as connection:
        return _number(connection, SESSIONS)


def forget(store: Store, principal: str) -> int:
    """Forget every session of a principal; how many there were. Whoever calls this says that no sum of theirs matters any more."""
    with store.writing() as connection:
        gone = connection.execute(delete(SESSIONS).where(SESSIONS.c.principal == _plain(principal))).rowcount  # in the order of `prune`
        connection.execute(delete(REPLIES).where(REPLIES.c.principal == _plain(principal)))
    return int(gone)


def replied(store: Store, principal: str, reply: str, name: str, now_ms: int) -> None:
    """A reply with this id was given in the session of that name. An id that comes in a second session names none any more."""
    row, session = key(principal, reply), _plain(name)
    new = insert(REPLIES).values(id=row, principal=_plain(principal), session=session, made_at=now_ms)
    if not store.inserted(new):
        with store.writing() as connection:
            connection.execute(update(REPLIES).where(REPLIES.c.id == row, REPLIES.c.session != session).values(session=""))


def session_of(connection: Connection, principal: str, reply: str) -> str:
    """The name of the session in which a reply was given; empty where that is not known."""
    return str(connection.execute(select(REPLIES.c.session).where(REPLIES.c.id == key(principal, reply))).scalar() or "")


def _number(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)


def _plain(text: str) -> str:
    """A text as every database takes it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
