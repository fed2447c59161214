"""One request and its reply: what goes in is judged, the model is asked, what comes out is judged, recorded, and only then released.

Order: input (and what tools and documents said) -> upstream -> thinking, answer, tool calls -> record -> release. An input that is let
through and that no clause speaks of is recorded together with what came of it: in one entry before anything of the reply leaves, or by
itself where a stream begins, the model could not be asked or the client has gone. Where the record cannot be written, nothing leaves.

Each choice of a reply is judged by itself: its strictest decision holds for all of it. A choice that waits for a person is stored as it
is; the client is told so in a normal completion, and gets exactly the stored one, once, by asking again with `x-bylaw-approval`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import time
from typing import Any, Final

from bylaw.govern import basis, offers
from bylaw.govern.quorum import Refused as NotNow
from bylaw.govern.rails.ensemble import FACT
from bylaw.govern.rails.rail import NO_FACTS, RailFacts
from bylaw.govern.session import History
from bylaw.govern.streaming import redacted
from bylaw.serve import based, refusals, thoughts
from bylaw.serve.ends import OPEN, Done, Refused, Settled, UpstreamSaid
from bylaw.serve.gate import Gate, Who
from bylaw.serve.law import LONG_CHARS, Law, blocked, together
from bylaw.serve.preface import Preface, given
from bylaw.serve.revising import revise
from bylaw.serve.route import Route
from bylaw.serve.sayings import APPEALED, ROUTE
from bylaw.serve.sessions import Session
from bylaw.serve.upstream import UpstreamTrouble
from bylaw.serve.wire import Asked, BadBody, Call, Choice, JsonMap, Said, Text, dump, get, heard, now, put
from bylaw.types import EMPTY, Decision, Event

MAX_TOOL_CHARS: Final = 200  # of a tool's name, as in the ledger
TRIES: Final = 12  # to judge calls in a session that others change meanwhile


@dataclass(slots=True)
class Exchange:
    """One request under one law."""

    gate: Gate
    route: Route
    law: Law
    who: Who
    session: Session
    asked: Asked
    send_headers: Mapping[str, str]
    admitted: Decision | None = None
    approved: bool = False  # people have approved this very request
    pending: based.Pending | None = None  # the record of the input, while it has not been handed in
    input_record: str = ""
    outcome: tuple[Mapping[str, Any], str] | None = None  # what was recorded last of an answer, and where
    preface: Preface | None = None  # the notice that is due in the reply
    votes: dict[str, Any] = field(default_factory=dict)  # of the checks on the answer that was judged last, by clause
    on: based.On = field(default_factory=based.On)  # what it was judged on
    naming: Callable[[str], str] | None = None  # how ids of the upstream are given out; None: as they are
    _rail_facts: tuple[Asked, RailFacts] | None = None  # of which request

    # ---- What goes in -------------------------------------------------------------------------------------------------

    async def admit(self) -> Decision:
        """Judge the request, take out of it what must not reach the model, and begin its record; raises Refused."""
        decisions = offers.decided(self.asked.body, self.law.book, self.stops)
        decisions += [self.media(self.asked.media)] if self.asked.media else []
        facts, known, stops, wordless, read = self.rail_facts(), None, self.stops(""), True, 0
        self.on.before = await self.session.known(self.law.session_wanted)
        for text in self.asked.texts:
            if text.role == "assistant" and based.known(self, text):
                continue  # left here, and was judged then
            wordless = wordless and text.surface != "input"
            tool = text.tool if text.surface == "tool_result" else ""
            idle = not stops and self.law.idle(text.surface, tool)
            if idle and text.surface == "input":
                decisions.append(self.law.quiet)
                continue
            read += len(text.text)
            if read > LONG_CHARS:  # many short ones are as much to read as a long one: the others' requests go on between them
                read = await asyncio.sleep(0, 0)
            known = known or (EMPTY if idle else self.facts())
            event = Event(text.surface, tool, EMPTY, now(self.asked.body, text).text, self.who.principal, known, self.env())
            decision = self.law.quiet if idle else self.cut(self.asked.body, text, await self.law.judge(event, facts, self.stops("")))
            decisions.append(decision)
            if text.surface == "input":
                continue
            after = partial(based.after, event, decision, self.law.book.trusted)
            await self.session.change(after, self.law.reads_session)
        if wordless:  # a request without a word is one, too
            decisions.append(await self.law.judge(self.event("input", ""), facts, self.stops("")))
        decision = self.admitted = together([*decisions, *self.stopped(())])
        request = dump(self.asked.body)
        if decision.effect in OPEN or (decision.effect == "require_approval" and self.approved):
            self.pending = based.Pending(decision, {"request": request, **based.contents(self, "input")}, basis.facts(self.on.cut))
            return decision
        record = await self.record(decision, "input", {"request": request})
        if decision.effect == "require_approval":
            what = {"route": self.route.path, "session": self.session.id, "request": request.decode()}
            approval, words = await self.wait_for(what, decision)
            raise Refused(decision, words, record, approval)
        raise Refused(decision, self.refuse(decision, "request"), record)

    def media(self, found: Sequence[str]) -> Decision:
        """What is decided on parts that no rail can read: what the policy says in `x-media`, else what the gateway was told."""
        says = self.law.book.policy.extra.get("x-media", self.gate.ways.media)
        kinds = ", ".join(sorted(set(found)))
        if says == "allow":
            return Decision("allow", (), (), self.law.digest, reason=f"not looked into: {kinds}")
        return Decision("block", (), (), self.law.digest, ("media",), f"no rail can look into: {kinds}")

    def cut(self, body: JsonMap, text: Text, decision: Decision) -> Decision:
        """Act on a redaction where the text stands. Where nothing can be cut out, it is a block."""
        if decision.effect != "redact":
            return decision
        self.on.cut = True
        if not text.path:
            return replace(decision, effect="block", reason=f"{decision.reason}: nothing can be cut out where it stands")
        put(body, text.path, redacted(text.text, decision.hits))
        return decision

    # ---- What comes out -----------------------------------------------------------------------------------------------

    async def answer(self) -> Done:
        """Ask the model and judge its reply; raises UpstreamTrouble, LedgerError. The request has been admitted."""
        async with based.Asking(self):
            said, headers = await self.ask(self.route.shape.whole(self.asked.body))
            decisions, approval, records = [], "", []
            for choice in said.choices:
                body, decision, waits, record = await self.settle(said, choice)
                said = said if body is said.body else said._replace(body=body)
                approval = approval or waits
                decisions.append(decision)
                records.append(record)
            if not self.gate.ways.show_thinking:
                self.route.shape.without_thinking(said.body)
            await self.replied(said.body)
        quiet = len(decisions) == 1 and self.admitted is self.law.quiet  # then the answer's decision says it all
        whole = decisions[0] if quiet else together([*([self.admitted] if self.admitted else []), *decisions])
        return Done(said.body, whole, records[-1] if records else "", approval, headers)

    async def replied(self, body: JsonMap) -> None:
        """A reply is about to leave, by whose id the next turn may follow it; raises StoreError."""
        if self.asked.previous is not None and isinstance(name := body.get("id"), str) and name:
            await self.gate.sessions.replied(self.session, name, self.law.reads_session)

    async def ask(self, body: JsonMap) -> tuple[Said, list[tuple[bytes, bytes]]]:
        """One question to the upstream, its reply taken apart."""
        reply = await self.gate.upstream.post(self.route.path, dump(body), self.send_headers)
        if reply.status != 200:
            raise UpstreamSaid(reply.status, reply.body, reply.headers)
        try:
            return self.route.shape.said(heard(reply.body), body), reply.headers
        except BadBody as error:
            raise UpstreamTrouble(502, f"the model's reply cannot be read: {error.what}") from error

    async def settle(self, said: Said, choice: Choice) -> Settled:
        """Judge one choice and act on it: the body as it may leave, what was decided, the approval it waits for, the record."""
        decision, calls = await self.weigh(said.body, choice)
        if decision.effect == "revise":
            return await revise(self, said, choice, decision)
        return await self.act(said.body, choice, decision, calls)

    async def weigh(self, body: JsonMap, choice: Choice) -> tuple[Decision, list[tuple[Call, Decision]]]:
        """What is decided on all of a choice. Redactions are made; calls that may leave are counted at once, so that no other slips by."""
        facts, self.votes = self.rail_facts(), {}
        decisions = [self.media(choice.media)] if choice.media else []
        for text in choice.thinking:
            decision = await self.law.judge(self.event("thinking", text.text), facts, self.stops(""))
            if decision.effect == "redact" and text.path:
                put(body, text.path, redacted(text.text, decision.hits))
                self.on.cut = True
            decisions.append(decision)
        for text in (now(body, one) for one in choice.texts):
            decision = self.cut(body, text, await self.law.judge(self.event(text.surface, text.text), facts, self.stops("")))
            if decision.effect == "redact":
                self.route.shape.without_tokens(body, choice)
            decisions.append(decision)
        if not choice.texts:
            decisions.append(await self.law.judge(self.event("output", ""), facts, self.stops("")))
        answer = [text for text in choice.texts if text.path] or choice.texts  # what stands beside it is no part of it
        if self.law.required and (said := "\n".join(text.text for text in answer)):
            loop = asyncio.get_running_loop()
            agreed = await loop.run_in_executor(None, self.law.agreed, self.event("output", said), facts)
            decisions += agreed.decisions
            self.votes = {clause: dict(votes) for clause, votes in agreed.votes.items()}
        judged = await self.weigh_calls(choice.calls, together(decisions))
        return together([*decisions, *(decision for _, decision in judged), *self.stopped(choice.calls)]), judged

    def stopped(self, calls: Sequence[Call]) -> Sequence[Decision]:
        """Stops that hold an answer with these calls; asked once more when all of it is judged, for that may have taken long."""
        reasons = {reason for tool in ("", *(call.tool for call in calls)) for reason in self.stops(tool)}
        return [Decision("stop", (), (), self.law.digest, reason="; ".join(sorted(reasons)))] if reasons else ()

    async def weigh_calls(self, calls: Sequence[Call], before: Decision) -> list[tuple[Call, Decision]]:
        """What is decided on each call, each of them after those before it; counted where all of them may leave."""
        self.on.then, self.on.calls = self.session.history, []
        if not calls:
            return []
        for attempt in range(TRIES):
            judged: list[tuple[Call, Decision]] = []
            begun = history = await self.session.begun(self.law.reads_session, attempt)
            self.on.calls = []
            for call in calls:
                self.on.calls.append(history)
                event = self.call_event(call, history)
                judged.append((call, await self.judge_call(call, event)))
                history = history.after(event, self.passed)
            leave = before.effect in OPEN and all(decision.effect == "allow" for _, decision in judged)
            if await self.session.swap(begun, history if leave else begun, self.law.reads_session):
                return judged
        return [(call, blocked(self.law, "its session changes too fast", "session")) for call in calls]

    def call_event(self, call: Call, history: History) -> Event:
        """A call that is about to leave, in a session with this history."""
        session = self.law.session(history)
        return Event("tool_call", call.tool, call.args if call.args is not None else EMPTY, "", self.who.principal, session, self.env())

    async def judge_call(self, call: Call, event: Event) -> Decision:
        """What is decided on one call. It leaves exactly as the model wrote it, or not at all: nothing is cut out of it."""
        if not readable(call):
            stops = self.stops("")
            decision = blocked(self.law, "a tool call that cannot be read", "args")
            return replace(decision, effect="stop", reason="; ".join(sorted(stops))) if stops else decision
        decision = await self.law.judge(event, NO_FACTS, self.stops(call.tool))
        return replace(decision, effect="block") if decision.effect == "redact" else decision

    @property
    def passed(self) -> Decision:
        """The decision that something passes."""
        return Decision("allow", (), (), self.law.digest)

    async def act(self, body: JsonMap, choice: Choice, decision: Decision, calls: Sequence[tuple[Call, Decision]]) -> Settled:
        """Record a decision on a choice and carry it out."""
        shape = self.route.shape
        record = await self.recorded(decision, body, choice, calls)
        if decision.effect in OPEN:
            self.answered(body, choice.texts)
            return Settled(body, decision, "", record)
        if decision.effect == "require_approval":
            approval, words = await self.withhold(shape.solo(body, choice), decision, [call for call, _ in calls])
            shape.speak(body, choice, words, "stop")
            return Settled(body, decision, approval, record)
        shape.speak(body, choice, self.refuse(decision))
        return Settled(body, decision, "", record)

    def answered(self, body: JsonMap, texts: Sequence[Text]) -> None:
        """Remember texts that leave, as they stand in a body now: known again when they come back as history."""
        for text in texts:
            self.session.answered(get(body, text.path) if text.path else now(body, text).text)

    def refuse(self, decision: Decision, whose: str = "answer") -> str:
        """What is said instead of an answer."""
        appeal = self.law.sayings.appeal(self.place) if decision.effect in APPEALED else ""
        return refusals.completion(decision, self.law.book.policy, whose) + (f" {appeal}" if appeal else "")

    def told(self, decision: Decision, record: str, approval: str = "") -> dict[str, Any]:
        """The `bylaw` object: what was decided, and how to appeal it."""
        said = refusals.told(decision, record, approval, self.gate.ways.retry_after_s if approval else 0)
        if decision.effect in APPEALED and record and self.law.sayings.appeal(self.place):
            said["appeal"] = {"route": ROUTE, "record": record}
        return said

    def prefaced(self, events: bytes) -> bytes:
        """Events of a stream, with the notice where it is due."""
        if self.preface is None:
            return events
        events = self.preface.piece(events)
        given(self.preface, self.session)
        return events

    @property
    def place(self) -> object:
        """The principal's jurisdiction."""
        return self.who.principal.get("jurisdiction")

    # ---- Approvals ----------------------------------------------------------------------------------------------------

    async def withhold(self, body: JsonMap, decision: Decision, calls: Sequence[Call]) -> tuple[str, str]:
        """Store a reply, as it may leave, until people have decided; its approval's id, and what the client is told."""
        if not self.gate.ways.show_thinking:
            self.route.shape.without_thinking(body)
        listed = [{"tool": call.tool, "args": dict(call.args or {})} for call in calls]
        what = {"route": self.route.path, "session": self.session.id, "calls": listed, "reply": dump(body).decode()}
        approval, words = await self.wait_for(what, decision)
        for at, call in enumerate(calls if approval else ()):  # a call that waits counts: two halves of one refund are not both small
            event = self.call_event(call, self.session.history)
            waits = replace(self.passed, effect="require_approval")
            await self.session.change(partial(based.waiting, event, waits, held(approval, at)), self.law.reads_session)
        return approval, words

    async def wait_for(self, what: Mapping[str, Any], decision: Decision) -> tuple[str, str]:
        """Ask people; the approval's id, and what the client is told."""
        approvals, policy = self.gate.approvals, self.law.book.policy
        if approvals is None:
            return "", refusals.refusal(decision, policy)
        found = await asyncio.to_thread(approvals.request, what, self.who.principal, decision, "release")
        if isinstance(found, NotNow):
            return "", f"{refusals.refusal(decision, policy)} It cannot wait for one now: {found.text}."
        return found.id, refusals.waiting(decision, policy, found.id)

    # ---- The record ---------------------------------------------------------------------------------------------------

    async def recorded(
        self, decision: Decision, body: JsonMap, choice: Choice, calls: Sequence[tuple[Call, Decision]], facts: Mapping[str, Any] = EMPTY
    ) -> str:
        """Record what was decided on a choice and on each of its calls; where several, in one group."""
        more = {**facts, **({"choice": choice.index} if choice.index else {}), **({FACT: self.votes} if self.votes else {})}
        self.votes = {}
        contents = {"reply": dump(body)}
        if choice.thinking:
            kept = thoughts.kept(choice.thinking, decision, self.law.book.policy)
            contents, more = contents | kept.contents, more | kept.facts
        waiting, entries = self.pending, []
        if waiting is not None:
            self.pending = None
            if waiting.decision.effect == "allow" and not waiting.decision.clauses:  # all to say is that it came: one entry for both
                contents |= waiting.contents
                more["input"] = "allow"
            else:
                entries.append(based.entry(self, waiting.decision, "input", waiting.contents, facts=waiting.facts))
        entries += [
            self.entry(decision, "output", contents, facts=more),
            *(self.call_entry(call, one, at) for at, (call, one) in enumerate(calls)),
        ]
        if len(entries) == 1:
            return await self.write(entries[0])
        # shielded: where the client goes before they are handed in, they are handed in all the same
        return (await asyncio.shield(asyncio.gather(*(self.write(entry) for entry in entries))))[-1]

    def call_entry(self, call: Call, decision: Decision, at: int) -> dict[str, Any]:
        """What is recorded of one call."""
        contents = {"args": dump(dict(call.args))} if call.args is not None else {}
        contents |= based.of_call(self, self.on.calls[at])
        return self.entry(decision, "tool_call", contents) | {"tool": call.tool[:MAX_TOOL_CHARS].encode("utf-8", "replace").decode()}

    def entry(
        self, decision: Decision, surface: str, contents: Mapping[str, bytes], kind: str = "decision", facts: Mapping[str, Any] = EMPTY
    ) -> dict[str, Any]:
        """What is recorded of a decision, and what it was made on."""
        if kind == "decision":
            contents = {**contents, **based.contents(self, surface)}
        return based.entry(self, decision, surface, contents, kind, facts)

    async def record(
        self, decision: Decision, surface: str, contents: Mapping[str, bytes], kind: str = "decision", facts: Mapping[str, Any] = EMPTY
    ) -> str:
        """Write one entry; returns its name. Raises LedgerError, and then nothing may be released."""
        return await self.write(self.entry(decision, surface, contents, kind, facts))

    async def write(self, entry: Mapping[str, Any]) -> str:
        """Write an entry."""
        record = str(await self.gate.recorder.record(entry))
        self.outcome = (entry, record) if entry["surface"] == "output" else self.outcome
        return record

    async def input_recorded(self) -> str:
        """Make the record of the input safe, if it is not yet; its name."""
        if self.pending is not None:
            waiting, self.pending = self.pending, None
            self.input_record = await self.write(based.entry(self, waiting.decision, "input", waiting.contents, facts=waiting.facts))
        return self.input_record

    # ---- Facts --------------------------------------------------------------------------------------------------------

    def event(self, surface: Any, text: str) -> Event:
        """Something that is about to pass a surface, in this session."""
        return Event(surface, "", EMPTY, text, self.who.principal, self.facts(), self.env())

    def facts(self) -> Mapping[str, Any]:
        """The session as conditions see it."""
        return self.law.session(self.session.history)

    def env(self) -> Mapping[str, Any]:
        """Where and when, in UTC."""
        return {"name": "", "hour": int(time()) // 3600 % 24, **self.gate.ways.env}

    def stops(self, tool: str) -> Collection[str]:
        """Why this is stopped, if it is."""
        return self.gate.stops(self.who.principal, tool)

    def rail_facts(self) -> RailFacts:
        """What rails may know of the request."""
        if not self.law.book.rails and not self.law.required:
            return NO_FACTS
        if self._rail_facts is None or self._rail_facts[0] is not self.asked:  # what waited for a person takes the request's place
            self._rail_facts = self.asked, based.rail_facts(self.asked)
        return self._rail_facts[1]


def readable(call: Call) -> bool:
    """Whether a call can be judged at all."""
    return call.args is not None and 0 < len(call.tool) <= MAX_TOOL_CHARS and call.tool.isprintable()


def held(approval: str, at: int) -> str:
    """How a session names a call that waits."""
    return f"{approval}/{at}"
