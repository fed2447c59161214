"""What is recorded of an exchange: its entries, and what it was judged on, noted as it goes (see `govern.basis`). Nothing here decides."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bylaw.errors import LedgerError
from bylaw.govern import basis
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.session import History
from bylaw.serve.preface import without
from bylaw.serve.sayings import APPEALED
from bylaw.serve.wire import Asked, Text
from bylaw.types import EMPTY, Decision, Event

if TYPE_CHECKING:  # which notes it
    from bylaw.serve.exchange import Exchange

EXCHANGE: Final = "exchange"  # the fact that tells which request an answer belongs to, in one log
UNHEARD: Final[set["asyncio.Task[str]"]] = set()  # records that nobody waits for; a loop alone would not hold them
LOG: Final = logging.getLogger(__name__)
_NUMBERS: Final = count(1)


@dataclass(slots=True)
class On:
    """The session as it was: before the request, before the answer, before each call; and whether something was cut out."""

    number: int = field(default_factory=lambda: next(_NUMBERS))
    before: History | None = None
    then: History | None = None
    calls: list[History] = field(default_factory=list)
    cut: bool = False


class Pending(NamedTuple):
    """What will be recorded of a request, or of it and its answer in one."""

    decision: Decision
    contents: Mapping[str, bytes]
    facts: Mapping[
        str, Any
    ]  # the hour in which it was judged, and whether something was cut out of it: the answer may take long, and be cut


@dataclass(frozen=True, slots=True)
class Asking:
    """The model is being asked: whatever becomes of it, the request has its record when this ends."""

    exchange: "Exchange"

    async def __aenter__(self) -> None:
        """Nothing is recorded yet: with its answer, a request is one entry."""

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Record the request where nothing else has; raises LedgerError."""
        if self.exchange.pending is None or isinstance(error, LedgerError):
            return
        if error is None or isinstance(error, Exception):
            await self.exchange.input_recorded()
            return
        task = asyncio.ensure_future(self.exchange.input_recorded())  # the client has gone, or this process ends: nobody waits for it
        UNHEARD.add(task)
        task.add_done_callback(_recorded)


def _recorded(task: "asyncio.Task[str]") -> None:
    UNHEARD.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        LOG.error("a request whose client has gone is not recorded: %s", error)


def entry(
    exchange: "Exchange",
    decision: Decision,
    surface: str,
    contents: Mapping[str, bytes],
    kind: str = "decision",
    facts: Mapping[str, Any] = EMPTY,
) -> dict[str, Any]:
    """What is recorded of a decision that was made just now, unless the facts name an hour."""
    said = {**facts, "route": exchange.route.path, EXCHANGE: exchange.on.number}
    if basis.HOUR not in said:
        said |= basis.facts(exchange.on.cut)
    if decision.undecided:
        said |= basis.undecided(decision)
    if exchange.preface is not None and surface != "tool_call":
        said["notice"] = exchange.preface.fact
    if decision.effect in APPEALED and (tenant := exchange.who.principal.get("tenant")):
        said["tenant"] = tenant
    return {
        "kind": kind,
        "session": exchange.session.id,
        "principal": exchange.who.id,
        "surface": surface,
        "decision": decision.effect,
        "clauses": decision.clauses,
        "rules": decision.rules,
        "policy": decision.policy,
        "contents": contents,
        "facts": said,
    }


def contents(exchange: "Exchange", surface: str) -> dict[str, bytes]:
    """The basis of a request or an answer, where there is anything to say."""
    on, said = exchange.on, _known(exchange)
    if surface == "input":
        if on.before is not None and (begun := basis.history(on.before)):
            said["session"] = begun
        if exchange.session.answers and (passed := _passed(exchange)):
            said["passed"] = passed
        if exchange.asked.media:
            said["media"] = exchange.gate.ways.media
    elif surface == "output":
        if on.then is not None and (begun := basis.history(on.then)):
            said["session"] = begun
        if exchange.gate.ways.media != "allow":
            said["media"] = exchange.gate.ways.media
        if on.calls and on.calls[0] is not on.then:
            said["calls"] = basis.history(on.calls[0])
    else:
        return {}
    return {basis.INPUT if surface == "input" else basis.NAME: basis.written(said)} if said else {}


def of_call(exchange: "Exchange", history: History) -> dict[str, bytes]:
    """The basis of one call."""
    said = {**_known(exchange), "session": basis.history(history)}
    return {basis.NAME: body} if (body := basis.written(said)) else {}


def _known(exchange: "Exchange") -> dict[str, Any]:
    said: dict[str, Any] = {}
    if (who := basis.who(exchange.who.principal)) is not None:
        said["who"] = who
    if env := exchange.gate.ways.env:
        said["env"] = {"name": "", **env}
    return said


def _passed(exchange: "Exchange") -> list[int]:
    """Which texts of the request had left here, and were not judged again."""
    return [at for at, text in enumerate(exchange.asked.texts) if text.role == "assistant" and known(exchange, text)]


def known(exchange: "Exchange", text: Text) -> bool:
    """Whether a text of the request is what an assistant said in this session, and was judged when it left."""
    if text.role != "assistant" or text.surface != "input":
        return False
    return exchange.session.said(without(exchange.law.sayings, exchange.place, text.text))


def rail_facts(asked: Asked) -> RailFacts:
    """What rails may know of a request."""
    system, documents, request = [], [], ""
    for text in asked.texts:
        if text.surface in ("document", "tool_result"):
            documents.append(text.text)
        if text.role == "user":
            request = text.text
        elif text.path and text.role in ("system", "developer"):
            system.append(text.text)
    return RailFacts("\n".join(system), (), tuple(documents), asked.schema, request)


# ---- What becomes of a session ---------------------------------------------------------------------------------------


def after(event: Event, decision: Decision, trusted: frozenset[str], history: History) -> History:
    """After a text was decided on."""
    return history.after(event, decision, trusted=trusted)


def waiting(event: Event, waits: Decision, ref: str, history: History) -> History:
    """While a call waits for people."""
    return history.after(event, waits, ref)
