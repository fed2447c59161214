"""Everything but the model routes: health, approvals, decisions, stops, the policy in force. Starlette; loaded when first asked for.

Reading and stopping take the role `admin`, or being on this machine where the gateway listens to it alone. Deciding on an approval always
takes a key: it is somebody's answer, and has their name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bylaw.errors import BylawError
from bylaw.govern import stops as emergency
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import ADMIN
from bylaw.govern.quorum import Person, Refused, entitled
from bylaw.govern.stops import Stops
from bylaw.ledger import place
from bylaw.ledger.reading import stored
from bylaw.ledger.writer import Ledger
from bylaw.serve import live as lives
from bylaw.serve.door import Door, NotIn
from bylaw.serve.gate import Gate
from bylaw.serve.live import Live
from bylaw.serve.openapi import DOCUMENT
from bylaw.serve.upstream import UpstreamTrouble
from bylaw.store.approval_rows import STATES, Approval
from bylaw.store.database import Store

MAX_BODY_BYTES: Final = 64 * 1024
MAX_LISTED: Final = 500
MODEL_S: Final = 2.0  # until a local model that says nothing counts as gone
STATUS: Final = {"unknown_id": 404, "not_entitled": 403, "self_approval": 403, "other_tenant": 403}  # of a refused step; else 409
HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the admin routes work on."""

    gate: Gate
    door: Door
    live: Live
    store: Store
    ledger: Ledger
    stops: Stops
    data_dir: Path
    local_model: bool = False  # the upstream must answer for this gateway to be ready

    @property
    def approvals(self) -> Approvals:
        """The approvals of this gateway."""
        if self.gate.approvals is None:
            raise NotIn(404, "there are no approvals on this gateway")
        return self.gate.approvals


class Wrong(Exception):  # noqa: N818  # becomes a 400
    """A request that cannot be read."""


Answer = Callable[[Desk, Request], Awaitable[Response]]


def admin(desk: Desk) -> Starlette:
    """The application."""
    rows: list[tuple[str, str, Answer]] = [
        ("GET", "/healthz", healthz),
        ("GET", "/readyz", readyz),
        ("GET", "/openapi.json", openapi),
        ("GET", "/api/approvals", approvals),
        ("GET", "/api/approvals/{id}", approval),
        ("POST", "/api/approvals/{id}/approve", approve),
        ("POST", "/api/approvals/{id}/deny", deny),
        ("GET", "/api/decisions", decisions),
        ("GET", "/api/stop", stopped),
        ("POST", "/api/stop", stop),
        ("DELETE", "/api/stop", resume),
        ("GET", "/api/policy", policy),
    ]
    return Starlette(routes=[Route(path, _answered(desk, answer), methods=[method]) for method, path, answer in rows])


def _answered(desk: Desk, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await answer(desk, request)
        except NotIn as error:
            return _json({"error": {"message": error.what}}, error.status)
        except Wrong as error:
            return _json({"error": {"message": str(error)}}, 400)
        except BylawError as error:
            return _json({"error": {"message": error.what, "hint": error.hint}}, 503)

    return endpoint


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value, default=str), status, HEADERS, "application/json")


async def _later(work: Callable[[], Any]) -> Any:
    """Do what waits for a disk in a thread."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def _body(request: Request, *known: str) -> dict[str, str]:
    """A small JSON body of text fields; empty where there is none."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY_BYTES:
            raise NotIn(413, f"a body may have {MAX_BODY_BYTES} bytes")
    if not content:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Wrong("the body is not JSON") from None
    if not isinstance(value, dict) or not all(key in known and isinstance(one, str) for key, one in value.items()):
        raise Wrong(f"the body is an object of texts: {', '.join(known)}")
    return value


def _headers(request: Request) -> dict[bytes, bytes]:
    return dict(request.scope["headers"])


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MAX_LISTED:
        raise Wrong(f"limit is a whole number from 1 to {MAX_LISTED}")
    return int(text)


# ---- Health ----------------------------------------------------------------------------------------------------------


async def healthz(desk: Desk, request: Request) -> Response:
    """This process answers."""
    return _json({"ok": True})


async def readyz(desk: Desk, request: Request) -> Response:
    """This process can decide and record; what it cannot do is named."""
    unreadable = emergency.UNREADABLE in desk.stops.applies({"id": ""})
    wrong = [
        *(["the ledger does not take entries"] if not desk.gate.recorder.healthy else []),
        *(["the store cannot be read"] if unreadable else []),
        *(["the local model does not answer"] if desk.local_model and not await _model_answers(desk) else []),
    ]
    said = {"ready": not wrong, "policy": desk.live.now.digest, "wrong": wrong}
    return _json(said | ({"refused_policy": desk.live.refused} if desk.live.refused else {}), 503 if wrong else 200)


