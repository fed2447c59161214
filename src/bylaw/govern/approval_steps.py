"""One step of an approval, planned: what may happen to a row, what changes, and what the ledger is told. Pure: nothing here acts."""

import hmac
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

from bylaw.canonical import canonical, digest, digest_bytes
from bylaw.errors import StoreError
from bylaw.govern import quorum
from bylaw.govern.quorum import UNNAMED, Refused
from bylaw.store.approval_rows import Answer, Approval, Route
from bylaw.types import EMPTY, Decision

MAX_SUBJECT_BYTES: Final = 4 * 2**20
MAX_TTL_S: Final = 30 * 24 * 3600
MAX_REASON: Final = 2_000  # characters
MAX_ID: Final = 200  # characters of a principal's or a person's id
OPEN: Final = ("pending", "approved")
BOUND: Final = ("id", "tenant", "jurisdiction")  # what of a principal an approval is bound to
ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Step:
    """What is about to happen to a row."""

    name: str
    change: Mapping[str, Any]
    by: str = ""
    answer: Answer | None = None
    contents: Mapping[str, bytes | str] = field(default_factory=dict)  # what the ledger keeps apart, deletable
    then: Refused | None = None  # what the caller hears, where the step is not what they asked for
    last_look: Callable[[int], Refused | None] = field(default=lambda _now_ms: None)  # after recording, right before it takes effect
    new: Approval | None = None  # the request that takes the row's place: both happen, or neither


def subject_of(what: Mapping[str, Any]) -> bytes:
    """The bytes that are approved: canonical JSON."""
    try:
        subject = canonical(dict(what))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"what needs approval is no plain JSON: {error}", "It was not run, and nobody was asked.") from error
    if len(subject) > MAX_SUBJECT_BYTES:
        raise StoreError(f"what needs approval is larger than {MAX_SUBJECT_BYTES} bytes", "It was not run, and nobody was asked.")
    return subject


def principal_of(principal: Mapping[str, Any]) -> dict[str, str]:
    """What of a principal an approval is bound to."""
    bound = {name: principal.get(name) or "" for name in BOUND}
    if not bound["id"] or not all(isinstance(one, str) and len(one) <= MAX_ID and one.isprintable() for one in bound.values()):
        raise StoreError("a principal needs an id, tenant and jurisdiction of plain text", "Nothing was run, and nobody was asked.")
    return bound


def bound_of(approval: Approval) -> dict[str, str]:
    """The principal that an approval is bound to."""
    return {name: str(one) for name, one in json.loads(approval.principal).items()}


def call_of(approval: Approval) -> str:
    """The digest by which the same call is known again."""
    return digest([approval.digest, approval.principal, approval.policy, approval.route])


def new(subject: bytes, bound: Mapping[str, str], decision: Decision, route: Route, now: int) -> Approval:
    """A request as it begins."""
    needs = decision.needs or (UNNAMED,)
    ttl_s = min(max(1, min(need.ttl_s for need in needs)), MAX_TTL_S)
    approval = Approval(
        id=uuid4().hex,
        state="pending",
        revision=1,
        route=route,
        subject=subject,
        digest=digest_bytes(subject),
        principal=canonical(dict(bound)).decode(),
        requester=bound["id"],
        tenant=bound["tenant"],
        policy=decision.policy,
        clauses=decision.clauses,
        needs=needs,
        reason=plain(decision.reason),
        requested_at=now,
        expires_at=now + ttl_s * 1000,
        live_call=None,
    )
    return replace(approval, live_call=call_of(approval))


def answered(row: Approval, answer: Answer, now: int) -> Step | Refused:
    """What one person's answer does. The caller has shown that they are that person."""
    if row.state != "pending":
        return Refused("not_pending", f"the request is {row.state}; it takes no more answers", row.id)
    if now >= row.expires_at:
        return expired(row, now)
    words = {"reason": answer.reason} if answer.reason else EMPTY
    if not answer.yes:
        ended = {"state": "denied", "ended_by": answer.person, "ended_at": now, "said": answer.reason}
        return Step("denied", ended, answer.person, answer, words)
    if quorum.unmet(row, row.needs, (*row.answers, answer)):
        return Step("answered", EMPTY, answer.person, answer, words)
    return Step("approved", {"state": "approved", "ended_by": answer.person, "said": answer.reason}, answer.person, answer, words)


