"""Appeals over HTTP: whoever was refused says why that was wrong; reviewers see it and answer."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from bylaw.govern.appeals import REVIEWERS, NotTaken, may_see
from bylaw.ledger import reading
from bylaw.serve.desk import Desk, Wrong, body, headers, later, limit, not_taken, one_of, query, said, text
from bylaw.serve.door import NotIn
from bylaw.store.appeal_rows import APPEAL_STATES, Appeal, to_json

OUTCOMES: Final = ("upheld", "overturned")
STATUS: Final = {"unknown_record": 404, "unknown_id": 404, "not_entitled": 403, "self_answer": 403, "too_many": 429, "no_reason": 400}


async def appeals(desk: Desk, request: Request) -> Response:
    """The newest appeals: a reviewer sees those of the tenant, anybody else their own."""
    person, wanted = desk.reader(request), query(request, "state", "limit")
    state = one_of(wanted, "state", (*APPEAL_STATES, "all"), "open")
    states = tuple(one for one in APPEAL_STATES if state in (one, "all"))
    tenant = None if person.tenant == "*" else person.tenant
    whose, most = None if any(role in REVIEWERS for role in person.roles) else person.id, limit(wanted)
    rooms = desk.appeals
    found: list[Appeal] = await later(lambda: [one for room in rooms for one in room.find(states, tenant, whose, most)])
    found = sorted(found, key=lambda one: one.made_at, reverse=True)[:most]
    return said({"appeals": [to_json(one) for one in found if may_see(person, one)]})


async def appeal(desk: Desk, request: Request) -> Response:
    """One appeal."""
    person, wanted = desk.reader(request), request.path_params["id"]
    query(request)
    found = await later(lambda: desk.appeals_of(wanted).get(wanted))
    if found is None or not may_see(person, found):
        raise NotIn(404, "there is no such appeal")
    return said(to_json(found))


async def make(desk: Desk, request: Request) -> Response:
    """Appeal against a refusal of one's own."""
    who = desk.principal(request)
    given = await body(request, "record", "why")
    record, why = text(given, "record"), text(given, "why")
    if not why.strip():
        raise Wrong("`why` is empty: say what was wrong with the refusal")

    def work() -> Appeal | NotTaken:
        for gate in desk.gates:  # kept where the refusal is
            if gate.appeals is not None and gate.data_dir is not None and (found := reading.named([gate.data_dir], record)):
                return gate.appeals.make(found[0], record, who, why)
        return desk.appeals[0].make(None, record, who, why)

    return _told(await later(work), 201)


async def answer(desk: Desk, request: Request) -> Response:
    """A reviewer's answer."""
    person, wanted = desk.door.person(headers(request)), request.path_params["id"]
    given = await body(request, "outcome", "reason")
    outcome, reason = text(given, "outcome"), text(given, "reason")
    if outcome not in OUTCOMES:
        raise Wrong(f"`outcome` is one of {', '.join(OUTCOMES)}")
    return _told(await later(lambda: desk.appeals_of(wanted).answer(wanted, person, outcome == "overturned", reason)))


async def withdraw(desk: Desk, request: Request) -> Response:
    """Whoever appealed takes it back."""
    who, wanted = desk.principal(request), request.path_params["id"]
    reason = text(await body(request, known=("reason",), empty=True), "reason")
    return _told(await later(lambda: desk.appeals_of(wanted).withdraw(wanted, who, reason)))


def _told(found: Any, status: int = 200) -> Response:
    if isinstance(found, NotTaken):
        return not_taken(found.why, found.text, STATUS)
    return said(to_json(found), status)
