"""What signals are made of, read out of ledger and store; who is told of them, once a window; and proposals that are wrong on purpose.

Nothing here is on the way of a request: it runs in a command's own process. Entries are read as they lie, unverified. Arguments are read
where they have not been deleted, and only their numbers. The ledger tells principals by id, without their tenant.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from sqlalchemy import select

from bylaw.errors import StoreError
from bylaw.govern import sampled
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import ADMIN
from bylaw.govern.quorum import Person, Refused
from bylaw.govern.signals import Answered, Report, Seen, Signal, report
from bylaw.ledger import place, reading
from bylaw.ledger.entries import timestamp
from bylaw.store import finding_rows
from bylaw.store.approval_rows import Approval
from bylaw.store.approval_tables import ANSWERS
from bylaw.store.database import Store
from bylaw.store.finding_rows import Seed
from bylaw.types import Decision, Need, Policy

MAX_ENTRIES: Final = 200_000  # of one log, the newest
MAX_ARGS: Final = 50  # numbers of one call
MAX_DEPTH: Final = 6
KIND: Final = "signal"
DAY_S: Final = 86_400
SEED_TTL_S: Final = 3_600

Record = Callable[[Mapping[str, Any]], object]
Ring = Callable[[Mapping[str, Any]], str]  # one message; empty where it was heard, else why not


@dataclass(frozen=True, slots=True)
class Span:
    """Which time is looked at, in seconds."""

    window_s: int = DAY_S
    history_s: int = 30 * DAY_S


class Gathered(NamedTuple):
    """What a look found."""

    report: Report
    told: frozenset[str]  # signals of which somebody was told within the window
    cut: bool  # a log has more entries than are looked at
    samples: tuple[tuple[str, str], ...] = ()  # clause and verdict of each sampled check in the window


class Told(NamedTuple):
    """What came of telling."""

    signals: tuple[Signal, ...]  # those that were new
    faults: tuple[str, ...]  # channels that did not hear


def gather(data_dirs: Sequence[Path], store: Store, span: Span, now_s: float) -> Gathered:
    """Compare the window with the history before it; raises LedgerError and StoreError."""
    begin, before = (timestamp(round((now_s - one) * 1e6)) for one in (span.window_s, span.window_s + span.history_s))
    seen: list[Seen] = []
    told: set[str] = set()
    samples: list[tuple[str, str]] = []
    cut = False
    for path in [path for data_dir in dict.fromkeys(data_dirs) for path in place.all_logs(data_dir)]:
        with reading.stored(path) as log:
            rows = log.last(MAX_ENTRIES)
            cut |= len(rows) == MAX_ENTRIES
            for index, leaf in rows:
                entry = reading.entry(path, leaf)
                if entry["time"] < before:
                    continue
                if entry["kind"] == KIND and entry["time"] >= begin and entry["facts"].get("heard"):
                    told.add(str(entry["facts"].get("key", "")))
                elif entry["kind"] == sampled.KIND and entry["time"] >= begin:
                    samples += [(clause, str(entry["facts"].get("verdict", ""))) for clause in entry["clauses"]]
                elif entry["kind"] == "decision":
                    args = dict(numbers(_args(log.contents_of(index)))) if entry["tool"] else {}
                    name = f"{entry['log']}#{entry['index']}"
                    seen.append(Seen(entry["time"] >= begin, entry["principal"], entry["tool"], entry["decision"], args, name))
    answers = _answers(store, round((now_s - span.window_s - span.history_s) * 1000))
    return Gathered(report(seen, answers), frozenset(told), cut, tuple(samples))


def _args(contents: Mapping[str, bytes]) -> Any:
    try:
        return json.loads(contents.get("args", b"{}"))
    except ValueError:
        return {}


def numbers(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """The numbers in a JSON value by their path, so many at most; list items go by their list."""
    if isinstance(value, bool) or depth > MAX_DEPTH:
        return
    if isinstance(value, int | float):
        if math.isfinite(found := _float(value)):
            yield path or "value", found
    elif isinstance(value, dict):
        for name, one in list(value.items())[:MAX_ARGS]:
            yield from numbers(one, f"{path}.{name}"[:200] if path else str(name)[:200], depth + 1)
    elif isinstance(value, list):
        for one in value[:MAX_ARGS]:
            yield from numbers(one, path, depth + 1)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.inf


def _answers(store: Store, since_ms: int) -> list[Answered]:
    with store.reading() as connection:
        seeded = {one.approval for one in finding_rows.seeds(connection)}
        asked = select(ANSWERS.c.approval, ANSWERS.c.person, ANSWERS.c.yes, ANSWERS.c.seconds).where(ANSWERS.c.at >= since_ms)
        return [Answered(person, bool(yes), seconds, approval in seeded) for approval, person, yes, seconds in connection.execute(asked)]


# ---- Who is told -----------------------------------------------------------------------------------------------------


def tell(found: Gathered, rings: Iterable[tuple[str, Ring]], record: Record, now_s: float) -> Told:
    """Tell every channel of the signals that nobody was told of within the window; each is an entry of the ledger.

    A signal that no channel heard is told again at the next look.
    """
    channels, fresh, faults = list(rings), [one for one in found.report.signals if one.key not in found.told], list[str]()
    for one in fresh:
        said = {
            "type": "signal.raised",
            "timestamp": timestamp(round(now_s * 1e6)),
            "data": {"signal": one.name, "subject": one.subject, "says": one.says, "record": one.record},
        }
        missed = [f"{name}: {fault}" for name, ring in channels if (fault := ring(said))]
        faults += missed
        facts = {"key": one.key[:300], "signal": one.name, "says": one.says[:500], "heard": len(missed) < len(channels) or not channels}
        record({"kind": KIND, "time": round(now_s * 1e6), "facts": facts})
    return Told(tuple(fresh), tuple(dict.fromkeys(faults)))


# ---- Wrong on purpose ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proposal:
    """A call that ought to be refused, as reviewers will see it."""

    tool: str
    args: Mapping[str, Any]
    clause: str
    why: str  # what is wrong with it; reviewers do not see this
    requester: str = "agent"
    tenant: str = ""


def seed(store: Store, approvals: Approvals, record: Record, policy: Policy, proposal: Proposal, by: Person) -> Approval:
    """Put a wrong proposal before the reviewers; raises StoreError.

    It executes nothing, whatever they answer: it is bound to a principal that nobody is, as its jurisdiction is a secret that is made here
    and forgotten, and nobody else can claim it.
    """
    if ADMIN not in by.roles:
        raise StoreError(f"{by.id} has not the role `admin`", "To seed proposals is an admin's work.")
    clause = policy.clause(proposal.clause)
    rule = next((one for one in clause.enforce if one.effect == "require_approval"), None) if clause else None
    if clause is None or rule is None:
        raise StoreError(f"no rule of {proposal.clause[:80]!r} asks people", "Name a clause with `then: require_approval`.")
    need = Need(clause.id, rule.id, rule.approvers, rule.quorum, rule.ttl_s or SEED_TTL_S)
    matched = f"{clause.id}/{rule.id}"  # the reason too, word for word as that of a real one: nothing gives a seeded one away
    decision = Decision("require_approval", (clause.id,), (matched,), policy.digest, reason=matched, needs=(need,))
    nobody = {"id": proposal.requester, "tenant": proposal.tenant, "jurisdiction": uuid4().hex}
    what = {"tool": proposal.tool, "args": dict(proposal.args), "session": uuid4().hex[:12]}
    found = approvals.request(what, nobody, decision)
    if isinstance(found, Refused):
        raise StoreError(f"it could not be proposed: {found.text}", "Try again when fewer wait.")
    now_ms = round(time.time() * 1000)
    record({"kind": "seed", "principal": by.id, "facts": {"step": "made"}, "contents": {"approval": found.id, "why": proposal.why[:2_000]}})
    finding_rows.seeded(store, Seed(found.id, now_ms, by.id, proposal.why[:2_000]))
    return found
