"""Findings: what users, outside testers and the public report, and what becomes of each.

    new -> triaged | rejected | duplicate           triaged -> accepted | rejected | duplicate
    accepted -> fixed | rejected                    fixed, rejected, duplicate -> triaged: it is looked at again

Every step is recorded before it takes effect; where somebody else was faster, and it does not, `withdrawn` follows. What people wrote is
deletable content, in the ledger and here. A finding decides nothing.
It can leave as a `candidate` case of the evals' format, for a person to look at and take into a suite.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import uuid4

from bylaw.govern.appeals import REVIEWERS
from bylaw.govern.approval_steps import plain
from bylaw.govern.quorum import ALL_TENANTS, Person
from bylaw.store import clock as clocks
from bylaw.store import finding_rows as rows
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.finding_rows import FINDING_STATES, FindingState, Found, Listed, Source, Taken

Record = Callable[[Mapping[str, Any]], object]
Why = Literal["too_many", "unknown_id", "not_entitled", "no_step", "wrong", "changed"]

NEXT: Final[Mapping[FindingState, tuple[FindingState, ...]]] = {
    "new": ("triaged", "rejected", "duplicate"),
    "triaged": ("accepted", "rejected", "duplicate"),
    "accepted": ("fixed", "rejected"),
    "fixed": ("triaged",),
    "rejected": ("triaged",),
    "duplicate": ("triaged",),
}
SEVERITIES: Final = ("", "low", "medium", "high", "critical")
MAX_AN_HOUR: Final = 20  # findings of one principal
MAX_TEXT: Final = 8_000  # characters of each text of a report
MAX_SHORT: Final = 200
HOUR_MS: Final = 3_600_000
GIVEN: Final = ("clause", "severity", "assignee", "duplicate_of", "disclose_on")
FORGOTTEN: Final = "forgotten"
DISCLOSE_DAYS: Final = 90  # after a report, where nobody says otherwise
ID: Final = re.compile(r"[0-9a-f]{32}")
CLAUSE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")  # what stays in the ledger is no free text
RECORD: Final = re.compile(r"[!-~]{1,300}")


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Why a step was not taken; nothing has changed."""

    why: Why
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody reports."""

    said: str
    prompt: str = ""
    reply: str = ""
    contact: str = ""
    record: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a finding; what is None stays."""

    state: FindingState | None = None
    clause: str | None = None
    severity: str | None = None
    assignee: str | None = None
    duplicate_of: str | None = None
    disclose_on: str | None = None
    note: str = ""


def fault(report: Report) -> str:
    """What is wrong with a report; empty: nothing."""
    if not report.said.strip():
        return "`said` is empty: say what is wrong"
    for name, most in (("said", MAX_TEXT), ("prompt", MAX_TEXT), ("reply", MAX_TEXT), ("contact", MAX_SHORT)):
        if len(getattr(report, name)) > most:
            return f"`{name}` has more than {most} characters"
    if report.clause and not CLAUSE.fullmatch(report.clause):
        return "`clause` is a clause's id, such as money.limit"
    return "`record` is what the header x-bylaw-record said" if report.record and not RECORD.fullmatch(report.record) else ""


def changed(found: Found, change: Change, now_ms: int) -> Found | NotTaken:
    """A finding after a change; pure."""
    state = change.state or found.state
    if state != found.state and state not in NEXT[found.state]:
        return NotTaken("no_step", f"a finding that is {found.state} becomes {' or '.join(NEXT[found.state])}, not {state}")
    given = {name: plain(value).strip() for name in GIVEN if (value := getattr(change, name)) is not None}
    if wrong := [name for name, value in given.items() if len(value) > MAX_SHORT]:
        return NotTaken("wrong", f"{wrong[0]} has more than {MAX_SHORT} characters")
    moved: dict[str, Any] = {**given, "state": state, "revision": found.revision + 1, "changed_at": now_ms}
    if state != "duplicate":
        moved["duplicate_of"] = ""
    after = replace(found, **moved)
    return NotTaken("wrong", said) if (said := _unsound(after)) else after


def _unsound(found: Found) -> str:
    """What is wrong with a finding as it would be; empty: nothing."""
    checks = (
        (found.severity in SEVERITIES, f"severity is one of {', '.join(SEVERITIES[1:])}"),
        (not found.clause or CLAUSE.fullmatch(found.clause), "clause is a clause's id, such as money.limit"),
        (not found.disclose_on or _is_day(found.disclose_on), "the day of disclosure is written 2027-02-19"),
        (found.state != "duplicate" or found.duplicate_of not in ("", found.id), "a duplicate says of which other finding"),
        (found.state != "accepted" or found.clause, "an accepted finding names the clause that was not kept"),
    )
    return next((says for good, says in checks if not good), "")


