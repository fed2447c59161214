"""What a record of an MCP message is decided on again: kept with it here, read back for `serve.replay`. See `govern.basis`.

Where a condition of the law read sessions, a message is kept with what its session had done. Where none did, it is not, for a history is
long: to a condition of another law that reads it, it is undecidable. What a user answered a server cannot be decided again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bylaw.govern import basis
from bylaw.govern.session import History
from bylaw.serve.gate import Who
from bylaw.serve.mcp_texts import gathered, in_one
from bylaw.serve.wire import load
from bylaw.types import Decision, Event

ROUTE: Final = "mcp"
READING: Final = "reading"  # which of the lists' texts in one piece was decided on, counted from 1; left out: all texts, a line each
OPEN: Final = ("allow", "redact")
NOTHING: Final[Mapping[str, Any]] = {"calls": []}  # a session that had done nothing, where it is said


def of_call(who: Who, env: Mapping[str, Any], before: History | None) -> dict[str, bytes]:
    """The basis of a call in a session with this history; None: it was judged on none."""
    return _written(who, env, (basis.history(before) or NOTHING) if before is not None else {})


def of_message(who: Who, env: Mapping[str, Any], event: Event, asked: bool) -> dict[str, bytes]:
    """The basis of what a server said; `asked`: conditions saw its session."""
    return _written(who, env, (basis.session(event.session) or NOTHING) if asked else {})


def _written(who: Who, env: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, bytes]:
    known = basis.who(who.principal)
    if not (known or env or session):
        return {}
    said = {"who": known, "env": {"name": "", **env} if env else None, "session": session}
    return {basis.NAME: body} if (body := basis.written(said)) else {}


def text_of(contents: Mapping[str, bytes]) -> str:
    """The text that was judged of what a server said."""
    if "result" not in contents:
        return ""
    body = load(contents["result"])
    found, reading = gathered(body), int(contents.get(READING, b"0"))
    return list(in_one(body, found))[reading - 1].whole if reading else found.whole


def session_of(said: Mapping[str, Any], name: str, zeros: Mapping[str, float]) -> Mapping[str, Any]:
    """The session that it was in; of which only the name is known where nobody asked for more."""
    return basis.session_of(said["session"], name, zeros) if "session" in said else {"id": name}


def env_of(said: Mapping[str, Any], hour: int) -> dict[str, Any]:
    """Where and when it was."""
    return {"name": "", **(said.get("env") or {}), basis.HOUR: hour}


def closed(event: Event, decision: Decision) -> Decision:
    """What comes of a decision: what a server said passes or does not, and nobody is asked about it."""
    if event.surface == "tool_call" or decision.effect in (*OPEN, "stop"):
        return decision
    return replace(decision, effect="block", needs=())
