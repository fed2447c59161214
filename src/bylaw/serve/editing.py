"""To edit what waits for people: another person changes a call's arguments, and what waits then is the edited call, judged anew.

On model routes the whole withheld answer is stored; its call is exchanged where it stands, and all else stays as the model wrote it. The
edited answer is released later in the place of the first, under either id. What it was made of is named in it (`instead_of`), so that a
session does not count both.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Final, NoReturn

from bylaw.errors import StoreError
from bylaw.govern import approval_steps as steps
from bylaw.govern import quorum
from bylaw.govern.approvals import Approvals, Record
from bylaw.govern.histories import Histories
from bylaw.govern.quorum import Person, Refused
from bylaw.govern.session import History, owner
from bylaw.govern.stops import Stops
from bylaw.serve.exchange import Exchange
from bylaw.serve.gate import Gate, NoRecord, Who
from bylaw.serve.law import Law, blocked
from bylaw.serve.release import instead_of, reply_rejudged
from bylaw.serve.route import Route
from bylaw.serve.routes import ROUTES
from bylaw.serve.sessions import Keeper, Session, Sessions
from bylaw.serve.upstream import Upstream
from bylaw.serve.wire import Asked, BadBody, JsonMap, dump, get, load, put
from bylaw.store.approval_rows import Approval
from bylaw.store.database import Store
from bylaw.store.watching import Watch
from bylaw.types import Decision, Event

INSTEAD: Final = "instead_of"


class NoSuchCall(StoreError):  # noqa: N818  # said to whoever edits
    """There is nothing in the request that could be edited so."""


async def edit(gate: Gate, approval: str, person: Person, args: Mapping[str, Any], call: int = 0, reason: str = "") -> Approval | Refused:
    """Ask for a call with these arguments in the place of one that waits; raises NoSuchCall."""
    approvals, loop = gate.approvals, asyncio.get_running_loop()
    if approvals is None:
        raise StoreError("there are no approvals here", "Nothing was changed.")
    found = await loop.run_in_executor(None, approvals.get, approval)
    if found is None or found.state != "pending" or quorum.refusal(found, person):  # whoever refuses it records why
        return await loop.run_in_executor(None, lambda: approvals.edit(approval, person, {}, Decision("block", (), (), ""), reason))
    what = found.what()
    principal: dict[str, Any] = {**steps.bound_of(found), "roles": []}
    if found.route == "run":
        new = {**what, "args": dict(args)} if isinstance(what, dict) and call == 0 else _none(found)
        decision = await loop.run_in_executor(None, _judged_call, gate, principal, new)
    else:
        new, decision = await _reply(gate, principal, found, what, args, call)
    return await loop.run_in_executor(None, lambda: approvals.edit(approval, person, new, decision, reason))


@contextmanager
def gate_of(store: Store, record: Record, law: Callable[[Mapping[str, Any]], Law]) -> Iterator[Gate]:
    """What it takes to edit where nothing is served: a command. It asks no model."""
    with closing(Approvals(store, record)) as approvals, closing(Keeper(Histories(store))) as keeper:
        watch = Watch(store)
        stops = Stops(watch)
        watch.look()
        yield Gate(law, Upstream("http://localhost"), NoRecord(), stops.applies, Sessions(keeper=keeper), approvals)


def _judged_call(gate: Gate, principal: Mapping[str, Any], what: Mapping[str, Any]) -> Decision:
    law, tool = gate.laws(principal), str(what.get("tool", ""))
    event = Event("tool_call", tool, dict(what["args"]), "", principal, History("").facts(law.book.zeros), {"name": "", **gate.ways.env})
    return law.now(event, stops=gate.stops(principal, tool))


async def _reply(
    gate: Gate, principal: Mapping[str, Any], found: Approval, what: Any, args: Mapping[str, Any], call: int
) -> tuple[dict[str, Any], Decision]:
    """A withheld answer with one of its calls exchanged, and what the policy says of it."""
    route = ROUTES.get(str(what.get("route"))) if isinstance(what, dict) else None
    if route is None or "reply" not in what:
        _none(found)
    body = _exchanged(route, load(what["reply"].encode()), args, call, found)
    listed = [dict(one) for one in what["calls"]]
    listed[call] = {**listed[call], "args": dict(args)}
    changed = listed != what["calls"]  # else it is the same request, and is refused as that
    new = {**what, "calls": listed, "reply": dump(body).decode(), INSTEAD: [*what.get(INSTEAD, ()), found.id]} if changed else dict(what)
    law, session = gate.laws(principal), _session(gate, found, what)
    await session.known(law.reads_session)
    exchange = Exchange(gate, route, law, Who(principal), session, Asked({}, "", False, ()), {})
    reasons = {reason for one in listed for reason in gate.stops(principal, str(one.get("tool", "")))}
    if reasons:
        return new, replace(blocked(law, ""), effect="stop", undecided=(), reason="; ".join(sorted(reasons)))
    try:
        said = route.shape.said(load(new["reply"].encode()))
    except BadBody as error:
        return new, blocked(law, error.what)
    waited = (found.id, *instead_of(new))
    return new, await asyncio.get_running_loop().run_in_executor(None, reply_rejudged, exchange, waited, said)  # it may ask a model


def _session(gate: Gate, found: Approval, what: Mapping[str, Any]) -> Session:
    return gate.sessions.of(owner(steps.bound_of(found)), str(what.get("session", "")))


def _exchanged(route: Route, body: JsonMap, args: Mapping[str, Any], call: int, found: Approval) -> JsonMap:
    """The reply with other arguments in one call; what is read in it afterwards are these arguments."""
    calls = route.shape.said(load(dump(body))).choices[0].calls
    if call >= len(calls):
        _none(found)
    path = calls[call].path
    holder = get(body, path)
    for keys in (("function", "arguments"), ("arguments",), ("input",)):
        inner = get(body, (*path, *keys[:-1])) if len(keys) == 1 or isinstance(holder.get(keys[0]), dict) else {}
        if keys[-1] in inner:
            written = dump(dict(args)).decode() if keys[-1] == "arguments" else dict(args)
            put(body, (*path, *keys), written)
            break
    after = route.shape.said(load(dump(body))).choices[0].calls
    if after[call].args != dict(args) or [one for at, one in enumerate(after) if at != call] != [
        one for at, one in enumerate(calls) if at != call
    ]:
        raise NoSuchCall(f"call {call} of request {found.id} cannot be edited", "Deny it, and let it be asked for anew.")
    return body


def _none(found: Approval) -> NoReturn:
    raise NoSuchCall(f"request {found.id} has no such call", "See `bylaw approvals show`; what waits may be a request or an answer.")