class Findings:
    """The findings in a store. Safe to use from many threads and processes."""

    def __init__(self, store: Store, record: Record, clock: Clock | None = None) -> None:
        self._store = store
        self._record = record
        self._clock = clock or Clock()

    def report(self, said: Report, reporter: str, tenant: str, source: Source, an_hour: int = MAX_AN_HOUR) -> Found | NotTaken:
        """Take a finding in. Whoever has no key shares one limit with everybody else who has none."""
        if wrong := fault(said):
            return NotTaken("wrong", wrong)
        now = clocks.now(self._store, self._clock)
        with self._store.reading() as connection:
            made = rows.since(connection, reporter, tenant, now - HOUR_MS)
        if made >= an_hour:
            return NotTaken("too_many", f"{made} reports came within an hour, and no more are taken; try again later")
        texts = {name: plain_text(getattr(said, name), MAX_TEXT) for name in rows.TEXTS}
        found = Found(
            uuid4().hex,
            "new",
            1,
            source,
            reporter,
            tenant,
            texts["said"],
            now,
            now,
            texts["prompt"],
            texts["reply"],
            texts["contact"],
            record=said.record,
            clause=said.clause,
            disclose_on=(datetime.fromtimestamp(now / 1000, UTC).date() + timedelta(days=DISCLOSE_DAYS)).isoformat(),
        )
        self._record(entry(found, "reported", reporter, {}, {name: text for name, text in texts.items() if text}))
        rows.put(self._store, found)
        return found

    def triage(self, finding: str, person: Person, change: Change) -> Found | NotTaken:
        """A reviewer's step on a finding."""
        found = self.get(finding)
        if found is None or not reviews(person, found):
            return NotTaken("unknown_id", "there is no such finding, or it is not yours to triage")
        after = changed(found, change, clocks.now(self._store, self._clock))
        if isinstance(after, NotTaken):
            return after
        if after.duplicate_of and self.get(after.duplicate_of) is None:
            return NotTaken("wrong", f"there is no finding {after.duplicate_of[:40]} that this could be a duplicate of")
        if not (told := rows.changes(found, after)) and not change.note.strip():
            return NotTaken("no_step", "nothing would change")
        return self._take(found, after, person.id, "triaged", told, plain(change.note))

    def forget(self, finding: str, person: Person) -> Found | NotTaken:
        """Delete what people wrote, here, notes too. In the ledger, contents go by retention and erasure."""
        found = self.get(finding)
        if found is None or not reviews(person, found):
            return NotTaken("unknown_id", "there is no such finding, or it is not yours to forget")
        now = clocks.now(self._store, self._clock)
        after = replace(found, revision=found.revision + 1, changed_at=now, said="", prompt="", reply="", contact="")
        return self._take(found, after, person.id, FORGOTTEN, rows.changes(found, after), "")

    def get(self, finding: str) -> Found | None:
        """One finding."""
        if not ID.fullmatch(finding):
            return None
        with self._store.reading() as connection:
            return rows.get(connection, finding)

    def history(self, finding: str) -> list[Taken]:
        """Every step on a finding."""
        with self._store.reading() as connection:
            return rows.history(connection, finding)

    def seen_by(self, person: Person, states: tuple[FindingState, ...] = FINDING_STATES, limit: int = 50, before: str = "") -> Listed:
        """The newest findings that somebody may read, newest first, from where an earlier page ended; raises ValueError."""
        whose = rows.Whose(person.tenant, person.id)
        if any(role in REVIEWERS for role in person.roles):
            whose = rows.Whose(None if person.tenant == ALL_TENANTS else person.tenant)
        with self._store.reading() as connection:
            return rows.listed(connection, states, whose, limit, before)

    def _take(self, found: Found, after: Found, by: str, step: str, told: Mapping[str, list[str]], note: str) -> Found | NotTaken:
        self._record(entry(after, step, by, told, {"note": note} if note else {}))
        with self._store.writing() as connection:
            taken = rows.swap(connection, found, after, by, note)
            if taken and step == FORGOTTEN:
                rows.forget_notes(connection, found.id)
        if taken:
            return after
        self._record(entry(found, "withdrawn", by, {"step": step}, {}))
        return NotTaken("changed", "somebody else has just changed it; look again")


def reviews(person: Person, found: Found) -> bool:
    """Whether somebody may triage a finding. What came without a key belongs to every tenant's reviewers."""
    return any(role in REVIEWERS for role in person.roles) and (person.tenant in (found.tenant, ALL_TENANTS) or not found.reporter)


def may_see(person: Person, found: Found) -> bool:
    """Whether somebody may read a finding: whoever reported it, and who may triage it."""
    return reviews(person, found) or (bool(found.reporter) and (person.id, person.tenant) == (found.reporter, found.tenant))


def candidate(found: Found) -> dict[str, Any]:
    """A finding as a case of the evals' format that nobody has looked at yet; its id follows from its content when it is read."""
    case: dict[str, Any] = {"clause": found.clause, "side": "refuse", "severity": found.severity or "medium"}
    case |= {"turns": [{"role": "user", "content": found.prompt}], "status": "candidate", "found_in": f"finding {found.id}"}
    return case | {"source": f"finding:{found.source}"}


def entry(found: Found, step: str, by: str, told: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any]:
    """What the ledger is told."""
    facts = {"step": step, "finding": found.id, "state": found.state, "source": found.source, "by": plain(by), "changed": dict(told)}
    said = {
        "kind": "finding",
        "time": found.changed_at * 1000,
        "principal": plain(found.reporter)[:MAX_SHORT],
        "clauses": [found.clause] if found.clause else [],
        "facts": facts,
    }
    return {**said, "contents": dict(contents)} if contents else said


def plain_text(text: str, most: int) -> str:
    """Somebody's words, bounded and storable everywhere."""
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode()


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
