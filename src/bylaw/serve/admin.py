"""Everything but the model routes: health, approvals, appeals, decisions, stops, the policy. Starlette; loaded when first asked for.

Reading and stopping take the role `admin`, or being on this machine where the gateway listens to it alone. Deciding on an approval always
takes a key: it is somebody's answer, and has their name.
"""

import asyncio
import re
from dataclasses import asdict
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bylaw.errors import BylawError
from bylaw.govern import stops as emergency
from bylaw.govern.keys import ADMIN
from bylaw.govern.quorum import Person, Refused, editors, entitled
from bylaw.serve import appealing, editing, finding, metrics, records
from bylaw.serve import live as lives
from bylaw.serve.desk import MAX_LISTED, Answer, Desk, Wrong, answered, body, headers, later, limit, not_taken, one_of, query, said, text
from bylaw.serve.door import NotIn
from bylaw.serve.editing import NoSuchCall
from bylaw.serve.openapi import DOCUMENT
from bylaw.serve.routes import ROUTES
from bylaw.serve.upstream import UpstreamTrouble
from bylaw.serve.wire import MAX_CALLS
from bylaw.store.approval_rows import STATES, Approval

STATUS: Final = {"unknown_id": 404, "not_entitled": 403, "self_approval": 403, "other_tenant": 403}  # of a refused step; else 409
MODEL_S: Final = 2.0  # until a local model that says nothing counts as gone
DECISIONS: Final = ("allow", "redact", "revise", "require_approval", "block", "stop")
TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z)?", re.ASCII)


def admin(desk: Desk) -> Starlette:
    """The application."""
    rows: list[tuple[str, str, Answer]] = [
        ("GET", "/healthz", healthz),
        ("GET", "/readyz", readyz),
        ("GET", "/openapi.json", openapi),
        ("GET", "/metrics", metrics.scraped),
        ("GET", "/api/approvals", approvals),
        ("GET", "/api/approvals/{id}", approval),
        ("POST", "/api/approvals/{id}/approve", approve),
        ("POST", "/api/approvals/{id}/deny", deny),
        ("POST", "/api/approvals/{id}/edit", edit),
        ("GET", "/api/appeals", appealing.appeals),
        ("POST", "/api/appeals", appealing.make),
        ("GET", "/api/appeals/{id}", appealing.appeal),
        ("POST", "/api/appeals/{id}/answer", appealing.answer),
        ("POST", "/api/appeals/{id}/withdraw", appealing.withdraw),
        ("GET", "/api/findings", finding.findings),
        ("POST", "/api/findings", finding.report),
        ("GET", "/api/findings/{id}", finding.finding),
        ("POST", "/api/findings/{id}/triage", finding.triage),
        ("GET", "/report", finding.form),
        ("POST", "/report", finding.filled),
        ("GET", "/api/decisions", decisions),
        ("GET", "/api/stop", stopped),
        ("POST", "/api/stop", stop),
        ("DELETE", "/api/stop", resume),
        ("GET", "/api/policy", policy),
    ]
    by_path: dict[str, dict[str, Answer]] = {}
    for method, path, answer in rows:
        by_path.setdefault(path, {})[method] = answer
    routes: list[BaseRoute] = [Route(path, answered(desk, _dispatched(some)), methods=list(some)) for path, some in by_path.items()]
    for path, method in [*((path, "POST") for path in (*ROUTES, "/v1/embeddings")), ("/v1/models", "GET"), ("/v1/models/{id}", "GET")]:
        routes.append(Route(path, answered(desk, _elsewhere), methods=[method]))  # so that another method is told which one it is
    routes.append(Mount("/console", app=_console(desk)))
    return Starlette(routes=routes, exception_handlers={HTTPException: _not_so})


def _console(desk: Desk) -> ASGIApp:
    """The console, loaded when somebody first opens it."""
    made: list[ASGIApp] = []

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        if not made:
            from bylaw.serve.console.app import console  # noqa: PLC0415  # templates and pages that most processes never show

            made.append(console(desk))
        await made[0](scope, receive, send)

    return opened


def _dispatched(some: dict[str, Answer]) -> Answer:
    async def by_method(desk: Desk, request: Request) -> Response:
        return await some["GET" if request.method == "HEAD" else request.method](desk, request)

    return by_method


async def _elsewhere(desk: Desk, request: Request) -> Response:
    raise NotIn(404, "there is nothing here")