def superseded(row: Approval, new: Approval, answer: Answer, now: int) -> Step | Refused:
    """A request ends because somebody asks for an edited call in its place."""
    if row.state != "pending":
        return Refused("not_pending", f"the request is {row.state}; it can no longer be edited", row.id)
    if now >= row.expires_at:
        return expired(row, now)
    ended = {"state": "superseded", "replaced_by": new.id, "ended_by": answer.person, "ended_at": now, "said": answer.reason}
    return Step("superseded", ended, answer.person, answer, {"reason": answer.reason} if answer.reason else EMPTY, new=new)


def uneditable(row: Approval, new: Approval, decision: Decision) -> Refused | None:
    """Why the edited call cannot take the place of this one, if so. The caller has judged it."""
    if decision.policy != row.policy:
        return Refused("other_policy", "the policy has changed since this was asked for", row.id)
    if new.digest == row.digest:
        return Refused("same_call", "nothing was changed", row.id)
    if decision.effect == "stop":
        return Refused("stopped", f"an emergency stop is in force: {plain(decision.reason)}", row.id)
    if decision.undecided:
        return Refused("undecided", f"the edited call cannot be decided: {plain(decision.reason)}", row.id)
    if decision.effect not in ("allow", "require_approval"):
        return Refused("blocked", f"the policy says {decision.effect} of the edited call: {', '.join(decision.clauses)}", row.id)
    return None


def unready(row: Approval, route: Route, bound: Mapping[str, str], policy: str, now: int) -> Refused | Step | None:
    """Why an approved request may not be used by this principal under this policy, if so."""
    if row.state in ("executing", "done", "failed", "unknown", "released"):
        return Refused("claimed", f"the approval has been used: it is {row.state}", row.id)
    if row.state != "approved":
        return Refused("expired" if row.state == "expired" else "not_approved", f"the request is {row.state}", row.id)
    if row.route != route:
        return Refused("other_route", f"the approval is to {row.route}, not to {route}", row.id)
    if row.principal != canonical(dict(bound)).decode():
        return Refused("other_principal", "the approval was given to another principal", row.id)
    if row.policy != policy:
        return Refused("other_policy", "the policy has changed since this was approved", row.id)
    return expired(row, now) if now >= row.expires_at else None


def ended(row: Approval, claim: str, state: str, result: str, now: int, said: str = "") -> Step | None:
    """An execution ends, as whoever holds the claim with this digest says; None where that claim does not hold."""
    if row.state not in ("executing", "unknown") or not hmac.compare_digest(row.claim, claim):
        return None
    change = {"state": state, "result": result, "ended_at": now, "ended_by": row.requester, "live_call": None}
    return Step(state, change | ({"said": said} if said else {}), row.requester)


def rejudged(row: Approval, rejudge: Callable[[], Decision], now: int) -> Refused | None:
    """What the current policy says against using the approval, if anything."""
    try:
        decision = rejudge()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is no yes; and the ledger must hear of it
        return Refused("undecided", f"it could not be judged again: {type(error).__name__}", row.id)
    if decision.policy != row.policy:
        return Refused("other_policy", "the policy has changed since this was approved", row.id)
    if decision.undecided:
        return Refused("undecided", f"it can no longer be decided: {plain(decision.reason)}", row.id)
    if decision.effect == "require_approval":
        return _short_of(row, decision, now)
    if decision.effect == "allow":
        return None
    why: quorum.Why = "stopped" if decision.effect == "stop" else "blocked"
    return Refused(why, f"the policy now says {decision.effect}: {plain(decision.reason) or ', '.join(decision.clauses)}", row.id)


