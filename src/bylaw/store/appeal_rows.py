"""Appeals as rows: read, put in, and moved by one compare-and-swap a step. What a step may be is decided in `govern`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection, func, insert, select, update

from bylaw.store import clock as clocks
from bylaw.store.appeal_tables import APPEALS
from bylaw.store.database import Store

AppealState = Literal["open", "upheld", "overturned", "withdrawn"]
APPEAL_STATES: Final[tuple[AppealState, ...]] = ("open", "upheld", "overturned", "withdrawn")
MAX_LISTED: Final = 500


@dataclass(frozen=True, slots=True)
class Appeal:
    """One appeal, as it stands."""

    id: str
    state: AppealState
    revision: int
    record: str
    principal: str
    tenant: str
    jurisdiction: str
    decision: str
    policy: str
    clauses: tuple[str, ...]
    why: str
    made_at: int  # ms
    ended_by: str = ""
    ended_at: int | None = None
    said: str = ""


def put(store: Store, appeal: Appeal) -> bool:
    """Put a new appeal in; false where that refusal has one already."""
    row = {**asdict(appeal), "clauses": json.dumps(appeal.clauses)}
    return store.inserted(insert(APPEALS).values(**row), clocks.kept(appeal.made_at))


def end(connection: Connection, before: Appeal, state: AppealState, by: str, now_ms: int, said: str) -> Appeal | None:
    """End an open appeal, if nobody else has; as it is then."""
    same = (APPEALS.c.id == before.id) & (APPEALS.c.state == "open") & (APPEALS.c.revision == before.revision)
    change = {"state": state, "ended_by": by, "ended_at": now_ms, "said": said, "revision": before.revision + 1}
    if connection.execute(update(APPEALS).where(same).values(**change).returning(APPEALS.c.id)).scalar() is None:
        return None
    return replace(before, state=state, ended_by=by, ended_at=now_ms, said=said, revision=before.revision + 1)


def get(connection: Connection, appeal: str) -> Appeal | None:
    """The appeal with this id."""
    return _one(connection.execute(select(APPEALS).where(APPEALS.c.id == appeal)).mappings().one_or_none())


def against(connection: Connection, record: str) -> Appeal | None:
    """The appeal against this refusal."""
    return _one(connection.execute(select(APPEALS).where(APPEALS.c.record == record)).mappings().one_or_none())


def waiting(connection: Connection, principal: str, tenant: str) -> int:
    """How many appeals of one principal are open."""
    mine = (APPEALS.c.principal == principal) & (APPEALS.c.tenant == tenant) & (APPEALS.c.state == "open")
    return connection.execute(select(func.count()).select_from(APPEALS).where(mine)).scalar() or 0


def listed(
    connection: Connection, states: Sequence[AppealState], tenant: str | None = None, principal: str | None = None, limit: int = MAX_LISTED
) -> list[Appeal]:
    """The newest appeals in these states, newest first; of one tenant and one principal, or of all where it is None."""
    asked = select(APPEALS).where(APPEALS.c.state.in_(states))
    if tenant is not None:
        asked = asked.where(APPEALS.c.tenant == tenant)
    if principal is not None:
        asked = asked.where(APPEALS.c.principal == principal)
    asked = asked.order_by(APPEALS.c.made_at.desc(), APPEALS.c.id).limit(min(limit, MAX_LISTED))
    return [found for row in connection.execute(asked).mappings() if (found := _one(row)) is not None]


def to_json(appeal: Appeal) -> dict[str, Any]:
    """An appeal for machines and for people."""
    said = asdict(appeal)
    del said["revision"]
    return said


def _one(row: Mapping[Any, Any] | None) -> Appeal | None:
    return None if row is None else Appeal(**{**row, "clauses": tuple(json.loads(row["clauses"]))})
