"""Human approvals: a small state machine in one table.

    pending -> approved | denied | expired | superseded    superseded: somebody edited the call, which is asked for anew
    approved -> executing -> done | failed | unknown       where bylaw runs the call itself
    approved -> released                                   where it gives out what it withheld
    unknown -> done | failed                               settled by a person, or by whoever still holds the claim

1. An approval is bound to the SHA-256 of exactly what will run or be released, to the principal and to the policy's digest.
2. Each step is one compare-and-swap. Each step, and each refusal, is recorded before it takes effect; where no record can be written,
   nothing happens. The record may tell of a step that then did not happen (the process died in between, or another step was faster: then
   `withdrawn` follows); no step happens without its record.
3. Right before use the event is judged again under the current policy; stops and the time are looked at last of all.
4. At most once. What a process that died was executing is `unknown`: never run again, for a person to settle. A claim whose answer the
   store lost was given to nobody: it ends as failed. How a call ended is told again where the store or the ledger could not be told.
5. No time-out ever approves, and time never runs backwards (`store.clock`). A request waits, and an approval holds, until the shortest ttl
   of its needs has passed since it was asked for.
6. To edit is to ask anew: another digest, new answers, and every editor counts as one who asked. The old request ends and the new one
   begins in one transaction.

No connection is held while anybody waits. What a step may be is in `approval_steps`, who may answer in `quorum`.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from bylaw.canonical import digest_bytes
from bylaw.errors import LedgerError, StoreError
from bylaw.govern import approval_steps as steps
from bylaw.govern import quorum
from bylaw.govern.approval_steps import Step
from bylaw.govern.quorum import Person, Refused
from bylaw.govern.summons import Ring, Summons
from bylaw.store import approval_rows as rows
from bylaw.store import clock as clocks
from bylaw.store import processes
from bylaw.store.approval_rows import STATES, Answer, Approval, Route, State
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.types import Decision

Record = Callable[[Mapping[str, Any]], object]  # takes a ledger entry; returns once it is safe, or raises
Plan = Callable[[Approval, int], Step | Refused | None]  # None: there is nothing to do

MAX_WAITING: Final = 100  # requests of one principal that nobody has answered
TRIES: Final = 32  # steps by others that may come before ours
MAX_UNTOLD: Final = 100  # claims whose answers were lost, of which this process keeps in mind that they are to end
UNGIVEN: Final = "not run: the answer to its claim was lost"
POLL_S: Final = 0.2  # how often a wait looks again


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to execute one approved call, once. Whoever holds the token says how it ended."""

    approval: Approval
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Released:
    """What was withheld, given out: this once."""

    approval: Approval
    what: Any


