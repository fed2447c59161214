"""Findings over HTTP: anybody who may says what went wrong, at `POST /api/findings` or in the form at `/report`; reviewers triage it.

The form is plain HTML: no script, nothing loaded, nothing that signs anybody in, so that there is nothing to forge a request with. It is
there only where `gateway.yaml` says `findings: {open: true}`. Findings are kept in the gateway's own store, not in a region's.
"""

from typing import Any, Final, get_args
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from bylaw.govern.findings import Change, Findings, NotTaken, Report, may_see
from bylaw.policy.parse import every_clause
from bylaw.serve import report_page
from bylaw.serve.desk import Desk, Wrong, body, headers, later, limit, not_taken, one_of, query, said, text
from bylaw.serve.door import NotIn
from bylaw.store.finding_rows import FINDING_STATES, FindingState, Found, Listed, Source, to_json

STATUS: Final = {"unknown_id": 404, "not_entitled": 403, "too_many": 429, "wrong": 400}  # of what was not taken; else 409
TESTER: Final = "tester"  # the role of somebody from outside who was asked to look
TEXTS: Final = ("prompt", "reply", "contact", "record", "clause")
CHANGES: Final = ("state", "clause", "severity", "assignee", "duplicate_of", "disclose_on", "note")
MAX_FORM_BYTES: Final = 64 * 1024


async def report(desk: Desk, request: Request) -> Response:
    """Take a finding in, of whoever has a key; and of anybody where the operator says so."""
    who, source = _reporter(desk, request)
    given = await body(request, "said", known=TEXTS)
    made = Report(text(given, "said"), *(text(given, name) for name in TEXTS))
    return _told(await _take(desk, made, who, source), 201)


async def form(desk: Desk, request: Request) -> Response:
    """The form of the public."""
    _public(desk)
    query(request)
    return report_page.form("", {}, 200)


async def filled(desk: Desk, request: Request) -> Response:
    """The form, filled in."""
    _public(desk)
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_FORM_BYTES:
            raise NotIn(413, f"a report may have {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(content.decode("utf-8", "strict"), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise Wrong("this is no filled-in form") from None
    values = {name: fields.get(name, [""])[0] for name in report_page.FIELDS}
    done = await _take(desk, Report(**values), None, "public")
    if isinstance(done, NotTaken):  # nobody writes it twice
        why = "it was not sent: say what went wrong" if not values["said"].strip() else f"it was not sent: {done.text}"
        return report_page.form(why, values, STATUS.get(done.why, 409))
    return report_page.taken(done.id, done.disclose_on)


async def findings(desk: Desk, request: Request) -> Response:
    """The newest findings: a reviewer sees those of the tenant and of the public, anybody else their own."""
    person, wanted = desk.reader(request), query(request, "state", "limit", "before")
    state = one_of(wanted, "state", (*FINDING_STATES, "all"), "new")
    states = tuple(one for one in FINDING_STATES if state in (one, "all"))
    most, before = limit(wanted), wanted.get("before", "")
    try:
        listed: Listed = await later(lambda: _room(desk).seen_by(person, states, most, before))
    except ValueError as error:
        raise Wrong(str(error)) from error
    return said({"findings": [to_json(one) for one in listed.found if may_see(person, one)], "older": listed.older})


async def finding(desk: Desk, request: Request) -> Response:
    """One finding, with every step on it."""
    person, wanted, room = desk.reader(request), request.path_params["id"], _room(desk)
    query(request)
    found = await later(lambda: room.get(wanted))
    if found is None or not may_see(person, found):
        raise NotIn(404, "there is no such finding")
    return said(to_json(found, await later(lambda: room.history(wanted))))


async def triage(desk: Desk, request: Request) -> Response:
    """A reviewer's step."""
    person, wanted = desk.door.person(headers(request)), request.path_params["id"]
    given = await body(request, known=CHANGES)
    values: dict[str, Any] = {name: text(given, name) for name in CHANGES if name in given}
    if values.get("state", "new") not in get_args(FindingState):
        raise Wrong(f"state is one of {', '.join(FINDING_STATES)}")
    _known(desk, values.get("clause", ""))
    return _told(await later(lambda: _room(desk).triage(wanted, person, Change(**values))))


def _room(desk: Desk) -> Findings:
    return Findings(desk.store, desk.ledger.append)


def _reporter(desk: Desk, request: Request) -> tuple[dict[str, Any] | None, Source]:
    """Who reports; None: somebody without a key. Raises NotIn."""
    try:
        key = desk.door.key(headers(request))
    except NotIn:
        if not desk.watching.lookout.findings.open or headers(request).keys() & {b"authorization", b"x-api-key"}:
            raise
        return None, "public"
    if key is None:
        return desk.principal(request), "user"
    return key.principal(), TESTER if TESTER in key.grant.roles else "user"


def _public(desk: Desk) -> None:
    if not desk.watching.lookout.findings.open:
        raise NotIn(404, "there is nothing here")


async def _take(desk: Desk, made: Report, who: dict[str, Any] | None, source: Source) -> Found | NotTaken:
    _known(desk, made.clause)
    if who is None:
        an_hour = desk.watching.lookout.findings.an_hour
        return await later(lambda: _room(desk).report(made, "", "", source, an_hour))  # type: ignore[no-any-return]  # what `later` runs
    return await later(lambda: _room(desk).report(made, str(who["id"]), str(who.get("tenant") or ""), source))  # type: ignore[no-any-return]  # the same


def _known(desk: Desk, clause: str) -> None:
    if clause and clause not in {one.id for one in every_clause(desk.live.now.places.policy)}:
        raise Wrong("`clause` is no clause of the policy in force; leave it out where you do not know it")


def _told(found: Found | NotTaken, status: int = 200) -> Response:
    if isinstance(found, NotTaken):
        return not_taken(found.why, found.text, STATUS)
    return said(to_json(found), status)
