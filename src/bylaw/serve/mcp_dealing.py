"""One MCP request under one law: what is judged, counted and recorded of it. What travels, and how, is not known here.

A tool call is a `tool_call` event with exactly the arguments that will be sent; its result, an error's words too, is a `tool_result`. To
read a resource and to get a prompt are calls of the tools `mcp.resources.read` and `mcp.prompts.get`, so that clauses can name them, and
what they bring is a `document`: the words of a stranger, as far as anybody knows. Redactions are made where the text stands, and what is
left is judged again. A call counts from the moment it may run, and while it waits for a person.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import Any, Final, NamedTuple

from bylaw.errors import LedgerError
from bylaw.govern import basis
from bylaw.govern.cutting import Uncut, cut_args, uncut
from bylaw.govern.rails.asking import Placed, texts
from bylaw.govern.rails.rail import NO_FACTS, RailError
from bylaw.govern.session import UNTRUSTED, History, ref_of
from bylaw.ledger.writer import Ledger
from bylaw.serve.exchange import MAX_TOOL_CHARS, TRIES
from bylaw.serve.gate import Gate, Who
from bylaw.serve.law import Law, blocked, together
from bylaw.serve.mcp_again import OPEN, READING, ROUTE, closed, of_call, of_message
from bylaw.serve.mcp_texts import Gathered, TooMany, cut, gathered, in_one
from bylaw.serve.mcp_texts import Uncut as Whole
from bylaw.serve.sessions import Session
from bylaw.serve.wire import JsonMap, dump
from bylaw.types import EMPTY, Decision, Event, Surface

READ: Final = "mcp.resources.read"
PROMPT: Final = "mcp.prompts.get"
UNKEPT: Final = frozenset({"text", "media", "event", "session"})  # what could not be judged for one of these is not decided again
WRITING: Final[set["asyncio.Task[Any]"]] = set()  # a loop alone would not hold them
LOG: Final = logging.getLogger(__name__)


class Judged(NamedTuple):
    """What is decided on a call, and the arguments with which it may run."""

    decision: Decision
    event: Event
    ref: str  # by which the session knows it
    before: History | None = None  # what the session had done


class Heard(NamedTuple):
    """What is decided on what a server says; the body it was asked about has been cut where something had to go."""

    decision: Decision
    body: JsonMap
    cut: bool  # something was cut out of it
    event: Event  # that was judged
    reading: int = 0  # see `mcp_again.READING`


@dataclass(slots=True)
class Dealing:
    """One client's request to one server, under one law."""

    gate: Gate
    law: Law
    who: Who
    session: Session
    server: str
    protocol: str = ""  # the version it is in

    # ---- Calls --------------------------------------------------------------------------------------------------------

    async def call(self, tool: str, args: JsonMap) -> Judged:
        """Judge a call, and count it where it may run at once."""
        if not (0 < len(tool) <= MAX_TOOL_CHARS and tool.isprintable()):
            return Judged(self.no("a tool's name that cannot be read", "event"), self.event("tool_call", tool[:MAX_TOOL_CHARS]), "")
        judged = await self._counted(tool, args)
        if judged.decision.effect not in ("redact", "require_approval") or not self._redacts(judged):
            return judged
        await self.called(judged, tool)
        try:
            less = cut_args(args, await self._placed(judged), judged.decision.hits)
        except (Uncut, RailError):
            return judged._replace(decision=uncut(judged.decision))
        again = await self._counted(tool, less)
        return again._replace(decision=uncut(again.decision)) if self._redacts(again) else again

    async def _counted(self, tool: str, args: JsonMap) -> Judged:
        stored = self.law.reads_session
        for attempt in range(TRIES):
            begun = await self.session.begun(stored, attempt)
            ref = ref_of(tool, args) if begun.held else ""
            event = self.call_event(tool, args, begun, ref)
            decision = await self.law.judge(event, NO_FACTS, self.stops(tool))
            after = (begun.given_back(ref) if ref else begun).after(event, decision) if decision.effect == "allow" else begun
            if await self.session.swap(begun, after, stored):
                known = ref or (ref_of(tool, args) if decision.effect == "require_approval" else "")
                return Judged(decision, event, known, begun.given_back(ref) if ref else begun)
        return Judged(self.no("its session changes too fast", "session"), self.event("tool_call", tool, args), "")

    def call_event(self, tool: str, args: Mapping[str, Any], history: History, without: str = "") -> Event:
        """A call in a session with this history; one that waited does not count against itself."""
        known = self.known(history.given_back(without) if without else history)
        return Event("tool_call", tool, args, "", self.who.principal, known, self.env())

    def known(self, history: History) -> Mapping[str, Any]:
        """A session as conditions see it; where none reads it, its bounds stop nobody."""
        return self.law.session(history) if self.law.reads_session else {"id": history.id}

    def _redacts(self, judged: Judged) -> bool:
        return self.law.book.redacts(judged.event, judged.decision)

    async def _placed(self, judged: Judged) -> Sequence[Placed]:
        """Where each finding stands: rails are asked once more, about each text by itself."""
        names, wanted = self.law.book.rails_for("tool_call", judged.event.tool), set(judged.decision.hits)

        def placed() -> Sequence[Placed]:
            found = []
            for piece in texts(judged.event):
                hits, _ = self.law.ask(Event("document", "", EMPTY, piece.text, self.who.principal), names, NO_FACTS)
                found += [Placed(piece.where, hit) for ones in hits.values() for hit in ones if hit in wanted]
            return found

        return await asyncio.to_thread(placed) if self.law.slow.intersection(names) else placed()

    # ---- What is said -------------------------------------------------------------------------------------------------

    async def said(self, surface: Surface, body: JsonMap, tool: str = "", taints: bool = True) -> Heard:
        """Judge what a server says, or a user answers it; what a rule redacts is cut out of the body."""
        event, found, cuts, reading = self.event(surface, tool), None, False, 0
        if self.law.idle(surface, tool) and not self.stops(tool):
            decision = self.law.quiet
        else:
            try:
                found = gathered(body)
                event = replace(event, text=found.whole, session=self.known(await self.session.known(self.law.session_wanted)))
                decision, cuts = await self._looked(event, body, found)
                for at, piece in enumerate(in_one(body, found) if decision.effect in OPEN else (), 1):
                    seen, less = await self._looked(replace(event, text=piece.whole), body, piece)
                    cuts = cuts or less
                    if seen.effect not in OPEN:
                        decision, reading = seen, at
                        break
                    decision = together([decision, seen]) if less else decision
            except TooMany:
                decision = self.no("it has too many texts", "text")
        if surface != "input" and decision.effect in OPEN:
            decision = self._media(decision, found, body)
        if taints:
            await self.session.change(partial(_after, event, decision, self.law.book.trusted), self.law.reads_session)
        return Heard(decision, body, cuts, event, reading)

    async def _looked(self, event: Event, body: JsonMap, found: Gathered) -> tuple[Decision, bool]:
        """What is decided on some texts of a body, cut out where it says so; and whether it said so."""
        decision = self.held(await self.law.judge(event, NO_FACTS, self.stops(event.tool)), event.tool)
        return self._cut(event, body, found, decision), decision.effect == "redact"

    def passes(self, surface: Surface, body: JsonMap, tool: str) -> bool:
        """Whether something passes because no rule looks at it and it changes nothing; where not, it has to be judged."""
        tainted = UNTRUSTED in self.session.history.taint or (surface == "tool_result" and tool in self.law.book.trusted)
        if not tainted or self.law.reads_session or not self.law.idle(surface, tool) or self.stops(tool):
            return False
        return self._media(self.law.quiet, None, body) is self.law.quiet

    def _cut(self, event: Event, body: JsonMap, found: Gathered, decision: Decision) -> Decision:
        if decision.effect == "redact":
            try:
                cut(body, found, decision.hits)
            except Whole:
                return replace(decision, effect="block", reason=f"{decision.reason}: nothing can be cut out where it stands")
        return closed(event, decision)

    def _media(self, decision: Decision, found: Gathered | None, body: JsonMap) -> Decision:
        if self.law.book.policy.extra.get("x-media", self.gate.ways.media) == "allow":
            return decision
        kinds = (found or _media_only(body)).media
        return together([decision, self.no(f"no rail can look into: {', '.join(sorted(set(kinds)))}", "media")]) if kinds else decision

    # ---- The record ---------------------------------------------------------------------------------------------------

    async def record(
        self, decision: Decision, surface: str, contents: Mapping[str, bytes], tool: str = "", facts: Mapping[str, Any] = EMPTY
    ) -> str:
        """Record a decision; its name. Raises LedgerError, and then nothing may go on."""
        return str(await self.gate.recorder.record(self.entry(decision, surface, contents, tool, facts)))

    async def called(self, judged: Judged, tool: str, facts: Mapping[str, Any] = EMPTY) -> str:
        """Record a call as it was judged, so that it can be decided again; its name. Raises LedgerError."""
        contents = {
            "args": dump(dict(judged.event.args)),
            **of_call(self.who, self.gate.ways.env, judged.before if self.law.reads_session else None),
        }
        kept = {} if UNKEPT.intersection(judged.decision.undecided) else basis.facts()
        return await self.record(judged.decision, "tool_call", contents, tool, {**kept, **facts})

    def heard(self, said: Heard) -> dict[str, Any]:
        """What is recorded of what a server said, so that it can be decided again."""
        event = said.event
        contents = {"result": dump(said.body), **of_message(self.who, self.gate.ways.env, event, self.law.session_wanted)}
        contents |= {READING: str(said.reading).encode()} if said.reading else {}
        kept = {} if UNKEPT.intersection(said.decision.undecided) else basis.facts(said.cut)
        return self.entry(said.decision, event.surface, contents, event.tool, kept)

    def later(self, surface: Surface, body: JsonMap, tool: str) -> bool:
        """Have such a record written soon, for nobody has to wait for it: that the result may pass is what the record of its call says.

        It is made once the result has left, and written with the next record or within 50 ms: a process that is killed may leave a call
        without its outcome. False where the recorder has no such way. Raises LedgerError where nothing is taken any more.
        """
        recorder = self.gate.recorder
        if not isinstance(recorder, Ledger):
            return False
        if not recorder.healthy:
            raise LedgerError("the ledger does not take entries", "Nothing was let through.")
        asyncio.get_running_loop().call_soon(self._write, recorder, surface, body, tool)
        return True

    def _write(self, recorder: Ledger, surface: Surface, body: JsonMap, tool: str) -> None:
        try:
            entry = self.heard(Heard(self.law.quiet, body, False, Event(surface, tool, EMPTY, "", self.who.principal)))
            if not recorder.later(entry):
                task = asyncio.ensure_future(recorder.record(entry))
                WRITING.add(task)
                task.add_done_callback(_written)
        except LedgerError as error:
            LOG.error("what came of a call is not recorded: %s", error.what)

    def entry(
        self, decision: Decision, surface: str, contents: Mapping[str, bytes], tool: str = "", facts: Mapping[str, Any] = EMPTY
    ) -> dict[str, Any]:
        """What is recorded of a decision."""
        more = {"route": ROUTE, "server": self.server, **({"protocol": self.protocol} if self.protocol else {}), **facts}
        return {
            "kind": "decision",
            "session": self.session.id,
            "principal": self.who.id,
            "surface": surface,
            "tool": tool[:MAX_TOOL_CHARS].encode("utf-8", "replace").decode(),
            "decision": decision.effect,
            "clauses": decision.clauses,
            "rules": decision.rules,
            "policy": decision.policy,
            "contents": contents,
            "facts": more | basis.undecided(decision),
        }

    async def note(self, step: str, tool: str = "", facts: Mapping[str, Any] = EMPTY, kind: str = "mcp") -> str:
        """Record a step that is no decision."""
        said = {"route": ROUTE, "server": self.server, "step": step, **facts}
        entry = {"kind": kind, "session": self.session.id, "principal": self.who.id, "tool": tool[:MAX_TOOL_CHARS], "facts": said}
        return str(await self.gate.recorder.record({**entry, "policy": self.law.digest}))

    # ---- Facts --------------------------------------------------------------------------------------------------------

    def event(self, surface: Surface, tool: str = "", args: Mapping[str, Any] = EMPTY) -> Event:
        """Something that is about to pass a surface, in this session."""
        return Event(surface, tool, args, "", self.who.principal, self.known(self.session.history), self.env())

    def env(self) -> Mapping[str, Any]:
        """Where and when, in UTC."""
        return {"name": "", **self.gate.ways.env, "hour": int(time()) // 3600 % 24}

    def stops(self, tool: str) -> Collection[str]:
        """Why this is stopped, if it is."""
        return self.gate.stops(self.who.principal, tool)

    def held(self, decision: Decision, tool: str) -> Decision:
        """A decision, or the stop that has come while it was made and recorded: that may have taken long."""
        reasons = self.stops(tool)
        return replace(decision, effect="stop", reason="; ".join(sorted(reasons))) if reasons else decision

    def no(self, reason: str, undecided: str) -> Decision:
        """The decision about what could not be judged."""
        decision, stops = blocked(self.law, reason, undecided), self.stops("")
        return replace(decision, effect="stop", reason="; ".join(sorted(stops))) if stops else decision

    def shown(self, tool: str) -> bool:
        """Whether a tool is listed for this principal: not where a stop or a rule blocks every call of it, whatever its arguments."""
        if self.stops(tool):
            return False
        slot = self.law.book.slot("tool_call", tool)
        if slot is None:
            return False
        event = self.event("tool_call", tool)
        always = (rule for rule in slot.rules if rule.effect == "block" and not rule.detect)
        return not any(rule.when is None or (_only_who(rule.when.source) and rule.when.decide(event) == "true") for rule in always)


def _after(event: Event, decision: Decision, trusted: frozenset[str], history: History) -> History:
    return history.after(event, decision, trusted=trusted)


def _written(task: "asyncio.Task[Any]") -> None:
    WRITING.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        LOG.error("what came of a call is not recorded: %s", error)


def _only_who(source: str) -> bool:
    """Whether a condition asks about nothing that one call differs in from the next."""
    return not any(part in source for part in ("args", "session", "text", "env"))


def _media_only(body: JsonMap) -> Gathered:
    try:
        return gathered(body)
    except TooMany:
        return Gathered((), ("too much",))
