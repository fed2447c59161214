"""What an exchange was judged on, noted as it goes, for its records: see `govern.basis`. Nothing here decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from bylaw.govern import basis
from bylaw.govern.session import History
from bylaw.serve.preface import without
from bylaw.types import EMPTY, Decision, Event

if TYPE_CHECKING:  # which notes it
    from bylaw.serve.exchange import Exchange

EXCHANGE: Final = "exchange"  # the fact that tells which request an answer belongs to, in one log
_NUMBERS: Final = count(1)


@dataclass(slots=True)
class On:
    """The session as it was: before the request, before the answer, before each call; and whether something was cut out."""

    number: int = field(default_factory=lambda: next(_NUMBERS))
    before: History | None = None
    then: History | None = None
    calls: list[History] = field(default_factory=list)
    cut: bool = False


def facts(exchange: "Exchange", hour: int) -> dict[str, Any]:
    """What every entry of an exchange says of it."""
    said: dict[str, Any] = {basis.HOUR: hour, EXCHANGE: exchange.on.number}
    if exchange.on.cut:
        said[basis.CUT] = True
    return said


def contents(exchange: "Exchange", surface: str) -> dict[str, bytes]:
    """The basis of a request or an answer, where there is anything to say."""
    on, known = exchange.on, _known(exchange)
    if surface == "input":
        known["session"] = basis.history(on.before) if on.before else EMPTY
        known["passed"] = _passed(exchange)
        known["media"] = exchange.gate.ways.media if exchange.asked.media else ""
        return _named(basis.INPUT, known)
    if surface == "output":
        known["session"] = basis.history(on.then) if on.then else EMPTY
        known["calls"] = basis.history(on.calls[0]) if on.calls and on.calls[0] is not on.then else EMPTY
        return _named(basis.NAME, known)
    return {}


def of_call(exchange: "Exchange", history: History) -> dict[str, bytes]:
    """The basis of one call."""
    return _named(basis.NAME, {**_known(exchange), "session": basis.history(history)})


def _known(exchange: "Exchange") -> dict[str, Any]:
    env = exchange.gate.ways.env
    return {"who": basis.who(exchange.who.principal), "env": {"name": "", **env} if env else None}


def _named(name: str, known: Mapping[str, Any]) -> dict[str, bytes]:
    said = basis.written(known)
    return {name: said} if said else {}


def _passed(exchange: "Exchange") -> list[int]:
    """Which texts of the request had left here, and were not judged again."""
    session, sayings, place = exchange.session, exchange.law.sayings, exchange.place
    if not session.answers:
        return []
    texts = enumerate(exchange.asked.texts)
    return [at for at, text in texts if text.role == "assistant" and session.said(without(sayings, place, text.text))]


# ---- What becomes of a session ---------------------------------------------------------------------------------------


def after(event: Event, decision: Decision, trusted: frozenset[str], history: History) -> History:
    """After a text was decided on."""
    return history.after(event, decision, trusted=trusted)


def waiting(event: Event, waits: Decision, ref: str, history: History) -> History:
    """While a call waits for people."""
    return history.after(event, waits, ref)
