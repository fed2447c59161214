"""Reading and writing what is remembered of MCP servers: pins, one row a tool, and nonces, one row an answer that was used."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from bylaw.canonical import digest
from bylaw.errors import StoreError
from bylaw.store.database import Store
from bylaw.store.mcp_tables import NONCES, PINS

MAX_PINS: Final = 5_000  # tools of one server
MAX_DEFINITION_BYTES: Final = 256 * 1024
NONCE_KEPT_MS: Final = 24 * 3600 * 1000  # far longer than any answer holds


class Pin(NamedTuple):
    """One tool of one server: the definition that holds, and the one that was listed last."""

    server: str
    tool: str
    digest: str
    definition: bytes
    seen: str
    seen_definition: bytes
    pinned_at: int
    pinned_by: str
    changed_at: int | None

    @property
    def changed(self) -> bool:
        """Whether the server lists another definition than the one that was accepted."""
        return self.seen != self.digest


class Listed(NamedTuple):
    """A tool as a server lists it now."""

    tool: str
    digest: str
    definition: bytes


def pins(connection: Connection, server: str = "") -> list[Pin]:
    """Every pin of a server, or of all, by name."""
    asked = select(*(PINS.c[name] for name in Pin._fields)).order_by(PINS.c.server, PINS.c.tool)
    return [_pin(row) for row in connection.execute(asked.where(PINS.c.server == server) if server else asked)]


def pin(connection: Connection, server: str, tool: str) -> Pin | None:
    """One tool's pin."""
    found = connection.execute(select(*(PINS.c[name] for name in Pin._fields)).where(PINS.c.id == _id(server, tool))).first()
    return _pin(found) if found else None


def first(store: Store, server: str, listed: Sequence[Listed], now_ms: int) -> list[str]:
    """Pin tools that were never seen; which of them are new. Another process may have been faster."""
    with store.reading() as connection:
        known = connection.execute(select(func.count()).select_from(PINS).where(PINS.c.server == server)).scalar() or 0
    if known + len(listed) > MAX_PINS:
        raise StoreError(f"{server}: more than {MAX_PINS} tools", "Forget those that are gone: bylaw mcp pins forget.")
    made = []
    for one in listed:
        if len(one.definition) > MAX_DEFINITION_BYTES:
            raise StoreError(f"{server}: the definition of {one.tool!r} is too long to keep", f"At most {MAX_DEFINITION_BYTES} bytes.")
        row = {"id": _id(server, one.tool), "server": server, "tool": one.tool, "digest": one.digest, "definition": one.definition}
        seen = {"seen": one.digest, "seen_definition": one.definition, "pinned_at": now_ms, "pinned_by": "", "changed_at": None}
        if store.inserted(insert(PINS).values(**row, **seen)):
            made.append(one.tool)
    return made


def seen(store: Store, server: str, one: Listed, now_ms: int) -> None:
    """A server lists this definition now."""
    change = {
        "seen": one.digest,
        "seen_definition": one.definition[:MAX_DEFINITION_BYTES],
        "changed_at": now_ms,
    }
    with store.writing() as connection:
        connection.execute(update(PINS).where(PINS.c.id == _id(server, one.tool), PINS.c.seen != one.digest).values(**change))
        same = update(PINS).where(PINS.c.id == _id(server, one.tool), PINS.c.digest == one.digest)
        connection.execute(same.values(changed_at=None))


def accept(store: Store, found: Pin, by: str, now_ms: int) -> bool:
    """Let what was seen hold from now on; false where the server has listed something else meanwhile."""
    change = {"digest": found.seen, "definition": found.seen_definition, "pinned_at": now_ms, "pinned_by": by, "changed_at": None}
    with store.writing() as connection:
        wanted = update(PINS).where(PINS.c.id == _id(found.server, found.tool), PINS.c.seen == found.seen)
        return connection.execute(wanted.values(**change)).rowcount == 1


def forget(store: Store, server: str, tool: str = "") -> int:
    """Forget a tool's pin, or all of a server; how many."""
    with store.writing() as connection:
        gone = delete(PINS).where(PINS.c.server == server)
        return int(connection.execute(gone.where(PINS.c.tool == tool) if tool else gone).rowcount)


def used(store: Store, nonce: str, now_ms: int) -> bool:
    """Use a nonce up; false where it was used before. What is long past is forgotten on the way."""
    old = delete(NONCES).where(NONCES.c.used_at < now_ms - NONCE_KEPT_MS)
    return store.inserted(insert(NONCES).values(nonce=nonce, used_at=now_ms), old)


def _id(server: str, tool: str) -> str:
    return digest([server, tool])


def _pin(row: object) -> Pin:
    found: Mapping[str, object] = row._mapping  # type: ignore[attr-defined]  # SQLAlchemy's row
    made = Pin(**{name: found[name] for name in Pin._fields})  # type: ignore[arg-type]  # columns and fields are the same
    return made._replace(definition=bytes(made.definition), seen_definition=bytes(made.seen_definition))
