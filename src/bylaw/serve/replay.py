"""Recorded decisions made again under a candidate: the same exchange, law and engine, without a model, a person or a record.

An entry of the gateway is put through `Exchange` again, one of a guard through the law. The overlays are those of the day of the entry.
Rails that ask a model are not asked: what depends on them is not replayable. Nor is what was cut out before it was recorded, what was
deleted, and what an older version recorded without its basis (`govern.basis`).
"""

import asyncio
import heapq
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from bylaw.errors import BylawError, LedgerError
from bylaw.govern import basis
from bylaw.govern.rails.rail import NO_FACTS, Rail, RailError, RailFacts
from bylaw.govern.replaying import Case, Replay, told, told_of
from bylaw.govern.session import History
from bylaw.ledger import place, reading
from bylaw.ledger.entries import microseconds
from bylaw.serve import live as lives
from bylaw.serve import mcp_again
from bylaw.serve.based import EXCHANGE
from bylaw.serve.ends import OPEN, Refused
from bylaw.serve.exchange import Exchange
from bylaw.serve.gate import Gate, NoRecord, Ways, Who
from bylaw.serve.law import Law, together
from bylaw.serve.live import InForce, Rails
from bylaw.serve.preface import without
from bylaw.serve.routes import ROUTES
from bylaw.serve.sessions import Session, Sessions
from bylaw.serve.streamed import may_stream
from bylaw.serve.upstream import Upstream
from bylaw.serve.wire import Asked, BadBody, Call, Choice, Text, load
from bylaw.types import EMPTY, Decision, Event, Hit, Policy

MAX_REQUESTS: Final = 4_096  # whose answers may still come, of one log
KIND: Final = "decision"
UNREAD: Final = frozenset({"session", "args", "result", "record"})  # named as undecided where the event itself could not be read
NOTHING: Final = Asked({}, "", False, ())  # the request of a call that is judged by itself
A_JUDGE: Final = 2  # cost of a rail that asks a model

OLD: Final = "recorded by a version that kept too little"
WAS_CUT: Final = "something was cut out of it before it was recorded"
DELETED: Final = "its content was deleted"
NO_ANSWER: Final = "its answer was not kept"
REVISED: Final = "a model had to revise it, and could not"
NO_REQUEST: Final = "its request is not there"
LOST: Final = "it was too large to keep, or no JSON"
UNREADABLE: Final = "it could not be read then"
ASKS: Final = "a model would have to be asked"
BROKEN: Final = "it cannot be read now"


class Unplayable(Exception):  # noqa: N818  # counted, never shown as a fault
    """A decision cannot be made again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Recorded(NamedTuple):
    """One entry and what is left of its contents."""

    log: str
    entry: Mapping[str, Any]
    contents: Mapping[str, bytes]


# ---- The candidate ---------------------------------------------------------------------------------------------------


@dataclass
class NotAsked:
    """A rail that asks a model, in a replay: it fails, and says that it was wanted."""

    name: str
    wanted: list[str]
    longest: int | None = None
    cost: int = 0

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Fail."""
        self.wanted.append(self.name)
        raise RailError("a replay asks no model", "")


@dataclass
class Candidate:
    """A policy as it would have decided, on any day."""

    made: InForce
    wanted: list[str] = field(default_factory=list)  # models that a decision would have had to ask
    day: float = 0.0

    def law(self, principal: Mapping[str, Any]) -> Law:
        """What would have held for a principal."""
        return self.made.law(principal)


def candidate(folder: Path, since_us: int, rails_of: Rails = lives.no_judges) -> Candidate:
    """Make a policy ready for every day from then on; raises PolicyError."""
    wanted: list[str] = []

    def rails(policy: Policy) -> Mapping[str, Rail]:
        known = rails_of(policy)
        return {name: NotAsked(name, wanted, rail.longest) if rail.cost >= A_JUDGE else rail for name, rail in known.items()}

    since_s = since_us / 1_000_000
    made = lives.ready(folder, rails, datetime.fromtimestamp(since_s, UTC).date())
    found = Candidate(made, wanted, since_s)
    made.clock = lambda: found.day
    return found


# ---- The ledger ------------------------------------------------------------------------------------------------------


@contextmanager
def logs(where: Path) -> Iterator[list[reading.Log]]:
    """The logs of a data directory, or of one database or exported file; raises LedgerError."""
    with ExitStack() as stack:
        if where.is_dir():
            paths = place.all_logs(where)
            if not paths:
                raise LedgerError(f"there is no ledger in {where}", "Name the data directory of a gateway, or an exported file.")
            yield [stack.enter_context(reading.stored(path)) for path in paths]
        elif where.suffix == ".sqlite":
            yield [stack.enter_context(reading.stored(where))]
        else:
            yield [reading.exported(where)]