def _short_of(row: Approval, decision: Decision, now: int) -> Refused | None:
    needs = decision.needs or (UNNAMED,)
    if missing := quorum.unmet(row, needs, row.answers):
        return Refused("demands_more", f"the policy now asks for more: {'; '.join(quorum.in_words(need) for need in missing)}", row.id)
    if any(now >= row.requested_at + need.ttl_s * 1000 for need in needs):
        return Refused("expired", "the approval is older than the policy now lets it be", row.id)
    return None


def last_look(row: Approval, stops: Callable[[], Collection[str]]) -> Callable[[int], Refused | None]:
    """The last thing before an approval is used: emergency stops, and the time."""

    def look(now: int) -> Refused | None:
        try:
            why = stops()
        except Exception as error:  # noqa: BLE001  # stops that cannot be asked are in force
            why = (f"stops could not be read: {type(error).__name__}",)
        if why:
            return Refused("stopped", f"an emergency stop is in force: {'; '.join(sorted(why))}", row.id)
        return Refused("expired", "the approval ran out on the way", row.id) if now >= row.expires_at else None

    return look


def expired(row: Approval, now: int) -> Step:
    """A request past its time is closed by whoever touches it."""
    told = Refused("expired", "the request is past its time", row.id)
    return Step("expired", {"state": "expired", "ended_at": now, "live_call": None}, then=told)


def at(row: Approval, now: int) -> Approval:
    """The row as it stands now: past its time it is expired, though nobody has touched it."""
    return replace(row, state="expired") if row.state in OPEN and now >= row.expires_at else row


def moved(row: Approval, step: Step) -> Approval:
    """The row after the step."""
    answers = (*row.answers, step.answer) if step.answer else row.answers
    return replace(row, **dict(step.change), answers=answers, revision=row.revision + 1)


def entry(
    row: Approval, step: str, now: int, by: str, contents: Mapping[str, bytes | str] = EMPTY, answer: Answer | None = None
) -> dict[str, Any]:
    """What the ledger is told. Contents stand apart: people's words and the call itself can be deleted, that it happened cannot."""
    facts = {"step": step, "by": by, "state": row.state, "route": row.route, "expires_at_ms": row.expires_at}
    facts |= {"seconds": answer.seconds} if answer and answer.seconds is not None else {}
    told = {
        "kind": "approval",
        "time": now * 1000,
        "approval": row.id,
        "principal": row.requester,
        "tool": _tool(row),
        "policy": row.policy,
        "clauses": list(row.clauses),
        "facts": facts,
    }
    return {**told, "contents": dict(contents)} if contents else told


def entries(row: Approval, step: Step, now: int) -> list[dict[str, Any]]:
    """What the ledger is told before a step is taken."""
    told = [entry(row, step.name, now, step.by, step.contents, step.answer)]
    return [*told, requested(step.new, step.by)] if step.new else told


def withdrawn(row: Approval, step: Step, now: int) -> list[dict[str, Any]]:
    """What the ledger is told where the step then did not happen."""
    told = [entry(row, "withdrawn", now, step.by)]
    return [*told, entry(step.new, "withdrawn", now, step.by)] if step.new else told


def requested(new: Approval, by: str) -> dict[str, Any]:
    """What the ledger is told of a new request."""
    return entry(new, "requested", new.requested_at, by, {"subject": new.subject or b""})


def refusal_entry(row: Approval | None, refused: Refused, by: str, now: int) -> dict[str, Any]:
    """What the ledger is told of a step that was not taken, and why."""
    facts = {"step": "refused", "by": plain(by)[:MAX_ID], "why": refused.why}
    if row is None:
        return {"kind": "approval", "time": now * 1000, "facts": facts}
    told = entry(row, "refused", now, by, {"text": refused.text})
    return {**told, "facts": {**told["facts"], **facts}}


def plain(text: str) -> str:
    """Somebody's words, bounded and storable everywhere."""
    return text[:MAX_REASON].replace("\0", "").encode("utf-8", "replace").decode()


def _tool(row: Approval) -> str:
    what = json.loads(row.subject) if row.subject else {}
    tool = what.get("tool")
    return plain(tool)[:MAX_ID] if isinstance(tool, str) else ""
