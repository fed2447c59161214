"""Tool definitions pinned by hash: what a model is told of a tool stays what somebody has accepted.

The digest is over name, title, description, schemas and annotations. At first sight a tool is pinned as it is listed. A server that lists
another definition later is a finding: recorded, and the tool is neither shown nor called until a person accepts it (`bylaw mcp pins
accept`), or the server lists the accepted one again. A tool that the server does not list is not called.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bylaw.canonical import canonical, digest_bytes
from bylaw.errors import StoreError
from bylaw.serve.mcp_wire import mirrors_any
from bylaw.serve.wire import JsonMap
from bylaw.store import mcp_rows as rows
from bylaw.store.database import Store
from bylaw.store.mcp_rows import Listed, Pin

LEFT_OUT: Final = ("_meta", "icons")  # of a definition: no model reads them
FRESH_S: Final = 300.0  # after which a server is asked anew what it lists, before one of its tools is called
MAX_TOOLS: Final = 5_000
MAX_NAME: Final = 200


@dataclass(slots=True)
class Standing:
    """What one server has listed in this process."""

    schemas: dict[str, Any] = field(default_factory=dict)  # of the arguments, by tool
    mirrored: dict[str, Any] = field(default_factory=dict)  # those of them that want arguments in headers too
    changed: dict[str, Pin] = field(default_factory=dict)
    listed_at: float = 0.0  # 0: never


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking at a list of tools."""

    new: tuple[str, ...]
    changed: tuple[Pin, ...]  # that were not known to be so


class Pins:
    """The pins of one store, and what servers list."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._standing: dict[str, Standing] = {}

    def standing(self, server: str) -> Standing:
        """What a server has listed here."""
        return self._standing.setdefault(server, Standing())

    async def look(self, server: str, tools: Sequence[Any]) -> Looked:
        """Hold tools, as they are listed, against their pins; raises StoreError."""
        listed = [one for tool in tools if (one := listed_as(tool)) is not None]
        new, changed, known = await asyncio.to_thread(self._look, server, listed)
        standing = self.standing(server)
        fresh = tuple(pin for pin in changed if (old := standing.changed.get(pin.tool)) is None or old.seen != pin.seen)
        names = {one.tool for one in listed}
        for tool in tools:
            if isinstance(tool, dict) and isinstance(name := tool.get("name"), str) and name in names:
                schema = standing.schemas[name] = tool.get("inputSchema")
                if mirrors_any(schema):
                    standing.mirrored[name] = schema
                else:
                    standing.mirrored.pop(name, None)
        for name in (*known, *new):
            standing.changed.pop(name, None)
        standing.changed |= {pin.tool: pin for pin in changed}
        return Looked(tuple(new), fresh)

    def only(self, server: str, names: Collection[str]) -> None:
        """Forget the tools that a whole list does not name; their pins stay."""
        standing = self.standing(server)
        for gone in standing.schemas.keys() - names:
            del standing.schemas[gone]
            standing.mirrored.pop(gone, None)

    async def holds(self, server: str, tool: str) -> bool:
        """Whether a tool that was listed is the one that was accepted; asked of the store where it was not."""
        standing = self.standing(server)
        if tool not in standing.changed:
            return True
        now = await asyncio.to_thread(self._pin, server, tool)
        listed = standing.changed.get(tool)  # by now: another call may have found it accepted, or another list changed it again
        if listed is not None and (now is None or now.digest != listed.seen):
            return False
        standing.changed.pop(tool, None)
        return True

    def _look(self, server: str, listed: Sequence[Listed]) -> tuple[list[str], list[Pin], list[str]]:
        now_ms, known, new = round(time.time() * 1000), self._known(server), list[str]()
        if fresh := [one for one in listed if one.tool not in known]:
            new = rows.first(self._store, server, fresh, now_ms)
            known = self._known(server)  # another process, or the same list, may have had another one first
        changed, same, by_name = [], [], dict[str, Listed]()
        for one in listed:  # of two of one name, the one that differs counts
            if one.tool not in by_name or by_name[one.tool].digest == known[one.tool].digest:
                by_name[one.tool] = one
        for one in by_name.values():
            pin = known[one.tool]
            if pin.seen != one.digest:
                rows.seen(self._store, server, one, now_ms)
            if one.digest == pin.digest:
                same.append(one.tool)
            else:
                changed.append(pin._replace(seen=one.digest, seen_definition=one.definition))
        return new, changed, same

    def _known(self, server: str) -> Mapping[str, Pin]:
        with self._store.reading() as connection:
            return {pin.tool: pin for pin in rows.pins(connection, server)}

    def _pin(self, server: str, tool: str) -> Pin | None:
        with self._store.reading() as connection:
            return rows.pin(connection, server, tool)


def listed_as(tool: Any) -> Listed | None:
    """A tool as it is pinned; None for what is no tool, which is not shown either. Raises StoreError on numbers that JSON cannot say."""
    name = tool.get("name") if isinstance(tool, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        return None
    told: JsonMap = {key: value for key, value in tool.items() if key not in LEFT_OUT}
    try:
        definition = canonical(told)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"the definition of {name!r} cannot be pinned: {error}", "The server's list is not shown.") from error
    return Listed(name, digest_bytes(definition), definition)
