"""The line between one MCP client and one server: which messages pass, which are judged, and what is answered instead.

Judged are `tools/call`, `resources/read` and `prompts/get` before they are sent and after they are answered; the lists, what a server says
of itself, and what it asks or tells the client meanwhile, before the client sees it; what a user answers a server, before the server sees
it. A method that is not named here does not pass: nobody has said how to judge it.

Each call is recorded before it is sent, and its result before the client has it, or, where no rule looks at it, right after (see
`Dealing.later`). Where no record can be written, nothing goes on.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from bylaw.canonical import digest_bytes
from bylaw.errors import BylawError, LedgerError
from bylaw.govern.approvals import Claim
from bylaw.serve import refusals
from bylaw.serve.gate import Gate, Who
from bylaw.serve.mcp_again import OPEN
from bylaw.serve.mcp_asking import Asking, Client, NotYet, Question, replied
from bylaw.serve.mcp_dealing import PROMPT, READ, Dealing, Heard
from bylaw.serve.mcp_listing import Listing
from bylaw.serve.mcp_pins import Pins
from bylaw.serve.mcp_seal import Seal
from bylaw.serve.mcp_wire import (
    INTERNAL,
    MODERN,
    NO_METHOD,
    PARAMS,
    WITHHELD,
    Gone,
    Rpc,
    answer,
    id_of,
    is_modern,
    params_of,
)
from bylaw.serve.sessions import Session
from bylaw.serve.wire import JsonMap, dump
from bylaw.types import Decision, Surface

META: Final = frozenset({"_meta"})
LISTED: Final = META | {"cursor"}
PASSED: Final = {  # methods that change nothing, and their parameters: sent on, and what comes back is looked through
    "initialize": META | {"protocolVersion", "capabilities", "clientInfo"},
    "server/discover": META,
    "ping": META,
    "prompts/list": LISTED,
    "resources/list": LISTED,
    "resources/templates/list": LISTED,
    "completion/complete": META | {"ref", "argument", "context"},
    "logging/setLevel": META | {"level"},
    "resources/subscribe": META | {"uri"},
    "resources/unsubscribe": META | {"uri"},
    "subscriptions/listen": META | {"notifications"},
}
JUDGED: Final = {"resources/read": READ, "prompts/get": PROMPT}
BESIDE: Final = frozenset({"requestState", "inputResponses"})  # what a call brings its server besides its arguments
KNOWN: Final = {  # the parameters that are sent on
    **PASSED,
    "tools/list": LISTED,
    "tools/call": META | BESIDE | {"name", "arguments"},
    "resources/read": META | BESIDE | {"uri"},
    "prompts/get": META | BESIDE | {"name", "arguments"},
}
TOLD: Final = {  # notifications of a client, and what is sent on of them
    "notifications/cancelled": META | {"requestId", "reason"},
    "notifications/initialized": META,
    "notifications/progress": META | {"progressToken", "progress", "total", "message"},
    "notifications/roots/list_changed": META,
}
CANCELLED: Final = "notifications/cancelled"
SPOKEN: Final = ("sampling/createMessage", "elicitation/create")  # what a server asks of a model or a user, in its own words
CHANGED: Final = "notifications/tools/list_changed"
ENDS: Final = ("complete", "input_required")  # kinds of result by the protocol of 2026-07-28; an extension's own are not known
ENDING: Final[set[asyncio.Task[JsonMap]]] = set()  # what is being recorded of calls that have ended; a loop alone would not hold them
LOG: Final = logging.getLogger(__name__)


class Server(Protocol):
    """Whoever is called."""

    async def ask(self, method: str, params: JsonMap, client: "Client | None") -> JsonMap:
        """Send a request; its `result` or `error`. What comes meanwhile is for the client. Raises Rpc where there is no answer."""

    async def tell(self, message: JsonMap) -> None:
        """Send a notification."""


@dataclass(slots=True)
class Line:
    """One client's line to one server. Made for each request of today's protocol: a frozen one would take four times as long to make."""

    gate: Gate
    name: str  # what the server is called here
    who: Who
    session: Session
    server: Server
    pins: Pins
    seal: Seal | None = None
    prefix: str = ""  # put before the names of its tools, where rules name them so

    async def answer(self, message: JsonMap, client: Client) -> JsonMap:
        """The answer to a request; whatever goes wrong is one, and lets nothing out."""
        to = id_of(message)
        try:
            return answer(to, await self._answered(message, client))
        except Rpc as error:
            return answer(to, {"error": error.error})
        except LedgerError as error:
            LOG.error("not recorded, so not let through: %s", error.what)
            return answer(to, {"error": Rpc(INTERNAL, "this could not be recorded, so nothing was let through").error})
        except BylawError as error:
            LOG.error("%s", error.what)
            return answer(to, {"error": Rpc(INTERNAL, "this could not be decided, so nothing was let through").error})
        except Exception:
            LOG.exception("a fault in the proxy")  # the client learns nothing of it, and gets nothing else
            return answer(to, {"error": Rpc(INTERNAL, "a fault in the proxy; nothing was let through").error})

    async def _answered(self, message: JsonMap, client: Client) -> JsonMap:
        method, params = message["method"], dict(params_of(message))
        modern = is_modern(message)
        dealing = self.dealing(MODERN if modern else "")
        if not self.gate.recorder.healthy:
            raise LedgerError("the ledger does not take entries", "Nothing was let through.")
        if method == "tools/call":
            return await self._call(dealing, params, client)
        if method in JUDGED:
            return await self._read(dealing, method, params, client)
        if method == "tools/list":
            if reasons := dealing.stops(""):
                raise _stopped(reasons)
            reply = await self.listing(dealing).listed(_known(method, params), client)
            return await self._let_out(dealing, reply) if "error" in reply else reply
        if method in PASSED:
            return await self._pass(dealing, method, params, client)
        raise Rpc(NO_METHOD, f"{method[:100]!r} does not pass here: nobody has said how to judge it")

    def dealing(self, protocol: str = "") -> Dealing:
        """A request under the law of this moment."""
        return Dealing(self.gate, self.gate.laws(self.who.principal), self.who, self.session, self.name, protocol)

    def listing(self, dealing: Dealing) -> Listing:
        """What the server lists, for this request."""
        return Listing(dealing, self.server, self.pins, self.prefix)

    # ---- A tool call --------------------------------------------------------------------------------------------------

    async def _call(self, dealing: Dealing, params: JsonMap, client: Client) -> JsonMap:
        name, args, brought = params.get("name"), params.get("arguments"), replied(params)
        if not isinstance(name, str) or not isinstance(args if args is not None else {}, dict):
            raise Rpc(PARAMS, "a call names a tool, and its arguments are an object")
        sent = _known("tools/call", params)
        tool = self.prefix + name
        if tool in JUDGED.values():
            raise Rpc(PARAMS, f"{tool} is the name under which reading is judged, and no tool's")
        await self.listing(dealing).holds(name, sent, client)
        await self._user_said(dealing, sent)
        judged = await dealing.call(tool, args or {})
        decision = judged.decision
        try:
            record = await dealing.called(judged, tool)
            if decision.effect == "require_approval":
                asking = Asking(dealing, judged, self.gate.approvals, self.seal, _beside(sent))
                claim = await asking.claimed(client, brought)
                sent |= asking.beside
            elif decision.effect == "allow":
                claim = None
                decision = dealing.held(decision, tool)
                if decision is not judged.decision:
                    record = await dealing.record(decision, "tool_call", {}, tool)
                    raise NotYet(decision, self._refused(dealing, decision, tool))
            else:
                raise NotYet(decision, self._refused(dealing, decision, tool))
        except NotYet as error:
            if error.decision is not decision:
                record = await dealing.record(error.decision, "tool_call", {}, tool, {"approval": error.approval})
            return {"result": _withheld(error.text, refusals.told(error.decision, record, error.approval, self.gate.ways.retry_after_s))}
        except Question as error:
            await dealing.note("asked", tool)
            return {"result": error.result}
        sent = {**sent, "name": name, "arguments": dict(judged.event.args)}
        return await self._sent(dealing, tool, sent, client, claim)

    async def _sent(self, dealing: Dealing, tool: str, sent: JsonMap, client: Client, claim: Claim | None) -> JsonMap:
        """Send a call that may run, and judge what comes of it."""
        try:
            reply = await self.server.ask("tools/call", sent, client)
        except Gone:  # nobody knows how it ended: an approval stays claimed, and is `unknown` when this process ends
            await dealing.note("unknown", tool, {}, "result")
            raise
        except Rpc as error:
            await self._ended(claim, "failed", "")
            await dealing.note("failed", tool, {"error": error.code}, "result")
            raise
        quiet = claim is None and _ends(reply) and dealing.passes("tool_result", reply, tool)
        if quiet and dealing.later("tool_result", reply, tool):
            return reply
        return await _to_its_end(self._came(dealing, tool, reply, claim))

    async def _came(self, dealing: Dealing, tool: str, reply: JsonMap, claim: Claim | None) -> JsonMap:
        """What came of a call, judged and recorded."""
        await self._ended(claim, "failed" if "error" in reply else "done", digest_bytes(dump(reply)))
        said = await self._heard(dealing, "tool_result", reply, tool)
        if said.withheld is None:
            return said.reply
        text = f"{tool} has run, and its result is withheld: {refusals.refusal(said.decision, dealing.law.book.policy)}"
        return {"result": _withheld(text, refusals.told(said.decision, said.withheld))}

    async def _ended(self, claim: Claim | None, how: Any, result: str) -> None:
        if claim is not None and self.gate.approvals is not None:
            await asyncio.to_thread(self.gate.approvals.finish, claim, how, result)

    # ---- What is read -------------------------------------------------------------------------------------------------

    async def _read(self, dealing: Dealing, method: str, params: JsonMap, client: Client) -> JsonMap:
        tool, brought = JUDGED[method], replied(params)
        sent = _known(method, params)
        args = {key: value for key, value in sent.items() if key in ("uri", "name", "arguments")}
        await self._user_said(dealing, sent)
        judged = await dealing.call(tool, {"server": self.name, **args})
        record = await dealing.called(judged, tool)
        claim: Claim | None = None
        try:
            if judged.decision.effect == "require_approval":
                asking = Asking(dealing, judged, self.gate.approvals, self.seal, _beside(sent))
                claim = await asking.claimed(client, brought)
                sent |= asking.beside
            elif judged.decision.effect != "allow":
                raise NotYet(judged.decision, self._refused(dealing, judged.decision, tool))
            elif (decision := dealing.held(judged.decision, tool)) is not judged.decision:
                record = await dealing.record(decision, "tool_call", {}, tool)
                raise NotYet(decision, self._refused(dealing, decision, tool))
        except NotYet as error:
            raise Rpc(WITHHELD, error.text, {"bylaw": refusals.told(error.decision, record, error.approval)}) from None
        except Question as error:
            return {"result": error.result}
        sent |= {key: value for key, value in judged.event.args.items() if key != "server"}
        try:
            reply = await self.server.ask(method, sent, client)
        except Gone:
            raise
        except Rpc:
            await self._ended(claim, "failed", "")
            raise
        return await _to_its_end(self._got(dealing, tool, reply, claim))

    async def _got(self, dealing: Dealing, tool: str, reply: JsonMap, claim: Claim | None) -> JsonMap:
        """What came of reading, judged and recorded."""
        await self._ended(claim, "failed" if "error" in reply else "done", digest_bytes(dump(reply)))
        said = await self._heard(dealing, "document", reply, tool)
        if said.withheld is not None:
            raise _withheld_rpc(dealing, said.decision, said.withheld)
        return said.reply

    async def _pass(self, dealing: Dealing, method: str, params: JsonMap, client: Client) -> JsonMap:
        if (reasons := dealing.stops("")) and method not in ("ping", "initialize", "server/discover"):
            raise _stopped(reasons)
        return await self._let_out(dealing, await self.server.ask(method, _known(method, params), client))

    async def _let_out(self, dealing: Dealing, reply: JsonMap) -> JsonMap:
        """What a server says of itself, looked through; raises Rpc."""
        said = await self._heard(dealing, "document", reply, "", taints=False, quiet=True)
        if said.withheld is not None:
            raise _withheld_rpc(dealing, said.decision, said.withheld)
        return said.reply

    # ---- Meanwhile ----------------------------------------------------------------------------------------------------

    async def from_server(self, message: JsonMap) -> JsonMap | None:
        """What a server asks or tells the client, as the client may see it; None where it may not."""
        dealing = self.dealing()
        if message.get("method") == CHANGED:
            self.pins.standing(self.name).listed_at = 0.0
        try:
            said = await self._heard(dealing, "document", message, "", taints=message.get("method") in SPOKEN, quiet=True)
        except BylawError as error:
            LOG.error("a message of %s is not handed on: %s", self.name, error.what)
            return None
        return said.reply if said.withheld is None else None

    async def from_client(self, message: JsonMap) -> JsonMap:
        """What a client answers a server, as the server may see it: an error, where it may not."""
        dealing = self.dealing()
        part = "error" if "error" in message else "result"
        said = await dealing.said("input", {part: message.get(part, {})}, taints=False)
        await dealing.record(said.decision, "input", {"request": dump(said.body)})
        if said.decision.effect in OPEN:
            return answer(id_of(message), said.body)
        return answer(id_of(message), {"error": Rpc(WITHHELD, "the answer is withheld").error})

    async def tell(self, message: JsonMap) -> None:
        """Hand a client's notification on, if it is one that passes; of one that may not say what it says, only what it cancels."""
        if (method := message.get("method")) not in TOLD:
            return
        params = {key: value for key, value in params_of(message).items() if key in TOLD[method]}
        if params:
            dealing = self.dealing()
            said = await dealing.said("input", {"params": params}, taints=False)
            if said.decision.effect != "allow" or said.decision.clauses:
                await dealing.record(said.decision, "input", {"request": dump(said.body)})
            if said.decision.effect not in OPEN:
                if method != CANCELLED:
                    return
                params = {"requestId": params.get("requestId")}  # the server's own id for it is sent in its place
        await self.server.tell({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    async def _user_said(self, dealing: Dealing, sent: JsonMap) -> None:
        """Judge what a user answers to a server's own questions; raises Rpc."""
        if (answers := sent.get("inputResponses")) is not None:
            said = await dealing.said("input", {"inputResponses": answers}, taints=False)
            record = await dealing.record(said.decision, "input", {"request": dump(answers)})
            if said.decision.effect not in OPEN:
                raise _withheld_rpc(dealing, said.decision, record)

    async def _heard(
        self, dealing: Dealing, surface: Surface, reply: JsonMap, tool: str, taints: bool = True, quiet: bool = False
    ) -> "Said":
        """What a server said, judged and recorded. `quiet`: what is nothing but let through is not recorded."""
        if _ends(reply):
            said = await dealing.said(surface, reply, tool, taints)
        else:
            decision = dealing.no("a kind of result that is not known here", "result")
            said = Heard(decision, reply, cut=False, event=dealing.event(surface, tool))
        decision, reply = said.decision, said.body
        if quiet and decision.effect == "allow" and not decision.clauses:
            return Said(reply, decision, None)
        if decision is dealing.law.quiet and dealing.later(surface, reply, tool):
            return Said(reply, decision, None)
        record = str(await dealing.gate.recorder.record(dealing.heard(said)))
        return Said(reply, decision, None if decision.effect in OPEN else record)

    def _refused(self, dealing: Dealing, decision: Decision, tool: str) -> str:
        return f"{tool} was not called. {refusals.completion(decision, dealing.law.book.policy, 'request')}"


class Said(NamedTuple):
    """What a server said, as it may be handed on."""

    reply: JsonMap
    decision: Decision
    withheld: str | None  # the record of what withholds it


def _ends(reply: JsonMap) -> bool:
    """Whether a reply is of a kind that is known here."""
    result = reply.get("result")
    return not isinstance(result, dict) or result.get("resultType", "complete") in ENDS


def _withheld(text: str, told: JsonMap) -> JsonMap:
    """A tool's result of our own."""
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": True, "_meta": {"bylaw": told}}


def _withheld_rpc(dealing: Dealing, decision: Decision, record: str) -> Rpc:
    return Rpc(WITHHELD, refusals.refusal(decision, dealing.law.book.policy), {"bylaw": refusals.told(decision, record)})


def _stopped(reasons: Any) -> Rpc:
    return Rpc(WITHHELD, f"stopped: {'; '.join(sorted(reasons))}")


def _known(method: str, params: JsonMap) -> JsonMap:
    """The parameters that are judged and sent; another one does not pass, for nobody has looked at it. Raises Rpc."""
    if unknown := params.keys() - KNOWN[method]:
        raise Rpc(PARAMS, f"{method} has a parameter {min(unknown)[:60]!r} that nobody has said how to judge")
    return dict(params)


def _beside(sent: JsonMap) -> JsonMap:
    """What a person has to see of a call besides its arguments."""
    return {key: sent[key] for key in sorted(BESIDE) if key in sent}


async def _to_its_end(work: Coroutine[Any, Any, JsonMap]) -> JsonMap:
    """Do what has to be done once a server has acted, also where whoever asked no longer waits for it."""
    task = asyncio.ensure_future(work)
    ENDING.add(task)
    task.add_done_callback(ENDING.discard)
    return await asyncio.shield(task)
