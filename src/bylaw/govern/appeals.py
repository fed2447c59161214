"""Appeals: whoever was refused says why that was wrong, and a person answers.

    open -> upheld | overturned       by a reviewer, who gives a reason
    open -> withdrawn                 by whoever appealed

One refusal has one appeal, by the very principal that was refused. Each step is recorded before it takes effect, with the clauses and the
policy of the refusal; what people wrote is deletable content. An appeal releases nothing: `overturned` says that the refusal was wrong, so
that the policy can be mended, or the answer given in another way.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import uuid4

from bylaw.govern.approval_steps import plain
from bylaw.govern.quorum import ALL_TENANTS, ANY_APPROVER, Person, same_person
from bylaw.store import appeal_rows as rows
from bylaw.store import clock as clocks
from bylaw.store.appeal_rows import APPEAL_STATES, Appeal, AppealState
from bylaw.store.clock import Clock
from bylaw.store.database import Store

Record = Callable[[Mapping[str, Any]], object]
Ring = Callable[[Appeal], object]
Why = Literal["unknown_record", "no_refusal", "too_many", "unknown_id", "not_entitled", "self_answer", "not_open", "no_reason"]

REVIEWERS: Final = (ANY_APPROVER, "admin")
REFUSALS: Final = ("block", "revise")  # decisions that can be appealed
KINDS: Final = ("decision", "refusal")  # of the records that say so
MAX_OPEN: Final = 20  # of one principal
ID: Final = re.compile(r"[0-9a-f]{32}")
LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Why a step was not taken; nothing has changed."""

    why: Why
    text: str


