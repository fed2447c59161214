"""A line between a client and a server that are told what to say; and the real HTTP application over a real SDK server."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bylaw.govern.approvals import Approvals
from bylaw.govern.quorum import Person
from bylaw.serve.door import NotIn
from bylaw.serve.gate import Gate, Ways, Who
from bylaw.serve.law import Law
from bylaw.serve.mcp_http import Mcp
from bylaw.serve.mcp_line import Line
from bylaw.serve.mcp_pins import Pins
from bylaw.serve.mcp_seal import Seal
from bylaw.serve.mcp_servers import ServerAt
from bylaw.serve.mcp_wire import CAPABILITIES_KEY, MODERN, VERSION_KEY
from bylaw.serve.sessions import Sessions
from bylaw.serve.upstream import Upstream
from bylaw.store.clock import Clock
from tests.serve.rig import CLAUSES, Book, law, serving, written
from tests.store import blank

LENA = Person("lena", ("lead",))
AGENT = {"id": "agent", "roles": ["agent"], "tenant": "", "jurisdiction": ""}
OTHER = {"id": "other", "roles": ["agent"], "tenant": "", "jurisdiction": ""}
SHOP = ("money.limit", "money.never", "security.orders", "privacy.results", "money.till", "shop.reads")
MORE: dict[str, tuple[str, str]] = {
    "privacy.results": ("No card numbers in results", "    on: [tool_result, document]\n    detect: [pii.card]\n    then: redact"),
    "privacy.calls": ("No card numbers in calls", "    on: tool_call\n    tool: lookup\n    detect: [pii.card]\n    then: redact"),
    "money.till": ("Nobody empties the till", "    on: tool_call\n    tool: empty\n    then: block"),
    "shop.lead": ("Only leads look up", "    on: tool_call\n    tool: lookup\n    when: '!(\"lead\" in principal.roles)'\n    then: block"),
    "shop.reads": (
        "Terms are read and greetings got",
        '    on: tool_call\n    tool: [mcp.resources.read, mcp.prompts.get]\n    when: args.server == "shop"\n    then: allow',
    ),
    "till.any": (
        "To empty the till needs a person",
        "    on: tool_call\n    tool: [empty]\n    then: require_approval\n    approvers: [lead]\n    ttl: 30m",
    ),
    "shop.confirm": ("Confirmations are given", "    on: tool_call\n    tool: confirm\n    then: allow"),
    "shop.tainted": (
        "Nothing is paid after strangers' words",
        "    on: tool_call\n    tool: refund\n    when: '\"untrusted-text\" in session.taint'\n    then: block",
    ),
}
CLAUSES.update({name: one for name, one in MORE.items() if name not in CLAUSES})
TOOLS: list[dict[str, Any]] = [
    {"name": "refund", "description": "Pay back.", "inputSchema": {"type": "object"}},
    {"name": "lookup", "description": "Look up.", "inputSchema": {"type": "object"}},
    {"name": "empty", "description": "Empty the till.", "inputSchema": {"type": "object"}},
]


def policy(folder: Path, clauses: Sequence[str] = SHOP, keyboard: bool = True) -> Path:
    """A policy for the shop; `keyboard`: a user may consent to what else a lead approves."""
    made = written(folder, clauses)
    rules = (made / "rules.md").read_text()
    (made / "rules.md").write_text(rules.replace("approvers: [lead]", "approvers: [lead, user-at-keyboard]") if keyboard else rules)
    return made


@dataclass
class Told:
    """A server that says what it is told to, and keeps what it was asked."""

    tools: list[dict[str, Any]] = field(default_factory=lambda: [dict(tool) for tool in TOOLS])
    replies: dict[str, Any] = field(default_factory=dict)  # by method; an exception is raised
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, method: str, params: dict[str, Any], client: Any) -> dict[str, Any]:
        self.asked.append((method, params))
        if method == "tools/list":
            return {"result": {"resultType": "complete", "tools": [dict(tool) for tool in self.tools]}}
        reply = self.replies.get(method, {"result": {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}})
        if isinstance(reply, Exception):
            raise reply
        return {key: dict(value) if isinstance(value, dict) else value for key, value in reply.items()}

    async def tell(self, message: dict[str, Any]) -> None:
        self.told.append(message)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls that reached it."""
        return [params for method, params in self.asked if method == "tools/call"]


