"""What an exchange was judged on, noted as it goes, for its records: see `govern.basis`. Nothing here decides."""

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from bylaw.govern import basis
from bylaw.govern.session import History
from bylaw.serve.preface import without
from bylaw.types import Decision, Event

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
    session, sayings, place = exchange.session, exchange.law.sayings, exchange.place
    texts = enumerate(exchange.asked.texts)
    return [at for at, text in texts if text.role == "assistant" and session.said(without(sayings, place, text.text))]


# ---- What becomes of a session ---------------------------------------------------------------------------------------


def after(event: Event, decision: Decision, trusted: frozenset[str], history: History) -> History:
    """After a text was decided on."""
    return history.after(event, decision, trusted=trusted)


def waiting(event: Event, waits: Decision, ref: str, history: History) -> History:
    """While a call waits for people."""
    return history.after(event, waits, ref)