class Appeals:
    """The appeals in a store. Safe to use from many threads and processes."""

    def __init__(self, store: Store, record: Record, clock: Clock | None = None, ring: Ring | None = None) -> None:
        self._store = store
        self._record = record
        self._clock = clock or Clock()
        self._ring = ring

    def make(self, refusal: Mapping[str, Any] | None, record: str, principal: Mapping[str, Any], why: str) -> Appeal | NotTaken:
        """Appeal against the refusal whose ledger entry this is: the appeal there is already, or a new one."""
        who, tenant = str(principal["id"]), str(principal.get("tenant") or "")
        facts = refusal.get("facts") if refusal is not None else None
        if refusal is None or refusal.get("principal") != who or (facts or {}).get("tenant", "") != tenant:
            return NotTaken("unknown_record", "there is no such refusal of yours")
        if refusal.get("decision") not in REFUSALS or refusal.get("kind") not in KINDS:
            return NotTaken("no_refusal", "nothing was refused there")
        now = clocks.now(self._store, self._clock)
        with self._store.reading() as connection:
            found = rows.against(connection, record)
            waiting = rows.waiting(connection, who, tenant)
        if found is not None:
            return found
        if waiting >= MAX_OPEN:
            return NotTaken("too_many", f"{waiting} of your appeals are open; wait for their answers")
        appeal = Appeal(
            id=uuid4().hex,
            state="open",
            revision=1,
            record=record,
            principal=who,
            tenant=tenant,
            jurisdiction=str(principal.get("jurisdiction") or ""),
            decision=str(refusal["decision"]),
            policy=str(refusal.get("policy", "")),
            clauses=tuple(refusal.get("clauses", ())),
            why=plain(why),
            made_at=now,
        )
        self._record(_entry(appeal, "made", who, now, {"why": appeal.why}))
        if not rows.put(self._store, appeal):  # the same was asked twice at once
            self._record(_entry(appeal, "not made", who, now))
            with self._store.reading() as connection:
                return rows.against(connection, record) or NotTaken("unknown_record", "the appeal is gone")
        self._rung(appeal)
        return appeal

    def answer(self, appeal: str, person: Person, overturned: bool, reason: str) -> Appeal | NotTaken:
        """A reviewer's answer: the refusal was right, or it was wrong; and why."""
        found = self.get(appeal)
        if found is None or person.tenant not in (found.tenant, ALL_TENANTS):
            return NotTaken("unknown_id", "there is no such appeal")
        if not any(role in REVIEWERS for role in person.roles):
            return self._refused(found, person.id, NotTaken("not_entitled", f"to answer takes the role {' or '.join(REVIEWERS)}"))
        if same_person(person.id, found.principal):
            return self._refused(found, person.id, NotTaken("self_answer", f"{person.id} appealed; somebody else must answer"))
        if not reason.strip():
            return NotTaken("no_reason", "an answer needs a reason")
        return self._end(found, "overturned" if overturned else "upheld", person.id, reason)

    def withdraw(self, appeal: str, principal: Mapping[str, Any], reason: str = "") -> Appeal | NotTaken:
        """Whoever appealed takes it back."""
        found = self.get(appeal)
        if found is None or (found.principal, found.tenant) != (str(principal["id"]), str(principal.get("tenant") or "")):
            return NotTaken("unknown_id", "there is no such appeal of yours")
        return self._end(found, "withdrawn", found.principal, reason)

    def get(self, appeal: str) -> Appeal | None:
        """One appeal."""
        if not ID.fullmatch(appeal):
            return None
        with self._store.reading() as connection:
            return rows.get(connection, appeal)

    def find(
        self,
        states: tuple[AppealState, ...] = APPEAL_STATES,
        tenant: str | None = None,
        principal: str | None = None,
        limit: int = rows.MAX_LISTED,
    ) -> list[Appeal]:
        """The newest appeals, newest first; of one tenant and principal, or of all where it is None."""
        with self._store.reading() as connection:
            return rows.listed(connection, states, tenant, principal, limit)

    def _end(self, found: Appeal, state: AppealState, by: str, reason: str) -> Appeal | NotTaken:
        if found.state != "open":
            return self._refused(found, by, NotTaken("not_open", f"the appeal is {found.state}"))
        now, said = clocks.now(self._store, self._clock), plain(reason)
        self._record(_entry(found, state, by, now, {"reason": said} if said else {}))
        with self._store.writing() as connection:
            after = rows.end(connection, found, state, by, now, said)
            connection.execute(clocks.kept(now))
        if after is None:  # somebody was faster
            return self._refused(found, by, NotTaken("not_open", "the appeal has been answered meanwhile"))
        return after

    def _refused(self, found: Appeal, by: str, why: NotTaken) -> NotTaken:
        now = clocks.now(self._store, self._clock)
        entry = _entry(found, "refused", by, now)
        self._record({**entry, "facts": {**entry["facts"], "why": why.why}})
        return why

    def _rung(self, appeal: Appeal) -> None:
        if self._ring is None:
            return
        try:
            self._ring(appeal)
        except Exception as error:  # noqa: BLE001  # ringing decides nothing: the appeal is open, and can be listed
            LOG.warning("ringing for appeal %s failed: %s", appeal.id, error)


def may_see(person: Person, appeal: Appeal) -> bool:
    """Whether somebody may read an appeal: whoever made it, and reviewers of its tenant."""
    if person.tenant not in (appeal.tenant, ALL_TENANTS):
        return False
    return person.id == appeal.principal or any(role in REVIEWERS for role in person.roles)


def _entry(appeal: Appeal, step: str, by: str, now: int, contents: Mapping[str, str] = {}) -> dict[str, Any]:  # never changed
    """What the ledger is told."""
    facts = {"step": step, "appeal": appeal.id, "record": appeal.record, "by": plain(by), "state": appeal.state}
    said = {
        "kind": "appeal",
        "time": now * 1000,
        "principal": appeal.principal,
        "decision": appeal.decision,
        "policy": appeal.policy,
        "clauses": list(appeal.clauses),
        "facts": facts,
    }
    return {**said, "contents": dict(contents)} if contents else said
