"""Who may answer a request for approval, and when enough people have. Pure: no clock, no store.

- A need is met when `quorum` different people who held one of its roles said yes. All needs must be met.
- One person counts once for a need, and may count for several needs whose roles they hold.
- Four eyes: whoever asked, and whoever edited the request or what it was made of, never counts.
- One no by anybody who may answer ends it.
- A need that names no role asks for the role `approver`; so does a decision that names no need.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bylaw.store.approval_rows import Answer, Approval
from bylaw.types import Need

ANY_APPROVER: Final = "approver"
ALL_TENANTS: Final = "*"
KEYBOARD: Final = "user-at-keyboard"  # the role of whoever sits before an agent: no key gives it
UNNAMED: Final = Need(clause="", rule="", approvers=(ANY_APPROVER,), quorum=1, ttl_s=3600)

Why = Literal[
    "unknown_id", "not_pending", "answered", "expired", "self_approval", "not_entitled", "other_tenant", "not_approved", "claimed",
    "other_route", "other_call", "other_principal", "other_policy", "demands_more", "blocked", "stopped", "no_claim", "not_unknown",
    "too_many", "undecided", "same_call",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has shown who they are."""

    id: str
    roles: tuple[str, ...]
    tenant: str = ""  # `*`: may answer for every tenant


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a step was not taken. Nothing has changed, except that a request may have been found to be past its time."""

    why: Why
    text: str
    approval: str = ""


def same_person(one: str, other: str) -> bool:
    """Whether two ids name one person; case, width and blanks around do not make two people of one."""
    return _folded(one) == _folded(other)


def editors(approval: Approval) -> tuple[str, ...]:
    """Everybody who edited this call, from the first to the last; one name a line in the row."""
    return tuple(approval.edited_by.split("\n")) if approval.edited_by else ()


def entitled(need: Need, roles: Sequence[str]) -> bool:
    """Whether somebody with these roles may answer for this need."""
    return any(role in (need.approvers or UNNAMED.approvers) for role in roles)


def refusal(approval: Approval, person: Person) -> Refused | None:
    """Why this person may not answer this request, if so."""
    if person.tenant not in (approval.tenant, ALL_TENANTS):
        return Refused("other_tenant", f"{person.id} belongs to another tenant", approval.id)
    if any(same_person(person.id, asked) for asked in (approval.requester, *editors(approval))):
        return Refused("self_approval", f"{person.id} asked for this; somebody else must answer", approval.id)
    if not any(entitled(need, person.roles) for need in approval.needs):
        roles = sorted({role for need in approval.needs for role in need.approvers or UNNAMED.approvers})
        return Refused("not_entitled", f"{person.id} has none of the roles asked for: {', '.join(roles)}", approval.id)
    if any(same_person(person.id, answer.person) for answer in approval.answers):
        return Refused("answered", f"{person.id} has answered already", approval.id)
    return None


def unmet(approval: Approval, needs: Sequence[Need], answers: Sequence[Answer]) -> tuple[Need, ...]:
    """Which of the needs these answers do not meet."""
    return tuple(need for need in needs if _count(approval, need, answers) < max(need.quorum, 1))


def in_words(need: Need) -> str:
    """A need as one reads it: `2 of support-lead, risk for money.refund-limit`."""
    return f"{max(need.quorum, 1)} of {', '.join(need.approvers or UNNAMED.approvers)}" + (f" for {need.clause}" if need.clause else "")


def _count(approval: Approval, need: Need, answers: Sequence[Answer]) -> int:
    barred = {_folded(one) for one in (approval.requester, *editors(approval))}
    people = {_folded(one.person) for one in answers if one.yes and entitled(need, one.roles)}
    return len(people - barred)


def _folded(person: str) -> str:
    return unicodedata.normalize("NFKC", person).casefold().strip()
