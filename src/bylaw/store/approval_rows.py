"""Approvals as rows: read, put in, and moved by one compare-and-swap a step. What a step may be is decided in `govern`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Insert, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from bylaw.store import clock as clocks
from bylaw.store.approval_tables import ANSWERS, APPROVALS
from bylaw.store.database import Store
from bylaw.types import Need

State = Literal["pending", "approved", "denied", "expired", "executing", "done", "failed", "unknown", "released", "superseded"]
Route = Literal["run", "release"]
STATES: Final[tuple[State, ...]] = (
    "pending", "approved", "denied", "expired", "executing", "done", "failed", "unknown", "released", "superseded",
)  # fmt: skip
OPEN: Final[tuple[State, ...]] = ("pending", "approved")
ENDED: Final[tuple[State, ...]] = ("denied", "expired", "done", "failed", "released", "superseded")
MAX_LISTED: Final = 500
BEING_RUNG: Final = "being rung"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person answered, in which roles."""

    person: str
    roles: tuple[str, ...]
    yes: bool
    reason: str
    at: int  # ms
    seconds: int | None = None  # from when the request was shown to them; None: nobody knows


@dataclass(frozen=True, slots=True)
class Approval:
    """One request for approval, as it stands."""

    id: str
    state: State
    revision: int
    route: Route
    subject: bytes | None  # canonical JSON; None once forgotten
    digest: str
    principal: str  # canonical JSON
    requester: str
    tenant: str
    policy: str
    clauses: tuple[str, ...]
    needs: tuple[Need, ...]
    reason: str
    requested_at: int  # ms
    expires_at: int  # ms
    live_call: str | None
    edited_by: str = ""
    replaced_by: str = ""
    claim: str = ""
    process: str = ""
    ended_by: str = ""
    ended_at: int | None = None
    said: str = ""
    result: str = ""
    notice: str = ""
    answers: tuple[Answer, ...] = ()

    def what(self) -> Any:
        """The subject as a JSON value; None once forgotten."""
        return None if self.subject is None else json.loads(self.subject)


class Taken(Exception):  # noqa: N818  # ends a transaction that must not be committed
    """Another request answers for the call already."""


def put(store: Store, approval: Approval) -> bool:
    """Put a new request in; false where the same call is waiting already."""
    return store.inserted(_inserted(approval), clocks.kept(approval.requested_at))


def move(
    connection: Connection, before: Approval, change: Mapping[str, Any], answer: Answer | None = None, new: Approval | None = None
) -> bool:
    """One step: `change` takes effect only if nobody else has moved the row since it was read. `new` takes its place; raises Taken."""
    same = (APPROVALS.c.id == before.id) & (APPROVALS.c.state == before.state) & (APPROVALS.c.revision == before.revision)
    step = update(APPROVALS).where(same).values(**_texts(change), revision=before.revision + 1).returning(APPROVALS.c.id)
    if connection.execute(step).scalar() is None:
        return False
    if "subject" in change:  # forgotten: people's words go with what they were about
        connection.execute(update(ANSWERS).where(ANSWERS.c.approval == before.id).values(reason=""))
    if answer is not None:
        connection.execute(insert(ANSWERS).values(approval=before.id, **{**asdict(answer), "roles": json.dumps(answer.roles)}))
    if new is not None:
        try:
            connection.execute(_inserted(new))
        except IntegrityError as error:
            raise Taken from error
    return True


def get(connection: Connection, approval: str) -> Approval | None:
    """The request with this id."""
    row = connection.execute(select(APPROVALS).where(APPROVALS.c.id == approval)).mappings().one_or_none()
    return None if row is None else _approval(connection, dict(row))


def live(connection: Connection, call: str) -> Approval | None:
    """The request that answers for this call."""
    row = connection.execute(select(APPROVALS).where(APPROVALS.c.live_call == call)).mappings().one_or_none()
    return None if row is None else _approval(connection, dict(row))


def listed(connection: Connection, states: Sequence[State], tenant: str | None = None, limit: int = MAX_LISTED) -> list[Approval]:
    """The newest requests in these states, newest first; of one tenant, or of all where it is None."""
    asked = select(APPROVALS).where(APPROVALS.c.state.in_(states))
    if tenant is not None:
        asked = asked.where(APPROVALS.c.tenant == tenant)
    asked = asked.order_by(APPROVALS.c.requested_at.desc(), APPROVALS.c.id).limit(min(limit, MAX_LISTED))
    return [_approval(connection, dict(row)) for row in connection.execute(asked).mappings().all()]


