"""Findings as rows: read, put in, and moved by one compare-and-swap a step. What a step may be is decided in `govern.findings`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import Connection, func, insert, select, update

from bylaw.store import clock as clocks
from bylaw.store.database import Store
from bylaw.store.finding_tables import FINDINGS, SEEDS, STEPS

FindingState = Literal["new", "triaged", "accepted", "fixed", "rejected", "duplicate"]
Source = Literal["user", "tester", "public"]
FINDING_STATES: Final[tuple[FindingState, ...]] = get_args(FindingState)
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
TEXTS: Final = ("said", "prompt", "reply", "contact")  # what people wrote: deletable
MAX_LISTED: Final = 500
BEFORE: Final = re.compile(r"([0-9]{1,15})\.([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Found:
    """One finding, as it stands."""

    id: str
    state: FindingState
    revision: int
    source: Source
    reporter: str
    tenant: str
    said: str
    made_at: int  # ms
    changed_at: int
    prompt: str = ""
    reply: str = ""
    contact: str = ""
    record: str = ""
    clause: str = ""
    severity: str = ""
    assignee: str = ""
    duplicate_of: str = ""
    disclose_on: str = ""


class Taken(NamedTuple):
    """One step that was taken on a finding."""

    revision: int
    at: int  # ms
    by: str
    changed: Mapping[str, Sequence[str]]  # key -> before, after
    note: str


class Whose(NamedTuple):
    """Whose findings are looked for: one reporter's, or a tenant's with those that came without a key; or, as it is, everybody's."""

    tenant: str | None = None
    reporter: str | None = None


EVERYBODY: Final = Whose()


class Listed(NamedTuple):
    """Some findings, newest first."""

    found: list[Found]
    older: str  # where the next page begins; empty: there are no more


class Seed(NamedTuple):
    """A proposal that is known to be wrong."""

    approval: str
    at: int
    by: str
    why: str


def put(store: Store, found: Found) -> None:
    """Put a new finding in."""
    with store.writing() as connection:
        connection.execute(insert(FINDINGS).values(**asdict(found)))
        connection.execute(clocks.kept(found.made_at))


def swap(connection: Connection, before: Found, after: Found, by: str, note: str) -> bool:
    """Change a finding, if nobody else has; and write the step down."""
    same = (FINDINGS.c.id == before.id) & (FINDINGS.c.revision == before.revision)
    if connection.execute(update(FINDINGS).where(same).values(**asdict(after)).returning(FINDINGS.c.id)).scalar() is None:
        return False
    said = changes(before, after)
    row = {"finding": before.id, "revision": after.revision, "at": after.changed_at, "by": by, "changed": json.dumps(said), "note": note}
    connection.execute(insert(STEPS).values(**row))
    connection.execute(clocks.kept(after.changed_at))
    return True


def forget_notes(connection: Connection, finding: str) -> None:
    """Delete what reviewers noted."""
    connection.execute(update(STEPS).where(STEPS.c.finding == finding).values(note=""))


def changes(before: Found, after: Found) -> dict[str, list[str]]:
    """What became what; of texts only that they went."""
    old, new = asdict(before), asdict(after)
    told = {name: [str(old[name]), str(new[name])] for name in old if old[name] != new[name] and name not in ("revision", "changed_at")}
    return {name: ["(text)", ""] if name in TEXTS else value for name, value in told.items()}


def get(connection: Connection, finding: str) -> Found | None:
    """The finding with this id."""
    row = connection.execute(select(FINDINGS).where(FINDINGS.c.id == finding)).mappings().one_or_none()
    return None if row is None else Found(**row)


def history(connection: Connection, finding: str) -> list[Taken]:
    """Every step on a finding, oldest first."""
    asked = select(STEPS).where(STEPS.c.finding == finding).order_by(STEPS.c.revision)
    return [
        Taken(row["revision"], row["at"], row["by"], json.loads(row["changed"]), row["note"])
        for row in connection.execute(asked).mappings()
    ]


def since(connection: Connection, reporter: str, tenant: str, after_ms: int) -> int:
    """How many findings one reporter has made since then."""
    mine = (FINDINGS.c.reporter == reporter) & (FINDINGS.c.tenant == tenant) & (FINDINGS.c.made_at >= after_ms)
    return connection.execute(select(func.count()).select_from(FINDINGS).where(mine)).scalar() or 0


def listed(
    connection: Connection,
    states: Sequence[FindingState],
    whose: Whose = EVERYBODY,
    limit: int = MAX_LISTED,
    before: str = "",
) -> Listed:
    """The newest findings in these states, newest first, from where an earlier page ended; raises ValueError where `before` is none."""
    asked = select(FINDINGS).where(FINDINGS.c.state.in_(states))
    if whose.tenant is not None and whose.reporter is None:
        asked = asked.where((FINDINGS.c.tenant == whose.tenant) | (FINDINGS.c.reporter == ""))
    elif whose.reporter is not None:
        asked = asked.where(FINDINGS.c.reporter == whose.reporter, FINDINGS.c.tenant == (whose.tenant or ""))
    if before:
        at, id_ = _begins(before)
        asked = asked.where((FINDINGS.c.made_at < at) | ((FINDINGS.c.made_at == at) & (FINDINGS.c.id > id_)))
    most = min(limit, MAX_LISTED)
    asked = asked.order_by(FINDINGS.c.made_at.desc(), FINDINGS.c.id).limit(most + 1)
    found = [Found(**row) for row in connection.execute(asked).mappings()]
    return Listed(found[:most], f"{found[most - 1].made_at}.{found[most - 1].id}" if len(found) > most else "")


def _begins(before: str) -> tuple[int, str]:
    said = BEFORE.fullmatch(before)
    if said is None:
        raise ValueError("`before` is what an earlier page said")
    return int(said[1]), said[2]


def seeded(store: Store, seed: Seed) -> None:
    """Write down that a proposal is wrong on purpose."""
    with store.writing() as connection:
        connection.execute(insert(SEEDS).values(**seed._asdict()))


def seeds(connection: Connection, limit: int = 10_000) -> list[Seed]:
    """The newest proposals that are wrong on purpose."""
    asked = select(SEEDS.c.approval, SEEDS.c.at, SEEDS.c.by, SEEDS.c.why).order_by(SEEDS.c.at.desc()).limit(limit)
    return [Seed(*row) for row in connection.execute(asked)]


def to_json(found: Found, steps: Sequence[Taken] = ()) -> dict[str, Any]:
    """A finding for machines and for people."""
    said = asdict(found)
    del said["revision"]
    return said | ({"history": [one._asdict() for one in steps]} if steps else {})
