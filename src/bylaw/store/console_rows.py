"""Logins at the console as rows: put in, read, touched and taken out. How long one holds is decided in `serve.console.logins`."""

from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from bylaw.store.console_tables import LOGINS, SHOWN
from bylaw.store.database import Store

MAX_PRUNED: Final = 1_000  # rows in one transaction


class Login(NamedTuple):
    """Somebody who signed in."""

    id: str
    key: str
    made_at: int  # ms
    used_at: int


def put(store: Store, login: Login, old_ms: int) -> None:
    """Keep a login; what was made before `old_ms` is forgotten on the way."""
    with store.writing() as connection:
        old = select(LOGINS.c.id).where(LOGINS.c.made_at < old_ms).limit(MAX_PRUNED)
        connection.execute(delete(LOGINS).where(LOGINS.c.id.in_(old)))
        stale = select(SHOWN.c.login).where(SHOWN.c.at < old_ms).limit(MAX_PRUNED)
        connection.execute(delete(SHOWN).where(SHOWN.c.login.in_(stale), SHOWN.c.at < old_ms))
        connection.execute(insert(LOGINS).values(**login._asdict()))


def get(connection: Connection, login: str) -> Login | None:
    """The login with this id."""
    row = connection.execute(select(LOGINS.c.id, LOGINS.c.key, LOGINS.c.made_at, LOGINS.c.used_at).where(LOGINS.c.id == login)).first()
    return Login(*row) if row else None


def touch(store: Store, login: str, now_ms: int) -> None:
    """A login was used."""
    with store.writing() as connection:
        connection.execute(update(LOGINS).where(LOGINS.c.id == login, LOGINS.c.used_at < now_ms).values(used_at=now_ms))


def drop(store: Store, login: str) -> None:
    """A login is over."""
    with store.writing() as connection:
        connection.execute(delete(LOGINS).where(LOGINS.c.id == login))  # in the order of `put`, so that the two cannot wait for each other
        connection.execute(delete(SHOWN).where(SHOWN.c.login == login))


def nobody(connection: Connection) -> int:
    """Every login is over; how many there were."""
    over = connection.execute(delete(LOGINS)).rowcount  # in the order of `put`, as in `drop`
    connection.execute(delete(SHOWN))
    return over


def show(store: Store, login: str, approval: str, now_ms: int) -> None:
    """A request for approval is before somebody's eyes; the first time counts."""
    with store.reading() as connection:
        if shown_at(connection, login, approval) is not None:
            return
    store.inserted(insert(SHOWN).values(login=login, approval=approval, at=now_ms))


def shown_at(connection: Connection, login: str, approval: str) -> int | None:
    """When a request was first shown in this login; None where it never was."""
    found = connection.execute(select(SHOWN.c.at).where(SHOWN.c.login == login, SHOWN.c.approval == approval)).scalar()
    return None if found is None else int(found)
