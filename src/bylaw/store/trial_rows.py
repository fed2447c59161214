"""Policies on trial in the store: at most one of a kind runs; what each process counted of it, in rows that it alone writes.

Whoever starts or ends one raises the version `trials` in the same transaction, so that all processes see it within a second.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from bylaw.errors import StoreError
from bylaw.store import versions
from bylaw.store.database import Store
from bylaw.store.trial_tables import COUNTS, TRIALS

NAME: Final = "trials"  # of the version counter
MAX_LISTED: Final = 100
MAX_NAMES: Final = 10_000  # that one process counts of one trial
Kind = Literal["canary", "shadow"]
State = Literal["running", "stopped", "promoted", "rolled_back", "ended"]


class Trial(NamedTuple):
    """A policy on trial."""

    id: int
    kind: Kind
    digest: str
    content: str
    baseline: str
    terms: str
    state: State
    started_at: int  # ms
    by: str
    ended_at: int | None = None
    why: str = ""
    looks: int = 0


class Count(NamedTuple):
    """What was counted under one name."""

    total: int = 0
    bad: int = 0
    example: str = ""

    def plus(self, other: "Count") -> "Count":
        """Both together."""
        return Count(self.total + other.total, self.bad + other.bad, self.example or other.example)


def start(store: Store, one: Trial) -> Trial:
    """Begin a trial; it gets its number. Raises StoreError where one of its kind runs."""
    with store.writing() as connection:
        number = versions.raised(connection, NAME)  # whoever else starts one waits here
        none_runs(connection, one.kind)
        made = one._replace(id=number)
        connection.execute(insert(TRIALS).values(**made._asdict()))
    return made


def none_runs(connection: Connection, kind: Kind) -> None:
    """Raises StoreError where one of this kind runs."""
    if any(other.kind == kind for other in running(connection)):
        raise StoreError(f"a {kind} is running already", f"See `bylaw policy {kind} status`; stop it first.")


def running(connection: Connection) -> list[Trial]:
    """Those that run."""
    return [Trial(*row) for row in connection.execute(select(TRIALS).where(TRIALS.c.state == "running").order_by(TRIALS.c.id))]


def listed(store: Store, kind: Kind) -> list[Trial]:
    """The latest of a kind, newest first."""
    asked = select(TRIALS).where(TRIALS.c.kind == kind).order_by(TRIALS.c.id.desc()).limit(MAX_LISTED)
    with store.reading() as connection:
        return [Trial(*row) for row in connection.execute(asked)]


def end(store: Store, trial: int, state: State, why: str, now_ms: int) -> bool:
    """End a trial that runs; false where another has ended it."""
    with store.writing() as connection:
        return end_in(connection, trial, state, why, now_ms)


def end_in(connection: Connection, trial: int, state: State, why: str, now_ms: int) -> bool:
    """The same, in this transaction."""
    changed = update(TRIALS).where(TRIALS.c.id == trial, TRIALS.c.state == "running")
    done = connection.execute(changed.values(state=state, why=why[:500], ended_at=now_ms)).rowcount == 1
    if done:
        versions.raised(connection, NAME)
    return done


def looked(store: Store, trial: int, look: int) -> bool:
    """Take the right to test a trial for the so-manieth time; false where somebody has."""
    with store.writing() as connection:
        claimed = update(TRIALS).where(TRIALS.c.id == trial, TRIALS.c.state == "running", TRIALS.c.looks < look)
        return connection.execute(claimed.values(looks=look)).rowcount == 1


def put(store: Store, trial: int, writer: str, found: Mapping[str, Count]) -> None:
    """Write all that one process has counted, instead of what it wrote before."""
    rows = [{"trial": trial, "writer": writer, "name": name, **one._asdict()} for name, one in list(found.items())[:MAX_NAMES]]
    with store.writing() as connection:
        connection.execute(delete(COUNTS).where(COUNTS.c.trial == trial, COUNTS.c.writer == writer))
        if rows:
            connection.execute(insert(COUNTS), rows)


def counts(store: Store, trial: int, writer: str = "") -> dict[str, Count]:
    """What all processes have counted, by name; or one of them."""
    found: dict[str, Count] = {}
    asked = select(COUNTS.c.name, COUNTS.c.total, COUNTS.c.bad, COUNTS.c.example).where(COUNTS.c.trial == trial)
    with store.reading() as connection:
        for name, *row in connection.execute(asked.where(COUNTS.c.writer == writer) if writer else asked):
            found[name] = Count(*row).plus(found.get(name, Count()))
    return found