def states(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[State, int]]:
    """State and expiry of many requests in one look."""
    asked = select(APPROVALS.c.id, APPROVALS.c.state, APPROVALS.c.expires_at).where(APPROVALS.c.id.in_(ids))
    return {row.id: (row.state, row.expires_at) for row in connection.execute(asked)}


def over(connection: Connection, ended_ms: int, expired_ms: int) -> list[str]:
    """Some of the requests that still say what was asked for, and ended before the one time or ran out before the other."""
    ended = APPROVALS.c.state.in_(ENDED) & (func.coalesce(APPROVALS.c.ended_at, APPROVALS.c.expires_at) < ended_ms)
    expired = APPROVALS.c.state.in_(OPEN) & (APPROVALS.c.expires_at < expired_ms)
    asked = select(APPROVALS.c.id).where(APPROVALS.c.subject.is_not(None), ended | expired)
    return list(connection.execute(asked.limit(MAX_LISTED)).scalars())


def executing(connection: Connection) -> list[tuple[str, str]]:
    """Which requests are being executed, and by which process."""
    asked = select(APPROVALS.c.id, APPROVALS.c.process).where(APPROVALS.c.state == "executing")
    return [(row.id, row.process) for row in connection.execute(asked)]


def waiting(connection: Connection, requester: str, tenant: str, now_ms: int) -> int:
    """How many requests of one principal wait for an answer."""
    mine = (APPROVALS.c.requester == requester) & (APPROVALS.c.tenant == tenant)
    asked = select(func.count()).select_from(APPROVALS).where(mine, APPROVALS.c.state == "pending", APPROVALS.c.expires_at > now_ms)
    return connection.execute(asked).scalar() or 0


def silent(connection: Connection, before_ms: int, now_ms: int, limit: int) -> list[Approval]:
    """Requests that wait since before a time, and for which nobody has begun to ring; those that wait longest first."""
    mine = (APPROVALS.c.state == "pending", APPROVALS.c.notice == "", APPROVALS.c.requested_at < before_ms, APPROVALS.c.expires_at > now_ms)
    asked = select(APPROVALS).where(*mine).order_by(APPROVALS.c.requested_at, APPROVALS.c.id).limit(limit)
    return [_approval(connection, dict(row)) for row in connection.execute(asked).mappings().all()]


def note(connection: Connection, approval: str, notice: str) -> None:
    """Write down how ringing for a request went. No step: it changes nothing that is decided."""
    connection.execute(update(APPROVALS).where(APPROVALS.c.id == approval).values(notice=notice))


def taken(store: Store, approval: str) -> bool:
    """Whether this process is the one that now rings for a waiting request that nobody was rung for."""
    silent = (APPROVALS.c.id == approval, APPROVALS.c.state == "pending", APPROVALS.c.notice == "")
    with store.writing() as connection:
        return connection.execute(update(APPROVALS).where(*silent).values(notice=BEING_RUNG)).rowcount == 1


def to_json(approval: Approval) -> dict[str, Any]:
    """A request for machines and for people: what exactly is asked, what is needed, who has answered. No claim."""
    shown = {**asdict(approval), "what": approval.what(), "principal": json.loads(approval.principal)}
    for inner in ("subject", "claim", "process", "live_call", "revision"):
        del shown[inner]
    return shown


def _inserted(approval: Approval) -> Insert:
    row = asdict(approval)
    del row["answers"]
    return insert(APPROVALS).values(**_texts(row))


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: json.dumps(row[name]) for name in ("clauses", "needs") if name in row}
    return {**row, **lists}


def _approval(connection: Connection, row: dict[str, Any]) -> Approval:
    asked = select(ANSWERS).where(ANSWERS.c.approval == row["id"]).order_by(ANSWERS.c.at, ANSWERS.c.person)
    answers = tuple(
        Answer(one.person, tuple(json.loads(one.roles)), one.yes, one.reason, one.at, one.seconds)
        for one in connection.execute(asked).all()
    )
    needs = tuple(Need(**{**one, "approvers": tuple(one["approvers"])}) for one in json.loads(row["needs"]))
    return Approval(**{**row, "clauses": tuple(json.loads(row["clauses"])), "needs": needs, "answers": answers})
