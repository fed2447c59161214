"""Requests for approval: who waits for what, all that is known of one, and the answer. The engine of `govern.approvals` says what counts.

How long somebody looked is measured here: from when the page of a request was first shown in this login to when it was answered.
"""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from starlette.responses import Response

from bylaw.canonical import canonical
from bylaw.govern import basis, quorum
from bylaw.govern.approval_steps import MAX_REASON
from bylaw.govern.quorum import ALL_TENANTS, Refused
from bylaw.serve import editing, records
from bylaw.serve.admin import STATUS, may_see
from bylaw.serve.console import papers, showing
from bylaw.serve.console.page import POLL, Asked, May, Page, to
from bylaw.serve.desk import Desk, Wrong, later
from bylaw.serve.door import NotIn
from bylaw.serve.editing import NoSuchCall
from bylaw.serve.wire import MAX_CALLS
from bylaw.store import clock as clocks
from bylaw.store import console_rows
from bylaw.store.approval_rows import STATES, Approval
from bylaw.types import EMPTY

MOST: Final = 100  # in the list
HISTORY: Final = 12  # entries of a session on the page of a request
MAX_SHORT: Final = 140  # characters of the arguments in the list


def _now(asked: Asked) -> int:
    with asked.desk.store.reading() as connection:
        return clocks.read(connection, asked.room.logins.clock)


# ---- The list ------------------------------------------------------------------------------------------------------------


async def listed(asked: Asked) -> Response:
    """Who waits, the oldest first; or what was answered lately."""
    every = asked.request.query_params.get("state") == "all"
    found, now = await later(lambda: (_found(asked, every), _now(asked)))
    template = "approvals_rows.html" if POLL in asked.request.headers else "approvals.html"
    return asked.page(
        template,
        found=found,
        now=now,
        every=every,
        tools={one.id: tools_of(one) for one in found},
        short={one.id: in_short(one) for one in found},
        others={one.id: said for one in found if one.state == "pending" and (said := _for_others(one, asked))},
    )


def _found(asked: Asked, every: bool) -> list[Approval]:
    person = asked.visitor.person
    tenant = None if person.tenant == ALL_TENANTS else person.tenant
    states = STATES if every else ("pending",)
    found = [one for room in asked.desk.approvals for one in room.find(states, tenant, MOST) if may_see(person, one)]
    return sorted(found, key=lambda one: one.requested_at, reverse=every)[:MOST]


def _for_others(found: Approval, asked: Asked) -> str:
    """Why whoever looks cannot answer this, in a few words; empty where they can."""
    refused = quorum.refusal(found, asked.visitor.person)
    short = {"self_approval": "you asked for it", "answered": "you have answered"}
    return "" if refused is None else short.get(refused.why) or "waits for " + "; ".join(map(quorum.in_words, found.needs))


