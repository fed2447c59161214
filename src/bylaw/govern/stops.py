"""Emergency stops: everything, or one tenant, principal or tool, stopped on every process within a second.

`applies` answers from memory; `applies_now` asks the store, right before something is executed or released. A store that cannot be read
stops everything. A stop takes effect even where the ledger cannot record it (the error is still raised); lifting one does not.
"""

import logging
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from bylaw.errors import BylawError, LedgerError, StoreError
from bylaw.govern.approval_steps import plain
from bylaw.store import clock as clocks
from bylaw.store import versions
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.stop_tables import STOPS
from bylaw.store.watching import Watch

LOG: Final = logging.getLogger(__name__)
Record = Callable[[Mapping[str, Any]], object]

GLOBAL: Final = "global"
DRILL: Final = "drill"  # stops nobody: what a drill raises
KINDS: Final = ("tenant", "principal", "tool", DRILL)
NAME: Final = "stops"  # of the version counter
UNREADABLE: Final = "whether something is stopped cannot be told: the store cannot be read"
MAX_SCOPE: Final = 300  # characters


@dataclass(frozen=True, slots=True)
class Stop:
    """One emergency stop; in force while it is not lifted."""

    id: str
    scope: str
    reason: str
    stopped_by: str
    stopped_at: int  # ms
    lifted_by: str = ""
    lifted_at: int | None = None
    lifted_reason: str = ""


class Stops:
    """The stops in force, as this process knows them."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._reasons: Mapping[tuple[str, str], str] = {}
        watch.add(NAME, self._read)

    def applies(self, principal: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
        """Why this principal may not do this now; empty where nothing is stopped. From memory, at most a second old."""
        if not self._watch.fresh():
            return (UNREADABLE,)
        return _applying(self._reasons, principal, tool)

    def applies_now(self, principal: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
        """The same, asked of the store this moment."""
        try:
            with self._watch.store.reading() as connection:
                return _applying(_reasons(connection), principal, tool)
        except Exception as error:  # noqa: BLE001  # whatever keeps it from being read, a stop that is not known is in force
            LOG.warning("%s: %s", UNREADABLE, error.what if isinstance(error, BylawError) else type(error).__name__)
            return (UNREADABLE,)

    def _read(self, connection: Connection) -> None:
        self._reasons = _reasons(connection)


def stop(store: Store, record: Record, scope: str, by: str, reason: str = "", clock: Clock | None = None) -> tuple[Stop, int]:
    """Stop a scope. The stop, and the version of the stops that has it. In force when this returns or raises LedgerError."""
    scope = checked(scope)
    with store.writing() as connection:
        now = clocks.read(connection, clock or Clock())
        made = Stop(uuid4().hex, scope, plain(reason), plain(by), now)
        connection.execute(insert(STOPS).values(**asdict(made)))
        version = versions.raised(connection, NAME)
        connection.execute(clocks.kept(now))
    try:  # after it has taken effect: a full disk must not keep anybody from stopping
        record(_entry("stop", made, now, by))
    except LedgerError as error:
        raise LedgerError(f"{scope} is stopped, but the ledger could not record it: {error.what}", error.hint) from error
    return made, version


def resume(store: Store, record: Record, scope: str, by: str, reason: str = "", clock: Clock | None = None) -> list[Stop]:
    """Lift every stop of exactly this scope; which. Another scope that covers the same stays in force."""
    scope = checked(scope)
    found = [one for one in active(store) if _folded(one.scope) == _folded(scope)]
    with store.reading() as connection:
        now = clocks.read(connection, clock or Clock())
    for one in found:
        record(_entry("resume", one, now, by))
    with store.writing() as connection:
        change = {"lifted_by": plain(by), "lifted_at": now, "lifted_reason": plain(reason)}
        for one in found:
            connection.execute(update(STOPS).where(STOPS.c.id == one.id, STOPS.c.lifted_at.is_(None)).values(**change))
        if found:
            versions.raised(connection, NAME)
    return found


def active(store: Store) -> list[Stop]:
    """The stops in force, oldest first."""
    with store.reading() as connection:
        return _active(connection)


def checked(scope: str) -> str:
    """A scope as it is written: `global`, `tenant:T`, `principal:P` or `tool:T`."""
    kind, colon, name = scope.partition(":")
    good = scope == GLOBAL or (kind in KINDS and colon and name.strip() and len(scope) <= MAX_SCOPE and scope.isprintable())
    if not good:
        raise StoreError(f"{scope!r} is no scope of a stop", "Write global, tenant:T, principal:P or tool:T.")
    return scope


def to_json(one: Stop) -> dict[str, Any]:
    """A stop for machines."""
    return asdict(one)


def _active(connection: Connection) -> list[Stop]:
    asked = select(STOPS).where(STOPS.c.lifted_at.is_(None)).order_by(STOPS.c.stopped_at, STOPS.c.id)
    return [Stop(**dict(row)) for row in connection.execute(asked).mappings()]


def _reasons(connection: Connection) -> dict[tuple[str, str], str]:
    """Why each scope is stopped, by its kind and its name in small letters."""
    found: dict[tuple[str, str], str] = {}
    for one in _active(connection):
        kind, _, name = one.scope.partition(":")
        found.setdefault((kind, _folded(name)), f"{one.scope}: {one.reason}" if one.reason else one.scope)
    return found


def _applying(reasons: Mapping[tuple[str, str], str], principal: Mapping[str, Any], tool: str) -> tuple[str, ...]:
    if not reasons:
        return ()
    keys = [
        (GLOBAL, ""),
        ("tenant", _folded(str(principal.get("tenant") or ""))),
        ("principal", _folded(str(principal.get("id") or ""))),
        ("tool", _folded(tool)),
    ]
    return tuple(reasons[key] for key in keys if key in reasons)


def _folded(name: str) -> str:
    """Case, width and blanks do not get anybody around a stop."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _entry(step: str, one: Stop, now: int, by: str) -> dict[str, Any]:
    contents = {"reason": one.reason} if one.reason else {}
    return {"kind": "stop", "time": now * 1000, "facts": {"step": step, "scope": one.scope, "by": plain(by)}, "contents": contents}