async def _model_answers(desk: Desk) -> bool:
    try:
        async with asyncio.timeout(MODEL_S), desk.gate.upstream.stream("/healthz", b"", {}, "GET") as live:
            return live.status == 200
    except (UpstreamTrouble, TimeoutError):
        return False


async def openapi(desk: Desk, request: Request) -> Response:
    """What this gateway offers."""
    return _json(DOCUMENT)


# ---- Approvals -------------------------------------------------------------------------------------------------------


async def approvals(desk: Desk, request: Request) -> Response:
    """The newest requests for approval."""
    person = _reader(desk, request)
    state = request.query_params.get("state", "pending")
    states = [one for one in STATES if state in (one, "all")]
    if not states:
        raise Wrong(f"state is one of {', '.join((*STATES, 'all'))}")
    tenant = None if person.tenant == "*" or (desk.door.local and person.id == "local") else person.tenant
    found = await _later(lambda: desk.approvals.find(states, tenant, _limit(request)))
    return _json({"approvals": [shown(one) for one in found if _may_see(person, one)]})


async def approval(desk: Desk, request: Request) -> Response:
    """One request. Answers 202 while people decide."""
    who = desk.door.enter(_headers(request))
    wanted = request.path_params["id"]
    found = await _later(lambda: desk.approvals.get(wanted))
    if found is None or not (found.requester == who.id or _may_see(_reader(desk, request), found)):
        raise NotIn(404, "there is no such approval")
    waits = found.state == "pending"
    said = shown(found)
    if waits:
        said["bylaw"] = {
            "decision": "require_approval",
            "approval": found.id,
            "clauses": list(found.clauses),
            "retry_after": desk.gate.ways.retry_after_s,
        }
    return _json(said, 202 if waits else 200)


def _may_see(person: Person, found: Approval) -> bool:
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
    person = desk.door.person(_headers(request))
    wanted, reason = request.path_params["id"], (await _body(request, "reason")).get("reason", "")
    done = await _later(lambda: desk.approvals.decide(wanted, person, yes, reason))
    if isinstance(done, Refused):
        return _json({"error": {"message": done.text, "why": done.why}}, STATUS.get(done.why, 409))
    return _json(shown(done))


def _reader(desk: Desk, request: Request) -> Person:
    key = desk.door.key(_headers(request))
    return Person("local", (ADMIN,), "*") if key is None else key.person()


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
        "answers": [{"person": answer.person, "yes": answer.yes, "reason": answer.reason, "at": answer.at} for answer in one.answers],
    }


# ---- Decisions, stops, policy ----------------------------------------------------------------------------------------


async def decisions(desk: Desk, request: Request) -> Response:
    """The latest entries of every log here, newest first; without contents."""
    desk.door.admin(_headers(request))
    limit = _limit(request)

    def read() -> list[Any]:
        found = []
        for path in place.logs(desk.data_dir):
            with stored(path) as log:
                found += [orjson.loads(leaf) for _, leaf in log.last(limit)]
        return sorted(found, key=lambda entry: (entry["time"], entry["index"]), reverse=True)[:limit]

    return _json({"decisions": await _later(read)})


async def stopped(desk: Desk, request: Request) -> Response:
    """What is stopped."""
    desk.door.admin(_headers(request))
    found = await _later(lambda: emergency.active(desk.store))
    return _json({"stops": [emergency.to_json(one) for one in found]})


async def stop(desk: Desk, request: Request) -> Response:
    """Stop everything, or one tenant, principal or tool."""
    person, body = desk.door.admin(_headers(request)), await _body(request, "scope", "reason")
    scope = _scope(body)
    made, _ = await _later(lambda: emergency.stop(desk.store, desk.ledger.append, scope, person.id, body.get("reason", "")))
    return _json(emergency.to_json(made))


async def resume(desk: Desk, request: Request) -> Response:
    """Lift the stops of one scope."""
    person, body = desk.door.admin(_headers(request)), await _body(request, "scope", "reason")
    scope = _scope(body)
    lifted = await _later(lambda: emergency.resume(desk.store, desk.ledger.append, scope, person.id, body.get("reason", "")))
    return _json({"lifted": [emergency.to_json(one) for one in lifted]})


def _scope(body: dict[str, str]) -> str:
    try:
        return emergency.checked(body.get("scope", "global"))
    except BylawError as error:
        raise Wrong(f"{error.what}. {error.hint}") from None


async def policy(desk: Desk, request: Request) -> Response:
    """The policy in force in this process, clause by clause, and what was in force before."""
    desk.door.admin(_headers(request))
    now = desk.live.now
    said = {
        "id": now.places.policy.id,
        "version": now.places.policy.version,
        "digest": now.digest,
        "clauses": now.places.book({}).standing(),
        "unsigned": list(now.unsigned),
        "refused": desk.live.refused,
        "history": lives.history(desk.data_dir)[-MAX_LISTED:],
    }
    return _json(said)