def calls_of(found: Approval) -> list[dict[str, Any]]:
    """The calls that a request is about, each with its arguments and their exact text."""
    what = found.what()
    if not isinstance(what, dict):
        return []
    calls = what.get("calls", [what] if "tool" in what else [])
    leave = papers.calls(str(what.get("route")), what["reply"].encode()) if isinstance(what.get("reply"), str) else []
    whole = len(leave) == len(calls)  # else the canonical form, which is what the digest covers
    return [
        {
            "tool": str(call.get("tool", "")),
            "args": [
                (str(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
                for name, value in (_args(call) | _beside(call)).items()
            ],
            "exact": leave[at][2] if whole else canonical(_args(call)).decode(),
            "canonical": canonical(_args(call)).decode(),
        }
        for at, call in enumerate(calls)
        if isinstance(call, dict)
    ]


def _beside(call: dict[str, Any]) -> dict[str, Any]:
    """What an MCP call brings its server besides its arguments."""
    return {key: call[key] for key in ("inputResponses", "requestState") if key in call}


def _args(call: dict[str, Any]) -> dict[str, Any]:
    args = call.get("args")
    return args if isinstance(args, dict) else {}


def tools_of(found: Approval) -> str:
    """What a request is about, in a few words."""
    return ", ".join(dict.fromkeys(call["tool"] for call in calls_of(found))) or "a request to the model" if found.subject else "(erased)"


def in_short(found: Approval) -> str:
    """The arguments of the calls, in a line."""
    calls = [", ".join(f"{name} {value}" for name, value in call["args"]) for call in calls_of(found)]
    line = "; ".join(one for one in calls if one)
    return line if len(line) <= MAX_SHORT else f"{line[:MAX_SHORT]}…"


# ---- One request -----------------------------------------------------------------------------------------------------------


async def shown(asked: Asked) -> Response:
    """All that is known of one request."""
    return await _page(asked, asked.request.path_params["id"])


async def _page(
    asked: Asked, wanted: str, status: int = 200, alert: str = "", kept: str = "", edited: Mapping[str, str] = EMPTY
) -> Response:
    values = await later(lambda: _gathered(asked, wanted))
    return asked.page("approval.html", status, alert=alert, kept=kept, edited=edited, **values)


def _gathered(asked: Asked, wanted: str) -> dict[str, Any]:
    found = _mine(asked, wanted)
    exact = (found.subject or b"").decode("utf-8", "replace")
    calls = calls_of(found)
    what, now = found.what(), _now(asked)
    whole = len(exact) <= showing.MAX_VISIBLE
    refusal = quorum.refusal(found, asked.visitor.person)
    why_not = refusal.text if refusal else "" if whole else "what is asked is too long to be shown whole; answer with `bylaw approvals`"
    if found.state == "pending" and not why_not:
        console_rows.show(asked.desk.store, asked.visitor.login, found.id, now)
    roles = asked.visitor.person.roles
    entitled = "administer" in asked.visitor.may or any(quorum.entitled(need, roles) for need in found.needs)
    return {
        "one": found,
        "now": now,
        "calls": calls,
        "request": what.get("request", "") if isinstance(what, dict) else "",
        "exact": exact,
        "hidden": sum(showing.hidden_in(call["canonical"]) for call in calls) or showing.hidden_in(exact),  # a reply repeats its calls
        "whole": whole,
        "why_not": why_not,
        "needs": [quorum.in_words(need) for need in found.needs],
        "editors": quorum.editors(found),
        "cited": papers.cited(asked.room, found.policy, found.clauses),
        "rules": {f"{need.clause}/{need.rule}" for need in found.needs},
        "in_force": asked.desk.live.now.digest == found.policy,
        "history": _history(asked.desk, found) if entitled else [],
        "tool": tools_of(found),
    }


def _mine(asked: Asked, wanted: str) -> Approval:
    found = asked.desk.approvals_of(wanted)[1].get(wanted)
    if found is None or not may_see(asked.visitor.person, found):
        raise NotIn(404, "there is no such request for approval")
    return found


def _history(desk: Desk, found: Approval) -> list[tuple[dict[str, Any], list[papers.Said]]]:
    """What went before in the session, oldest first, with its texts."""
    what = found.what()
    session = str(what.get("session", "")) if isinstance(what, dict) else ""
    if not session:
        return []
    dirs = desk.data_dirs()
    entries = records.latest(dirs, MOST, {"session": session, "principal": found.requester})
    gathered = ((one, papers.contents(dirs, one)) for one in entries)
    mine = islice(((one, contents) for one, contents in gathered if _tenant(one, contents) == found.tenant), HISTORY)
    return [(one, papers.said(one, contents)) for one, contents in mine][::-1]


def _tenant(entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> str | None:
    """Whose an entry is: the same names of principal and session in another tenant are somebody else's. None: it cannot be told."""
    name = next((one for one in (basis.NAME, basis.INPUT) if one in entry["contents"]), "")
    known = basis.read(contents.get(name))
    if basis.HOUR not in entry["facts"] or (name and not known) or known.get(basis.LOST):
        return None
    return str(basis.principal_of(known, entry["principal"]).get("tenant", ""))


# ---- The answer ------------------------------------------------------------------------------------------------------------


def _reason(asked: Asked) -> str:
    reason = asked.form.get("reason", "").strip()
    if not reason or len(reason) > MAX_REASON:
        raise Wrong(f"say why, in at most {MAX_REASON} characters; nothing was done")
    return reason


async def answer(asked: Asked) -> Response:
    """Yes or no."""
    wanted, yes = asked.request.path_params["id"], asked.form.get("answer")
    if yes not in ("approve", "deny"):
        raise Wrong("the answer is approve or deny; nothing was done")
    reason = _reason(asked)
    await later(lambda: _mine(asked, wanted))
    done = await later(lambda: _decided(asked, wanted, yes == "approve", reason))
    if isinstance(done, Refused):
        return await _page(asked, wanted, STATUS.get(done.why, 409), _sentence(done.text), reason)
    return to(f"/approvals/{wanted}")


def _decided(asked: Asked, wanted: str, yes: bool, reason: str) -> Approval | Refused:
    with asked.desk.store.reading() as connection:
        seen = console_rows.shown_at(connection, asked.visitor.login, wanted)
    approvals = asked.desk.approvals_of(wanted)[1]
    if seen is None and quorum.refusal(_mine(asked, wanted), asked.visitor.person) is None:
        raise NotIn(409, "open the request first: nobody answers here what they were not shown")
    seconds = None if seen is None else max(0, (_now(asked) - seen) // 1000)
    return approvals.decide(wanted, asked.visitor.person, yes, reason, seconds)


async def edit(asked: Asked) -> Response:
    """Ask for other arguments in the place of what waits. What cannot be read stays in the form."""
    wanted = asked.request.path_params["id"]
    await later(lambda: _mine(asked, wanted))
    try:
        reason = _reason(asked)
        at, args = _arguments(asked.form)
    except Wrong as error:
        return await _page(asked, wanted, 400, str(error), edited=asked.form)
    gate, _ = await later(lambda: asked.desk.approvals_of(wanted))
    try:
        done = await editing.edit(gate, wanted, asked.visitor.person, args, at, reason)
    except NoSuchCall as error:
        raise Wrong(error.what) from None
    if isinstance(done, Refused):
        return await _page(asked, wanted, STATUS.get(done.why, 409), _sentence(done.text), reason)
    return to(f"/approvals/{done.id}")


def _arguments(form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Which call is edited, and all its arguments; raises Wrong."""
    at = form.get("call", "0")
    try:
        args = json.loads(form.get("args", ""))
    except (ValueError, RecursionError):
        raise Wrong("the arguments are no JSON; nothing was done") from None
    if not isinstance(args, dict) or not (at.isascii() and at.isdigit() and int(at[:4]) < MAX_CALLS):
        raise Wrong("the arguments must be a JSON object: all arguments of the call; nothing was done")
    return int(at[:4]), args


def _sentence(text: str) -> str:
    return f"Not done: {text}."


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/approvals", "answer", listed),
    ("GET", "/approvals/{id}", "answer", shown),
    ("POST", "/approvals/{id}", "answer", answer),
    ("POST", "/approvals/{id}/edit", "answer", edit),
)