class Approvals:
    """Requests for approval in a store. Safe to use from many threads and processes."""

    def __init__(self, store: Store, record: Record, clock: Clock | None = None, ring: Ring | None = None, recover: bool = True) -> None:
        self._store = store
        self._record = record
        self._clock = clock or Clock()
        self.summons = Summons(store, ring, self._now)
        self._process: processes.Process | None = None
        self._lock = threading.Lock()
        self._untold: dict[str, tuple[str, str, str, str]] = {}  # by a claim's digest: the request, how it ended, the result, why
        self._now()  # from here on, time goes on from what the store has seen
        if recover:  # not for who only reads
            self.recover()

    # ---- The agent's side --------------------------------------------------------------------------------------------

    def request(
        self, what: Mapping[str, Any], principal: Mapping[str, Any], decision: Decision, route: Route = "run"
    ) -> Approval | Refused:
        """The request for exactly this call: the one that exists, or a new one. Ask again with the same call to find the answer."""
        subject, bound = steps.subject_of(what), steps.principal_of(principal)
        self._tell()
        for _ in range(TRIES):
            now = self._now()
            new = steps.new(subject, bound, decision, route, now)
            with self._store.reading() as connection:
                found = rows.live(connection, steps.call_of(new))
                waiting = rows.waiting(connection, new.requester, new.tenant, now)
            if found is not None:
                if found.state == "executing" and found.id in self.recover():
                    continue
                if found.state in ("executing", "unknown") or now < found.expires_at:
                    self.summons.again(found, now)
                    return found
                self._retire(found)
            elif waiting >= MAX_WAITING:
                return self._refuse(new, Refused("too_many", f"{waiting} requests of this principal wait already"), new.requester)
            elif self._put(new, new.requester):
                return new
        raise _crowded()

    def wait(self, approval: str, timeout_s: float, sleep: Callable[[float], None] = time.sleep) -> Approval | None:
        """The request once it is no longer pending, or as it is when the time is up. Holds this thread and nothing else."""
        until = time.monotonic() + timeout_s
        while self.states([approval]).get(approval) == "pending" and (left := until - time.monotonic()) > 0:
            sleep(min(POLL_S, left))
        return self.get(approval)

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of many requests in one look: for a server in which many wait."""
        now = self._now()
        with self._store.reading() as connection:
            found = rows.states(connection, [one for one in ids if steps.ID.fullmatch(one)])
        return {one: "expired" if state in steps.OPEN and now >= expires_at else state for one, (state, expires_at) in found.items()}

    def claim(
        self,
        approval: str,
        what: Mapping[str, Any],
        principal: Mapping[str, Any],
        policy: str,
        rejudge: Callable[[], Decision],
        stops: Callable[[], Collection[str]],
    ) -> Claim | Refused:
        """The right to run this call now, given at most once. `what` is what will run."""
        subject, bound, token = steps.subject_of(what), steps.principal_of(principal), secrets.token_urlsafe(32)
        mine = digest_bytes(token.encode())

        def plan(row: Approval, now: int) -> Step | Refused:
            why = steps.unready(row, "run", bound, policy, now)
            if why is None and row.subject != subject:
                why = Refused("other_call", "what would run is not what was approved", row.id)
            why = why or steps.rejudged(row, rejudge, now)
            if why is not None:
                return why
            change = {"state": "executing", "claim": mine, "process": self._alive()}
            return Step("claimed", change, bound["id"], contents={"subject": subject}, last_look=steps.last_look(row, stops))

        moved = self._step(approval, plan, bound["id"])
        return moved if isinstance(moved, Refused) else Claim(moved, token)

    def finish(self, claim: Claim, ended: Literal["done", "failed"], result: str = "") -> Approval | Refused:
        """Say how an execution ended; `result` is a digest of what it gave. This also settles an `unknown` that no person has settled."""

        mine, one = digest_bytes(claim.token.encode()), claim.approval

        def plan(row: Approval, now: int) -> Step | Refused:
            no = Refused("no_claim", f"this claim does not hold: the request is {row.state}", row.id)
            return steps.ended(row, mine, ended, result, now) or no

        try:
            return self._step(one.id, plan, one.requester)
        except (StoreError, LedgerError):
            self._untold[mine] = (one.id, ended, result, "")
            raise

    def release(
        self,
        approval: str,
        principal: Mapping[str, Any],
        policy: str,
        rejudge: Callable[[Any], Decision],
        stops: Callable[[], Collection[str]],
    ) -> Released | Refused:
        """What was withheld, given at most once; `rejudge` is handed what is stored."""
        bound = steps.principal_of(principal)

        def plan(row: Approval, now: int) -> Step | Refused:
            why = steps.unready(row, "release", bound, policy, now)
            if why is None and (row.subject is None or digest_bytes(row.subject) != row.digest):
                why = Refused("other_call", "what was withheld is not there as it was approved", row.id)
            why = why or steps.rejudged(row, lambda: rejudge(row.what()), now)
            if why is not None:
                return why
            change = {"state": "released", "ended_at": now, "ended_by": row.requester, "live_call": None}
            return Step("released", change, bound["id"], contents={"subject": row.subject or b""}, last_look=steps.last_look(row, stops))

        moved = self._step(approval, plan, bound["id"])
        return moved if isinstance(moved, Refused) else Released(moved, moved.what())

    # ---- People ------------------------------------------------------------------------------------------------------

    def decide(self, approval: str, person: Person, yes: bool, reason: str = "", seconds: int | None = None) -> Approval | Refused:
        """One person's answer, `seconds` after they were shown it. A no ends it; enough yeses for every need approve it."""

        def plan(row: Approval, now: int) -> Step | Refused:
            step = steps.answered(row, Answer(person.id, tuple(person.roles), yes, steps.plain(reason), now, seconds), now)
            return step if isinstance(step, Refused) or step.then else quorum.refusal(row, person) or step

        return self._step(approval, plan, person.id)

    def edit(self, approval: str, person: Person, what: Mapping[str, Any], decision: Decision, reason: str = "") -> Approval | Refused:
        """Ask for an edited call in the same principal's name: the request ends as superseded. Somebody else must approve the new one."""
        subject, old = steps.subject_of(what), self._read(approval)
        if old is None:
            return self._refuse(None, Refused("unknown_id", "there is no such request"), person.id)
        wanted = replace(decision, needs=decision.needs or old.needs)
        new = steps.new(subject, steps.bound_of(old), wanted, old.route, self._now())
        new = replace(new, edited_by="\n".join((*quorum.editors(old), person.id)))

        def plan(row: Approval, now: int) -> Step | Refused:
            step = steps.superseded(row, new, Answer(person.id, tuple(person.roles), False, steps.plain(reason), now), now)
            if isinstance(step, Step) and step.then:
                return step
            why = quorum.refusal(row, person) or (step if isinstance(step, Refused) else steps.uneditable(row, new, decision))
            return why or self._elsewhere(row, new, now) or step

        ended = self._step(old.id, plan, person.id)
        if isinstance(ended, Refused):
            return ended
        self.summons.send(new)
        return new

    def settle(self, approval: str, person: Person, ran: bool, reason: str) -> Approval | Refused:
        """A person has found out what became of an `unknown` execution."""
        said = steps.plain(reason)
        self.recover()  # the process may have died since this one was opened

        def plan(row: Approval, now: int) -> Step | Refused:
            if row.state != "unknown":
                return Refused("not_unknown", f"the request is {row.state}; there is nothing to settle", row.id)
            why = quorum.refusal(replace(row, answers=()), person)  # who approved it may also find out what became of it
            if why is not None:
                return why
            state = "done" if ran else "failed"
            change = {"state": state, "ended_by": person.id, "ended_at": now, "said": said, "live_call": None}
            return Step("settled", change, person.id, contents={"reason": said})

        return self._step(approval, plan, person.id)

    def get(self, approval: str) -> Approval | None:
        """One request as it stands now."""
        now = self._now()
        found = self._read(approval)
        return None if found is None else steps.at(found, now)

    def find(self, states: Sequence[State] = STATES, tenant: str | None = None, limit: int = rows.MAX_LISTED) -> list[Approval]:
        """The newest requests in these states, newest first; of one tenant, or of all where it is None."""
        now = self._now()
        asked = {*states, *steps.OPEN} if "expired" in states else set(states)
        with self._store.reading() as connection:
            found = rows.listed(connection, [state for state in STATES if state in asked], tenant, limit)
        return [one for one in (steps.at(row, now) for row in found) if one.state in states]

    # ---- Housekeeping ------------------------------------------------------------------------------------------------

    def recover(self) -> list[str]:
        """What dead processes were executing becomes `unknown`; which. Done on opening, and as often as one likes."""
        self._tell()
        with self._store.reading() as connection:
            claimed = rows.executing(connection)
        alive = processes.living(self._store, self._clock) if claimed else {}
        doubtful = {one: process for one, process in claimed if process not in alive}

        def plan(row: Approval, _now: int) -> Step | None:
            mine = row.state == "executing" and row.process == doubtful[row.id]
            return Step("unknown", {"state": "unknown"}) if mine else None

        return [one for one in doubtful if isinstance(found := self._step(one, plan, ""), Approval) and found.state == "unknown"]

    def over(self, before_ms: int) -> list[str]:
        """Requests that were over before that time and whose subject is still kept: some of them, however many there are."""
        now = self._now()
        with self._store.reading() as connection:
            return rows.over(connection, before_ms, min(before_ms, now))

    def forget(self, approval: str, by: str) -> Approval | Refused:
        """Erase what was asked for; that it was asked, and how it ended, stays."""

        def plan(row: Approval, now: int) -> Step | Refused | None:
            state = steps.at(row, now).state
            if state in (*steps.OPEN, "executing", "unknown"):
                return Refused("not_pending", f"the request is {state}; what it is about is still needed", row.id)
            if row.subject is None:
                return None
            return Step("forgotten", {"state": state, "subject": None, "said": "", "live_call": None}, by)

        return self._step(approval, plan, by)

    def note(self, approval: str, notice: str) -> None:
        """Write down how ringing went, for whoever looks at the request."""
        with self._store.writing() as connection:
            rows.note(connection, approval, steps.plain(notice))

    def close(self) -> None:
        """Leave. Whatever this object claimed and did not finish is in doubt from here on."""
        with self._lock:
            if self._process is not None:
                self._process.close()
                self._process = None

    def _tell(self) -> None:
        """Say how those claims ended that could not be told of when they did; raises StoreError, LedgerError."""
        for mine, (one, ended, result, why) in list(self._untold.items()):
            row = self._step(one, lambda row, now: steps.ended(row, mine, ended, result, now, why), "")  # noqa: B023  # used at once
            if not (isinstance(row, Approval) and steps.at(row, self._now()).state == "approved"):  # there, it may still come to stand
                self._untold.pop(mine, None)

    # ---- How a step is taken -----------------------------------------------------------------------------------------

    def _step(self, approval: str, plan: Plan, by: str) -> Approval | Refused:
        for _ in range(TRIES):
            row = self._read(approval)
            if row is None:
                return self._refuse(None, Refused("unknown_id", "there is no such request"), by)
            now = self._now()
            step = plan(row, now)
            if step is None:
                return row
            if isinstance(step, Refused):
                return self._refuse(row, step, by)
            for told in steps.entries(row, step, now):
                self._record(told)
            late = step.last_look(self._now())
            if late is not None:
                return self._refuse(row, late, by)
            try:
                with self._store.writing() as connection:
                    won = rows.move(connection, row, step.change, step.answer, step.new)
                    connection.execute(clocks.kept(now))
            except rows.Taken:  # nothing has happened, to the row neither
                won = False
            except StoreError:
                if "claim" in step.change and len(self._untold) < MAX_UNTOLD:  # it may stand, and nobody has its token
                    self._untold[step.change["claim"]] = (row.id, "failed", "", UNGIVEN)
                raise
            if won:
                after = steps.moved(row, step)
                return self._refuse(after, step.then, by) if step.then else after
            for told in steps.withdrawn(row, step, now):
                self._record(told)
        raise _crowded()

    def _put(self, new: Approval, by: str) -> bool:
        self._record(steps.requested(new, by))
        if not rows.put(self._store, new):
            self._record(steps.entry(new, "withdrawn", new.requested_at, by))
            return False
        self.summons.send(new)
        return True

    def _elsewhere(self, row: Approval, new: Approval, now: int) -> Refused | None:
        """Why `new` cannot take the place of a row: another request answers for that call. One whose time is up makes room."""
        with self._store.reading() as connection:
            other = rows.live(connection, steps.call_of(new))
        if other is None:
            return None
        if other.state in ("executing", "unknown") or now < other.expires_at:
            return Refused("not_pending", f"the edited call has a request already: {other.id}", row.id)
        self._retire(other)
        return None

    def _retire(self, found: Approval) -> None:
        if found.state in steps.OPEN:
            self._step(found.id, lambda row, now: steps.expired(row, now) if row.state in steps.OPEN else None, "")
            return
        with self._store.writing() as connection:  # answered no, and its time is up: the call may be asked for again
            rows.move(connection, found, {"live_call": None})

    def _refuse(self, row: Approval | None, refused: Refused, by: str) -> Refused:
        self._record(steps.refusal_entry(row, refused, by, self._now()))
        return refused

    def _read(self, approval: str) -> Approval | None:
        if not steps.ID.fullmatch(approval):
            return None
        with self._store.reading() as connection:
            return rows.get(connection, approval)

    def _now(self) -> int:
        return clocks.now(self._store, self._clock)

    def _alive(self) -> str:
        with self._lock:
            if self._process is None or self._process.pid != os.getpid():
                self._process = processes.Process(self._store, self._clock)
            return self._process.id


def _crowded() -> StoreError:
    return StoreError(f"an approval was moved by others {TRIES} times while it was to be moved", "Try again.")