async def _not_so(request: Request, error: Exception) -> Response:
    """No such route, or no such method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    what = {404: "there is nothing here; see /openapi.json", 405: "not with this method; `allow` says which"}.get(status, "not so")
    return said({"error": {"message": what}}, status, dict(getattr(error, "headers", None) or {}))


# ---- Health ----------------------------------------------------------------------------------------------------------


async def healthz(desk: Desk, request: Request) -> Response:
    """This process answers."""
    return said({"ok": True})


async def readyz(desk: Desk, request: Request) -> Response:
    """This process can decide and record; what it cannot do is named."""
    unreadable = emergency.UNREADABLE in desk.stops.applies({"id": ""})
    query(request)
    wrong = [
        *(["the ledger does not take entries"] if not all(gate.recorder.healthy for gate in desk.gates) else []),
        *(["the store cannot be read"] if unreadable else []),
        *(["the local model does not answer"] if desk.local_model and not await _model_answers(desk) else []),
    ]
    told = {"ready": not wrong, "policy": desk.live.now.digest, "wrong": wrong, "troubles": list(desk.gate.troubles())}
    return said(told | ({"refused_policy": desk.live.refused} if desk.live.refused else {}), 503 if wrong else 200)


async def _model_answers(desk: Desk) -> bool:
    try:
        async with asyncio.timeout(MODEL_S), desk.gate.upstream.stream("/healthz", b"", {}, "GET") as live:
            return live.status == 200
    except (UpstreamTrouble, TimeoutError):
        return False


async def openapi(desk: Desk, request: Request) -> Response:
    """What this gateway offers."""
    return said(DOCUMENT)


# ---- Approvals -------------------------------------------------------------------------------------------------------


async def approvals(desk: Desk, request: Request) -> Response:
    """The newest requests for approval."""
    person, wanted = desk.reader(request), query(request, "state", "limit", "requester")
    state, most = one_of(wanted, "state", (*STATES, "all"), "pending"), limit(wanted)
    states = [one for one in STATES if state in (one, "all")]
    tenant = None if person.tenant == "*" or (desk.door.local and person.id == "local") else person.tenant
    rooms = desk.approvals
    found: list[Approval] = await later(lambda: [one for room in rooms for one in room.find(states, tenant, most)])
    found = sorted(found, key=lambda one: one.requested_at, reverse=True)[:most]
    seen = [one for one in found if may_see(person, one) and wanted.get("requester", one.requester) == one.requester]
    return said({"approvals": [shown(one) for one in seen]})


async def approval(desk: Desk, request: Request) -> Response:
    """One request. Answers 202 while people decide."""
    who, wanted = desk.principal(request), request.path_params["id"]
    query(request)
    found = await later(lambda: desk.approvals_of(wanted)[1].get(wanted))
    mine = found is not None and (found.requester, found.tenant) == (who["id"], who["tenant"])
    if found is None or not (mine or may_see(desk.reader(request), found)):
        raise NotIn(404, "there is no such approval")
    waits = found.state == "pending"
    told = shown(found)
    if waits:
        told["bylaw"] = {
            "decision": "require_approval",
            "approval": found.id,
            "clauses": list(found.clauses),
            "retry_after": desk.gate.ways.retry_after_s,
        }
    return said(told, 202 if waits else 200)


def may_see(person: Person, found: Approval) -> bool:
    """Who asked, who may answer, and admins, of its tenant: what waits may hold what others must not read."""
    if person.tenant not in (found.tenant, "*"):
        return False
    return found.requester == person.id or ADMIN in person.roles or any(entitled(need, person.roles) for need in found.needs)


async def approve(desk: Desk, request: Request) -> Response:
    """Say yes."""
    return await _decide(desk, request, True)


async def deny(desk: Desk, request: Request) -> Response:
    """Say no."""
    return await _decide(desk, request, False)


async def _decide(desk: Desk, request: Request, yes: bool) -> Response:
    person = desk.door.person(headers(request))
    wanted, reason = request.path_params["id"], text(await body(request, known=("reason",), empty=True), "reason")
    done = await later(lambda: desk.approvals_of(wanted)[1].decide(wanted, person, yes, reason))
    return _done(done)


def _done(done: Approval | Refused, status: int = 200) -> Response:
    if isinstance(done, Refused):
        return not_taken(done.why, done.text, STATUS)
    return said(shown(done), status)


async def edit(desk: Desk, request: Request) -> Response:
    """Ask for other arguments in the place of what waits; somebody else must approve them."""
    person, wanted = desk.door.person(headers(request)), request.path_params["id"]
    given = await body(request, "args", known=("call", "reason"))
    args, call, reason = given["args"], given.get("call", 0), text(given, "reason")
    if not isinstance(args, dict):
        raise Wrong("`args` must be an object: all arguments of the call")
    if not isinstance(call, int) or isinstance(call, bool) or not 0 <= call < MAX_CALLS:
        raise Wrong(f"`call` says which call, a whole number from 0 to {MAX_CALLS - 1}")
    gate, _ = await later(lambda: desk.approvals_of(wanted))
    try:
        done = await editing.edit(gate, wanted, person, args, call, reason)
    except NoSuchCall as error:
        raise Wrong(error.what) from None
    return _done(done, 201)


def shown(one: Approval) -> dict[str, Any]:
    """A request for approval, for machines."""
    return {
        "id": one.id,
        "state": one.state,
        "what": one.what(),
        "digest": one.digest,
        "requester": one.requester,
        "tenant": one.tenant,
        "policy": one.policy,
        "clauses": list(one.clauses),
        "needs": [asdict(need) for need in one.needs],
        "reason": one.reason,
        "requested_at": one.requested_at,
        "expires_at": one.expires_at,
        "edited_by": list(editors(one)),
        "replaced_by": one.replaced_by,
        "answers": [{"person": answer.person, "yes": answer.yes, "reason": answer.reason, "at": answer.at} for answer in one.answers],
    }


# ---- Decisions, stops, policy ----------------------------------------------------------------------------------------


async def decisions(desk: Desk, request: Request) -> Response:
    """The latest entries of every log here that fit, newest first; without contents."""
    desk.door.admin(headers(request))
    wanted = query(request, *records.FILTERS, "limit", "jurisdiction", "before", long=("before",))
    most, dirs = limit(wanted), desk.data_dirs(wanted.get("jurisdiction", ""))
    filters = {name: value for name, value in wanted.items() if name in records.FILTERS}
    for name in ("since", "until"):
        if name in filters and not TIME.fullmatch(filters[name]):
            raise Wrong(f"{name} is a time such as 2026-11-21 or 2026-11-21T09:30:00Z, in UTC")
    if filters.get("decision", "allow") not in DECISIONS:
        raise Wrong(f"decision is one of {', '.join(DECISIONS)}")
    try:
        found = await later(lambda: records.page(dirs, most, filters, wanted.get("before", "")))
    except ValueError as error:
        raise Wrong(str(error)) from error
    return said({"decisions": found.entries, "older": found.older})


async def stopped(desk: Desk, request: Request) -> Response:
    """What is stopped."""
    desk.door.admin(headers(request))
    query(request)
    found = await later(lambda: emergency.active(desk.store))
    return said({"stops": [emergency.to_json(one) for one in found]})


async def stop(desk: Desk, request: Request) -> Response:
    """Stop everything, or one tenant, principal or tool."""
    person, given = desk.door.admin(headers(request)), await body(request, known=("scope", "reason"), empty=True)
    scope, reason = _scope(given), text(given, "reason")
    made, _ = await later(lambda: emergency.stop(desk.store, desk.ledger.append, scope, person.id, reason))
    return said(emergency.to_json(made))


async def resume(desk: Desk, request: Request) -> Response:
    """Lift the stops of one scope."""
    person, given = desk.door.admin(headers(request)), await body(request, known=("scope", "reason"), empty=True)
    scope, reason = _scope(given), text(given, "reason")
    lifted = await later(lambda: emergency.resume(desk.store, desk.ledger.append, scope, person.id, reason))
    return said({"lifted": [emergency.to_json(one) for one in lifted]})


def _scope(given: dict[str, Any]) -> str:
    try:
        return emergency.checked(text(given, "scope", "global"))
    except BylawError as error:
        raise Wrong(f"{error.what}. {error.hint}") from None


async def policy(desk: Desk, request: Request) -> Response:
    """The policy in force in this process, clause by clause, and what was in force before."""
    desk.door.admin(headers(request))
    query(request)
    now = desk.live.now
    told = {
        "id": now.places.policy.id,
        "version": now.places.policy.version,
        "digest": now.digest,
        "clauses": now.places.book({}).standing(),
        "unsigned": list(now.unsigned),
        "refused": desk.live.refused,
        "history": lives.history(desk.store)[-MAX_LISTED:],
    }
    return said(told)
