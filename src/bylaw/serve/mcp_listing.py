"""What a server lists, as a principal may see it: each tool held against its pin, and against what the policy blocks outright."""

import time
from typing import TYPE_CHECKING, Any, Final

from bylaw.serve.mcp_again import OPEN
from bylaw.serve.mcp_asking import Client
from bylaw.serve.mcp_dealing import Dealing
from bylaw.serve.mcp_pins import FRESH_S, MAX_TOOLS, Pins
from bylaw.serve.mcp_wire import PARAMS, WITHHELD, Rpc
from bylaw.serve.wire import JsonMap

if TYPE_CHECKING:
    from bylaw.serve.mcp_line import Server

MAX_PAGES: Final = 100
SHOWN: Final = 20  # names in one record
FINDING: Final = "finding"
CHANGED: Final = "tool-changed"


class Listing:
    """The tools of one server, for one request."""

    def __init__(self, dealing: Dealing, server: "Server", pins: Pins, prefix: str) -> None:
        self._dealing = dealing
        self._server = server
        self._pins = pins
        self._prefix = prefix

    async def listed(self, params: JsonMap, client: Client | None) -> JsonMap:
        """A page of the list, without what is not shown; raises Rpc. A server's error is what it said, and is for the caller to judge."""
        dealing = self._dealing
        reply = await self._server.ask("tools/list", params, client)
        result = reply.get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(tools, list):
            if "error" in reply:
                return {"error": reply["error"]}
            raise Rpc(WITHHELD, "the server's list of tools cannot be read")
        if len(tools) > MAX_TOOLS:
            raise Rpc(WITHHELD, f"the server lists more than {MAX_TOOLS} tools")
        await self._looked(tools)
        standing = self._pins.standing(dealing.server)
        good = [one for one in tools if isinstance(one, dict) and one.get("name") in standing.schemas]
        shown = [one for one in good if one["name"] not in standing.changed and dealing.shown(self._prefix + one["name"])]
        said = await dealing.said("document", {"result": {**result, "tools": shown}}, taints=False)
        names = {one["name"] for one in shown}
        hidden = [str(one.get("name"))[:100] for one in tools if isinstance(one, dict) and one.get("name") not in names]
        if hidden or said.decision.effect != "allow":
            facts = {"shown": len(shown), "hidden": hidden[:SHOWN], "decision": said.decision.effect}
            await dealing.note("listed", "", facts)
        if said.decision.effect not in OPEN:
            raise Rpc(WITHHELD, "the server's list of tools is withheld")
        return said.body

    async def holds(self, name: str, params: JsonMap, client: Client | None) -> None:
        """Raise Rpc where a tool is not listed as somebody has accepted it. Where the list is old, or was never seen, it is asked for."""
        dealing, standing = self._dealing, self._pins.standing(self._dealing.server)
        if name not in standing.schemas or time.monotonic() - standing.listed_at > FRESH_S:
            await self._walk({"_meta": params["_meta"]} if "_meta" in params else {})
            standing.listed_at = time.monotonic()
        if name not in standing.schemas:
            raise Rpc(PARAMS, f"the server lists no tool {name[:100]!r}")
        if not await self._pins.holds(dealing.server, name):
            await dealing.note(CHANGED, self._prefix + name, {"refused": True}, FINDING)
            hint = f"bylaw mcp pins accept {dealing.server} {name}"
            raise Rpc(WITHHELD, f"{name}: its description is not the one that was accepted; a person has to look at it: {hint}")

    async def _walk(self, meta: JsonMap) -> None:
        cursor, seen, names = None, set[str](), set[str]()
        meta = {key: {inner: one for inner, one in value.items() if inner != "progressToken"} for key, value in meta.items()}
        for _ in range(MAX_PAGES):
            reply = await self._server.ask("tools/list", {**meta, **({"cursor": cursor} if cursor else {})}, None)
            result = reply.get("result")
            tools = result.get("tools") if isinstance(result, dict) else None
            if not isinstance(result, dict) or not isinstance(tools, list) or len(tools) > MAX_TOOLS:
                raise Rpc(WITHHELD, "the server's list of tools cannot be read, so none of them is called")
            await self._looked(tools)
            names |= {name for one in tools if isinstance(one, dict) and isinstance(name := one.get("name"), str)}
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or cursor in seen:
                break
            seen.add(cursor)
        self._pins.only(self._dealing.server, names)

    async def _looked(self, tools: list[Any]) -> None:
        found = await self._pins.look(self._dealing.server, tools)
        if found.new:
            await self._dealing.note("pinned", "", {"tools": len(found.new), "names": [name[:100] for name in found.new[:SHOWN]]})
        for pin in found.changed:
            contents = {"accepted": pin.definition, "listed": pin.seen_definition}
            said = {"route": "mcp", "server": pin.server, "step": CHANGED}
            entry = {"kind": FINDING, "tool": pin.tool, "principal": self._dealing.who.id, "session": self._dealing.session.id}
            await self._dealing.gate.recorder.record({**entry, "facts": said, "contents": contents})