@dataclass
class User:
    """A client, and the user before it."""

    modern: bool = True
    forms: bool = True
    answers: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(params)
        return self.answers.pop(0)

    async def tell(self, message: dict[str, Any]) -> None:
        self.heard.append(message)


YES = {"action": "accept", "content": {"approve": True}}
NO = {"action": "decline"}


@dataclass
class Rigged:
    """What a test works with."""

    line: Line
    server: Told
    book: Book
    approvals: Approvals
    stopped: dict[str, str]
    store: Any
    folder: Path
    laws: list[Law]

    def as_(self, principal: Mapping[str, Any]) -> Line:
        """The line of somebody else."""
        who = Who(principal)
        return replace(self.line, who=who, session=self.line.gate.sessions.of(who.owner, "s"))

    def ask(self, method: str, params: dict[str, Any], user: User | None = None, line: Line | None = None) -> dict[str, Any]:
        """The whole answer to one request."""
        user = user or User()
        meta = {"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: {"elicitation": {}} if user.forms else {}}} if user.modern else {}
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, **meta}}
        return asyncio.run((line or self.line).answer(message, user))

    def call(self, tool: str, args: dict[str, Any], user: User | None = None, line: Line | None = None, **more: Any) -> dict[str, Any]:
        """The answer to one call: its result, or its error."""
        said = self.ask("tools/call", {"name": tool, "arguments": args, **more}, user, line)
        found: dict[str, Any] = said.get("result") or said["error"]
        return found

    def consented(self, tool: str, args: dict[str, Any], answer: dict[str, Any], line: Line | None = None) -> dict[str, Any]:
        """A call, the question that comes back, and the call again with the user's answer."""
        asked = self.call(tool, args, line=line)
        return self.call(tool, args, line=line, requestState=asked["requestState"], inputResponses={"bylaw-approval": answer})


@contextmanager
def lined(
    tmp_path: Path, clauses: Sequence[str] = SHOP, keyboard: bool = True, clock: Callable[[], float] | None = None
) -> Iterator[Rigged]:
    """A line under a policy of some clauses."""
    book, stopped, store = Book(), dict[str, str](), blank.opened(tmp_path / "store.sqlite")
    approvals = Approvals(store, book.append, Clock(clock) if clock else None)
    laws = [law(policy(tmp_path / "policy", clauses, keyboard))]

    def stops(who: Mapping[str, Any], tool: str) -> Any:
        return tuple(why for scope, why in stopped.items() if scope in ("global", f"tool:{tool}"))

    gate = Gate(lambda who: laws[-1], Upstream("http://localhost"), book, stops, Sessions(), approvals, Ways())
    seal = Seal(tmp_path, store, clock) if clock else Seal(tmp_path, store)
    who, server = Who(AGENT), Told()
    line = Line(gate, "shop", who, gate.sessions.of(who.owner, "s"), server, Pins(store), seal)
    with ExitStack() as closing:
        closing.callback(store.close)
        closing.callback(approvals.close)
        yield Rigged(line, server, book, approvals, stopped, store, tmp_path, laws)


def text(result: Mapping[str, Any]) -> str:
    """What a result says."""
    return "\n".join(item["text"] for item in result["content"])


# ---- The real application ----------------------------------------------------------------------------------------------


@dataclass
class ByKey:
    """A door: the key is the principal's name; none is the agent."""

    async def enter(self, headers: Mapping[bytes, bytes]) -> Who:
        return Who(OTHER if self.key(headers) == "other" else AGENT)

    def key(self, headers: Mapping[bytes, bytes]) -> str:
        shown = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if shown == "nobody":
            raise NotIn(401, "this needs a key")
        return shown


@contextmanager
def gateway(
    tmp_path: Path, servers: Sequence[ServerAt], clauses: Sequence[str] = SHOP, **more: Any
) -> Iterator[tuple[str, Book, Approvals]]:
    """The gateway's MCP routes in front of servers."""
    book, store = Book(), blank.opened(tmp_path / "store.sqlite")
    approvals, holding = Approvals(store, book.append), law(policy(tmp_path / "policy", clauses))
    gate = Gate(lambda who: holding, Upstream("http://localhost"), book, lambda who, tool: (), Sessions(), approvals, Ways())
    made = Mcp({one.name: one for one in servers}, gate, ByKey(), Pins(store), Seal(tmp_path, store), **more)  # type: ignore[arg-type]  # a door

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await made(scope, receive, send)
            return
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                await made.close()
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    with serving(app) as url:
        yield url, book, approvals
    approvals.close()
    store.close()