def recorded(log: reading.Log) -> Iterator[Recorded]:
    """The entries of a log, each with what is left of its contents."""
    contents = log.contents()
    waiting = next(contents, None)
    for at, leaf in log.leaves():
        found: dict[str, bytes] = {}
        while waiting is not None and waiting.at <= at:
            if waiting.at == at:
                found[waiting.name] = waiting.content
            waiting = next(contents, None)
        yield Recorded(log.origin, reading.entry(Path(log.where), leaf), found)


def by_time(found: Sequence[reading.Log]) -> Iterator[Recorded]:
    """The entries of several logs, oldest first."""
    return heapq.merge(*(recorded(log) for log in found), key=lambda one: str(one.entry["time"]))


def first_us(found: Sequence[reading.Log]) -> int:
    """When the oldest entry was made; 0 where there is none."""
    firsts = (next(log.leaves(), None) for log in found)
    return min((microseconds(reading.entry(Path("ledger"), one[1])["time"]) for one in firsts if one), default=0)


def replay(where: Path, folder: Path, examples: int = 3, rails_of: Rails = lives.no_judges) -> Replay:
    """Every decision of a ledger under the policy in a folder; raises PolicyError, LedgerError. Nothing is verified."""
    with logs(where) as found:
        again = Again(candidate(folder, first_us(found), rails_of))
        report = Replay(again.candidate.made.digest, examples)
        run(again, by_time(found), report)
    return report


def run(again: "Again", entries: Iterable[Recorded], report: Replay) -> None:
    """Put entries through a candidate."""

    async def all_of_them() -> None:
        for one in entries:
            await again.count(one, report)

    asyncio.run(all_of_them())


# ---- One decision, again ---------------------------------------------------------------------------------------------


