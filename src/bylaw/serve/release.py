"""What was withheld is given out: exactly as it was stored, once, judged again under the law of today, and recorded first."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from bylaw.govern import approval_steps as steps
from bylaw.govern.approvals import Approvals
from bylaw.govern.quorum import Refused as NotNow
from bylaw.govern.session import History, owner
from bylaw.serve import refusals
from bylaw.serve.based import known
from bylaw.serve.ends import Done, Refused
from bylaw.serve.exchange import Exchange, held, readable
from bylaw.serve.law import blocked, together
from bylaw.serve.wire import MAX_CALLS, BadBody, Said, load
from bylaw.store.approval_rows import Approval
from bylaw.types import EMPTY, Decision, Effect, Event

MAX_EDITS: Final = 50  # of one request that are followed


async def release(exchange: Exchange, approval: str) -> Done | None:
    """The stored reply; None where it was the request that waited, which may now go on. Raises Refused."""
    approvals, law, who = exchange.gate.approvals, exchange.law, exchange.who
    if approvals is None:
        raise Refused(blocked(law, "there are no approvals here"), "There are no approvals on this gateway.", "")
    seen: list[Decision] = []

    def rejudge(what: Any) -> Decision:
        seen.append(_rejudged(exchange, approval, what))
        return seen[-1]

    def stops() -> Any:
        tools = [str(call.get("tool", "")) for what in [found.what()] for call in (what or {}).get("calls", ())] if found else []
        asked = exchange.gate.stops_now or exchange.gate.stops
        return {reason for tool in ("", *tools) for reason in asked(who.principal, tool)}

    loop = asyncio.get_running_loop()
    approval, found = await loop.run_in_executor(None, _newest, approvals, approval, who.owner)
    mine = found is not None and _owner(found) == who.owner
    if found is not None and mine and isinstance(stored := found.what(), dict):
        exchange.session = exchange.gate.sessions.of(who.owner, str(stored.get("session", "")))
        await exchange.session.known(law.reads_session)
    given = await loop.run_in_executor(None, lambda: approvals.release(approval, who.principal, law.digest, rejudge, stops))
    if isinstance(given, NotNow):
        if found is not None and mine and found.state in ("denied", "expired"):
            refs = [held(one, at) for one in (approval, *instead_of(found.what())) for at in range(MAX_CALLS)]
            await exchange.session.change(lambda history: _given_back(history, refs), law.reads_session)
        waits = mine and found is not None and given.why == "not_approved" and found.state == "pending"
        effect: Effect = "require_approval" if waits else "block"
        said = given.text if mine else "there is no such request of yours"  # what somebody else waits for is told to nobody
        decision = Decision(effect, tuple(found.clauses) if found and mine else (), (), law.digest, reason=said)
        text = refusals.waiting(decision, law.book.policy, approval) if effect == "require_approval" else f"This can't be released: {said}."
        record = await exchange.record(decision, "output", {}, kind="refusal", facts={"approval": approval[:64], "why": given.why})
        raise Refused(decision, text, record, approval if effect == "require_approval" else "")
    what, decision = given.what, replace(together(seen[-1:]), effect="allow")
    if "request" in what:
        exchange.asked = exchange.route.shape.asked(load(what["request"].encode()))
        exchange.approved = True
        return None
    body = load(what["reply"].encode())
    choice = exchange.route.shape.said(body).choices[0]
    calls = [(held(approval, at), exchange.call_event(call, exchange.session.history)) for at, call in enumerate(choice.calls)]
    before = [held(one, at) for one in instead_of(what) for at in range(MAX_CALLS)]
    await exchange.session.change(lambda history: _ran(_given_back(history, before), calls), law.reads_session)
    record = await exchange.record(decision, "output", {"reply": what["reply"].encode()}, kind="release", facts={"approval": approval[:64]})
    return Done(body, decision, record)


def _newest(approvals: Approvals, approval: str, owned_by: str) -> tuple[str, Approval | None]:
    """The request that now stands for this one: somebody may have edited what waited."""
    found = approvals.get(approval)
    for _ in range(MAX_EDITS):
        if found is None or found.state != "superseded" or _owner(found) != owned_by:
            break
        later = approvals.get(found.replaced_by)
        if later is None:
            break
        approval, found = later.id, later
    return approval, found


def _owner(found: Approval) -> str:
    """Whose request it is."""
    return owner(steps.bound_of(found))


def instead_of(what: Any) -> tuple[str, ...]:
    """The requests that what waits was edited from."""
    listed = what.get("instead_of", ()) if isinstance(what, dict) else ()
    return tuple(str(one) for one in listed)


def _given_back(history: History, refs: Sequence[str]) -> History:
    """A session in which what waited under these names does not count any more."""
    for ref in refs:
        history = history.given_back(ref) if ref in history.held else history
    return history


def _ran(history: History, calls: Sequence[tuple[str, Event]]) -> History:
    """A session in which calls that waited have left."""
    for ref, event in calls:
        history = history.kept(ref, event)
    return history


def _rejudged(exchange: Exchange, approval: str, what: Any) -> Decision:
    """What the law of today says about what was stored."""
    law = exchange.law
    if not isinstance(what, dict) or what.get("route") != exchange.route.path:
        return blocked(law, "what was withheld belongs to another route")
    try:
        if "request" in what:
            asked = exchange.route.shape.asked(load(what["request"].encode()))
            texts = [text for text in asked.texts if not known(exchange, text)]
            events = [
                Event(text.surface, text.tool, EMPTY, text.text, exchange.who.principal, exchange.facts(), exchange.env()) for text in texts
            ]
            if all(text.surface != "input" for text in texts):
                events.append(exchange.event("input", ""))
            facts = replace(exchange, asked=asked).rail_facts()
            return together([law.now(event, facts) for event in events])
        return reply_rejudged(
            exchange, (approval, *instead_of(what)), exchange.route.shape.said(load(what["reply"].encode()), exchange.asked.body)
        )
    except BadBody as error:
        return blocked(law, error.what)


def reply_rejudged(exchange: Exchange, waited: Sequence[str], said: Said) -> Decision:
    """What the law of today says about a reply that `waited` under these requests."""
    law, history = exchange.law, exchange.session.history
    decisions = []
    for choice in said.choices:
        for at in range(len(choice.calls)):  # judged again, they do not count against themselves
            for one in waited:
                history = history.given_back(held(one, at))
        events = [exchange.event(text.surface, text.text) for text in choice.texts] or [exchange.event("output", "")]
        decisions += [law.now(event, exchange.rail_facts()) for event in events]
        if law.required and (whole := "\n".join(text.text for text in choice.texts if not text.parts)):
            decisions += law.agreed(exchange.event("output", whole), exchange.rail_facts()).decisions
        for call in choice.calls:
            event = exchange.call_event(call, history)
            decisions.append(law.now(event) if readable(call) else blocked(law, "a tool call that cannot be read", "args"))
            history = history.after(event, exchange.passed)
    return together(decisions)
