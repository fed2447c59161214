"""What a decision was made on besides its texts: who, in which session, where. Kept as content that can be deleted, read to decide again.

    facts["hour"]             the hour in UTC. An entry that has it says all that is needed; entries of older versions have it not
    contents["basis"]         JSON, of what is not as in the plainest case; no such content: a principal of whom only the id is known,
                              no environment, a session that has done nothing
    contents["basis-input"]   the same of the request, where it is recorded together with its answer
    facts["undecided"]        the rules that could not be decided; facts["because"] says what was in their way
    facts["cut"]              something was cut out before it was recorded, so that what was judged is not kept

A principal's roles and a session's sums are personal, hence a content and never a fact. What is too large to keep is not kept, and the
decision cannot be made again: `LOST` says so.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bylaw.govern.session import Held, History
from bylaw.types import Decision, Event

NAME: Final = "basis"
INPUT: Final = "basis-input"
HOUR: Final = "hour"
CUT: Final = "cut"
LOST: Final = "lost"
MAX_REASON: Final = 200  # characters
MAX_BYTES: Final = 1 << 16  # of one basis: a session of a thousand calls
_PLAIN: Final = frozenset({"id", "roles", "tenant", "jurisdiction"})  # all but the id empty in the plainest case
_TOLD: Final = ("system", "canaries", "documents", "schema", "request", "tools")  # fields of `RailFacts`
_SESSION: Final = frozenset({"id", "taint", "calls", "n_calls", "sums"})


def written(said: Mapping[str, Any]) -> bytes:
    """A basis as a content; empty where there is nothing to say."""
    told = {key: value for key, value in said.items() if value}
    if not told:
        return b""
    try:
        body = orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):  # half a surrogate pair, or what is no JSON
        return b'{"lost":true}'
    return body if len(body) <= MAX_BYTES else b'{"lost":true}'


def read(content: bytes | None) -> dict[str, Any]:
    """The inverse of `written`; what is no JSON object was lost."""
    if not content:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {LOST: True}
    return value if isinstance(value, dict) else {LOST: True}


def who(principal: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A principal of whom more is known than the id; else None."""
    if principal.keys() == _PLAIN and principal["roles"] == [] and principal["tenant"] == "" == principal["jurisdiction"]:
        return None
    return dict(principal)


def facts(cut: bool = False) -> dict[str, Any]:
    """What an entry about one event says for good."""
    return {HOUR: int(time.time()) // 3600 % 24, **({CUT: True} if cut else {})}


def undecided(decision: Decision) -> dict[str, Any]:
    """What an entry says of a decision that could not be made; nothing of one that could."""
    if not decision.undecided:
        return {}
    because = decision.reason[:MAX_REASON].replace("\0", "").encode("utf-8", "replace").decode()
    return {"undecided": list(decision.undecided), "because": because}


def of_event(event: Event, told: Any = None, whole: bool = True) -> dict[str, bytes]:
    """The basis of an entry that holds one event as `text` and `args`. `told` are the facts that rails knew."""
    said: dict[str, Any] = {"who": who(event.principal), "session": session(event.session)}
    if event.env.keys() != {HOUR}:
        said["env"] = dict(event.env)
    if told is not None:
        said["told"] = {name: value for name in _TOLD if (value := getattr(told, name))}
    if not whole:
        said["part"] = True
    if event.args and not _plain(event.args):
        said[LOST] = True
    body = written(said)
    return {NAME: body} if body else {}


def principal_of(basis: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The inverse of `who`; `name` is the id in the entry."""
    found = basis.get("who")
    return dict(found) if isinstance(found, dict) else {"id": name, "roles": [], "tenant": "", "jurisdiction": ""}


def history(one: History) -> dict[str, Any]:
    """A session's history without its id; empty where it has done nothing."""
    if one.full:
        return {"full": True}
    if not (one.calls or one.sums or one.taint or one.held):
        return {}
    held = {ref: [waiting.tool, dict(waiting.amounts)] for ref, waiting in one.held.items()}
    said = {"calls": list(one.calls), "sums": dict(one.sums), "taint": list(one.taint), "held": held}
    return {key: value for key, value in said.items() if value}


def history_of(said: Any, name: str) -> History:
    """The inverse of `history`; what cannot be read is a session that cannot be read."""
    try:
        if said.get("full"):
            return History(name, full=True)
        held = {str(ref): Held(str(tool), _amounts(amounts)) for ref, (tool, amounts) in said.get("held", {}).items()}
        return History(name, tuple(map(str, said.get("calls", ()))), _amounts(said.get("sums", {})), tuple(said.get("taint", ())), held)
    except (ValueError, TypeError, AttributeError):
        return History(name, full=True)


def session(seen: Mapping[str, Any]) -> dict[str, Any]:
    """A session as conditions saw it; empty where it had done nothing. Zero sums are left out: each policy has its own."""
    if not seen:
        return {}
    if not seen.keys() <= _SESSION:
        return {"given": dict(seen)}  # by whoever asked, in a form of their own
    if isinstance(calls := seen.get("n_calls"), float) and math.isinf(calls):
        return {"full": True}
    said = {"calls": list(seen.get("calls", ())), "taint": list(seen.get("taint", ()))}
    said["sums"] = {name: amount for name, amount in seen.get("sums", {}).items() if amount}  # type: ignore[assignment]  # a map beside lists
    return {key: value for key, value in said.items() if value}


def session_of(said: Any, name: str, zeros: Mapping[str, float]) -> Mapping[str, Any]:
    """The inverse of `session`, under a policy with these sums."""
    if isinstance(said, dict) and isinstance(given := said.get("given"), dict):
        return given
    return history_of(said or {}, name).facts(zeros)


def _plain(args: Any) -> bool:
    try:
        orjson.dumps(args)
    except TypeError:
        return False
    return True


def _amounts(value: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(amount) for name, amount in value.items()}