@dataclass
class Again:
    """A candidate, and the requests whose answers may still come."""

    candidate: Candidate
    _requests: "OrderedDict[tuple[str, int], tuple[bytes, str]]" = field(default_factory=OrderedDict)

    async def count(self, one: Recorded, report: Replay) -> str | None:
        """Decide on one entry again and count what comes of it; how it would change."""
        entry = one.entry
        if entry["kind"] != KIND:
            return None
        case = case_of(entry)
        if "request" in one.contents and isinstance(number := entry["facts"].get(EXCHANGE), int):
            self._requests[one.log, number] = (one.contents["request"], str(entry["facts"].get("route", "")))
            if len(self._requests) > MAX_REQUESTS:
                self._requests.popitem(last=False)
        if entry["decision"] == "stop":
            report.stop(case)
            return None
        try:
            decision = await self.decision(one)
        except Unplayable as error:
            report.cannot(case, error.reason)
            return None
        return report.decided(case, told_of(entry), told(decision))

    async def decision(self, one: Recorded) -> Decision:
        """What the candidate decides; raises Unplayable."""
        facts = one.entry["facts"]
        self._sound(one)
        self.candidate.day = microseconds(one.entry["time"]) / 1_000_000
        self.candidate.wanted.clear()
        try:
            if facts.get("route") not in ROUTES:
                decision = self._event(one)
            elif one.entry["surface"] == "tool_call":
                decision = await self._call(one)
            else:
                decision = await self._exchange(one)
        except (BadBody, BylawError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise Unplayable(BROKEN) from error  # a content of a form that this version does not know
        if self.candidate.wanted:
            raise Unplayable(ASKS)
        return decision

    def _sound(self, one: Recorded) -> None:
        """Whether all is there that was judged; raises Unplayable."""
        entry, facts = one.entry, one.entry["facts"]
        if type(facts.get(basis.HOUR)) is not int:
            raise Unplayable(OLD)
        if facts.get(basis.CUT):
            raise Unplayable(WAS_CUT)
        if entry["contents"].keys() - one.contents.keys():
            raise Unplayable(DELETED)
        if any(basis.read(one.contents.get(name)).get(basis.LOST) for name in (basis.NAME, basis.INPUT)):
            raise Unplayable(LOST)
        unread = facts.get("undecided") or ()
        if "session" in unread or (UNREAD.intersection(unread) and "reply" not in one.contents):
            raise Unplayable(UNREADABLE)

    # ---- A guard's entry: one event ------------------------------------------------------------------------------------

    def _event(self, one: Recorded) -> Decision:
        entry, said = one.entry, basis.read(one.contents.get(basis.NAME))
        principal = basis.principal_of(said, entry["principal"])
        law = self.candidate.law(principal)
        hour, mcp = entry["facts"][basis.HOUR], entry["facts"].get("route") == mcp_again.ROUTE
        session = basis.session_of(said.get("session"), entry["session"], law.book.zeros)
        session = mcp_again.session_of(said, entry["session"], law.book.zeros) if mcp else session
        env = mcp_again.env_of(said, hour) if mcp else said.get("env") or {basis.HOUR: hour}
        args = json.loads(one.contents["args"]) if "args" in one.contents else EMPTY
        text = mcp_again.text_of(one.contents) if mcp else one.contents.get("text", b"").decode("utf-8", "surrogatepass")
        event = Event(entry["surface"], entry["tool"], args, text, principal, session, env)
        if mcp:
            return mcp_again.closed(event, law.now(event))
        facts = _rail_facts(said.get("told") or {})
        decisions = [law.now(event, facts)]
        if event.surface == "output" and law.required and not said.get("part"):
            decisions += law.agreed(event, facts).decisions
        return together(decisions)

    # ---- An entry of the gateway -----------------------------------------------------------------------------------------

    async def _call(self, one: Recorded) -> Decision:
        said = basis.read(one.contents.get(basis.NAME))
        args = load(one.contents["args"]) if "args" in one.contents else None
        call = Call("", one.entry["tool"], args)
        exchange = self._opened(one, said, b"", next(iter(ROUTES)))
        return await exchange.judge_call(call, exchange.call_event(call, exchange.session.history))

    async def _exchange(self, one: Recorded) -> Decision:
        """A request, an answer, or both in one entry."""
        facts, contents = one.entry["facts"], one.contents
        answered = one.entry["surface"] == "output"
        if answered and "reply" not in contents:
            raise Unplayable(NO_ANSWER)
        if "revised" in facts:
            raise Unplayable(REVISED)
        if "request" not in contents:
            return await self._answer(one, self._opened(one, basis.read(contents.get(basis.NAME)), *self._request(one)), [])
        exchange = self._opened(one, basis.read(contents.get(basis.INPUT)), contents["request"], facts["route"])
        try:
            admitted = await exchange.admit()
        except Refused as refused:
            admitted = refused.decision
        if not answered or admitted.effect not in OPEN:
            return admitted
        said = basis.read(contents.get(basis.NAME))
        if exchange.on.cut:  # the candidate has cut something out, which the reply came without
            exchange = self._opened(one, said, contents["request"], facts["route"])
        else:
            exchange.session.history = _history(one, said)
        return await self._answer(one, exchange, [admitted])

    def _request(self, one: Recorded) -> tuple[bytes, str]:
        found = self._requests.get((one.log, one.entry["facts"].get(EXCHANGE, 0)))
        if found is None:
            raise Unplayable(NO_REQUEST)
        return found

    async def _answer(self, one: Recorded, exchange: Exchange, before: list[Decision]) -> Decision:
        reply = exchange.route.shape.said(load(one.contents["reply"]), exchange.asked.body)
        choice = _with_thinking(reply.choices[one.entry["facts"].get("choice", 0)], one.contents.get("thinking", b""))
        decision, _ = await exchange.weigh(reply.body, choice)
        if decision.effect == "revise" and exchange.asked.stream and may_stream(exchange):
            decision = replace(decision, effect="block")  # as in a stream, whose text has left
        return together([*before, decision])

    def _opened(self, one: Recorded, said: Mapping[str, Any], request: bytes, route_name: str) -> Exchange:
        """An exchange as it stood then, under the candidate."""
        entry, route = one.entry, ROUTES[route_name]
        principal = basis.principal_of(said, entry["principal"])
        law = self.candidate.law(principal)
        env = {key: value for key, value in (said.get("env") or {}).items() if key != basis.HOUR}
        ways = Ways(media=said.get("media") or "allow", env={**env, basis.HOUR: entry["facts"][basis.HOUR]})
        gate = Gate(self.candidate.law, cast("Upstream", None), NoRecord(), lambda who, tool: (), Sessions(), None, ways)
        asked = route.shape.asked(load(request)) if request else NOTHING
        exchange = Exchange(gate, route, law, Who(principal), Session(entry["session"], _history(one, said), 0.0), asked, {})
        for at in said.get("passed") or ():
            exchange.session.answered(without(law.sayings, exchange.place, exchange.asked.texts[at].text))
        return exchange


def case_of(entry: Mapping[str, Any]) -> Case:
    """What an entry is about."""
    name = f"{entry['log']}#{entry['index']}"
    return Case(name, entry["time"], entry["principal"], entry["surface"], entry["tool"], entry["policy"])


def _history(one: Recorded, said: Mapping[str, Any]) -> History:
    """The session before an answer or a call."""
    return basis.history_of(said.get("calls") or said.get("session") or {}, one.entry["session"])


def _rail_facts(said: Mapping[str, Any]) -> RailFacts:
    if not said:
        return NO_FACTS
    lists = {name: tuple(said.get(name, ())) for name in ("canaries", "documents", "tools")}
    return RailFacts(
        said.get("system", ""), lists["canaries"], lists["documents"], said.get("schema"), said.get("request", ""), lists["tools"]
    )


def _with_thinking(choice: Choice, kept: bytes) -> Choice:
    """A choice with the thinking that stood in its text: that was taken out before it was recorded, and kept apart."""
    text, fields = kept.decode("utf-8", "surrogatepass"), "\n".join(one.text for one in choice.thinking)
    if not text or text == fields:
        return choice
    inline = text.removesuffix(f"\n{fields}") if fields else text
    return replace(choice, thinking=(Text("thinking", inline, (), "assistant"), *choice.thinking))
