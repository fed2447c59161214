"""Recorded decisions beside what another policy decides on the same: what would change, clause by clause. Nothing decides here.

1. A decision is its effect, its clauses, and whether it could be decided. Rules may be renamed: that changes nothing.
2. Each decision is held against its own past: the session as it was then, with what the old policy let through in it. What would have
   come after a different decision nobody knows.
3. What cannot be decided again is counted by reason, and is never unchanged. An emergency stop is no matter of the policy: counted apart.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from bylaw.policy.strictest import ORDER
from bylaw.types import Decision

Change = Literal["stricter", "looser", "other clause", "undecidable"]
CHANGES: Final[tuple[Change, ...]] = get_args(Change)
DEFAULT: Final = "(no clause)"  # the surface's written default
MAX_CLAUSES: Final = 5_000  # told apart in one report
_RANKS: Final[Mapping[str, int]] = {effect: rank for rank, effect in enumerate(ORDER)}


class Told(NamedTuple):
    """What counts of a decision."""

    effect: str
    clauses: tuple[str, ...]  # in order
    undecided: bool


class Case(NamedTuple):
    """One recorded decision: the name of its record, and what it was about."""

    record: str
    time: str
    principal: str
    surface: str
    tool: str
    policy: str  # digest that decided it


class Example(NamedTuple):
    """One decision that would change."""

    case: Case
    before: Told
    after: Told


def told(decision: Decision) -> Told:
    """What counts of a decision."""
    return Told(decision.effect, tuple(sorted(set(decision.clauses))), bool(decision.undecided))


def told_of(entry: Mapping[str, Any]) -> Told:
    """The same of its entry in the ledger."""
    return Told(entry["decision"], tuple(sorted(set(entry["clauses"]))), bool(entry["facts"].get("undecided")))


def change(before: Told, after: Told) -> Change | None:
    """How a decision would change; None where it would not. The same effect for another reason is `other clause`."""
    if before == after:
        return None
    if after.undecided and not before.undecided:
        return "undecidable"
    was, now = _RANKS.get(before.effect, -1), _RANKS.get(after.effect, -1)
    return "other clause" if was == now else "stricter" if now > was else "looser"


def clauses(kind: Change, before: Told, after: Told) -> tuple[str, ...]:
    """By whose doing: the clauses that now hold, of what is looser those that no longer do, of the rest those that differ."""
    new = tuple(one for one in after.clauses if one not in before.clauses)
    gone = tuple(one for one in before.clauses if one not in after.clauses)
    if kind == "looser":
        return gone or before.clauses or (DEFAULT,)
    if kind == "other clause":
        return (*new, *gone) or after.clauses or (DEFAULT,)
    return new or after.clauses or (DEFAULT,)


@dataclass
class Replay:
    """What came of a replay so far."""

    policy: str  # the candidate's digest
    examples_each: int = 3  # kept of each clause and change
    decisions: int = 0
    unchanged: int = 0
    stopped: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    by_clause: dict[str, Counter[str]] = field(default_factory=dict)
    unplayable: Counter[str] = field(default_factory=Counter)  # by reason
    policies: Counter[str] = field(default_factory=Counter)  # that decided then
    examples: dict[tuple[str, str], list[Example]] = field(default_factory=dict)  # by clause and change

    @property
    def replayed(self) -> int:
        """How many were decided again."""
        return self.unchanged + self.changes.total()

    def cannot(self, case: Case, reason: str) -> None:
        """Count a decision that cannot be made again."""
        self._seen(case)
        self.unplayable[reason] += 1

    def stop(self, case: Case) -> None:
        """Count an emergency stop."""
        self._seen(case)
        self.stopped += 1

    def decided(self, case: Case, before: Told, after: Told) -> Change | None:
        """Count a decision that was made again; how it would change."""
        self._seen(case)
        kind = change(before, after)
        if kind is None:
            self.unchanged += 1
            return None
        self.changes[kind] += 1
        for clause in clauses(kind, before, after):
            name = clause if clause in self.by_clause or len(self.by_clause) < MAX_CLAUSES else "(others)"
            self.by_clause.setdefault(name, Counter())[kind] += 1
            kept = self.examples.setdefault((name, kind), [])
            if len(kept) < self.examples_each:
                kept.append(Example(case, before, after))
        return kind

    def _seen(self, case: Case) -> None:
        self.decisions += 1
        self.policies[case.policy] += 1

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "policy": self.policy,
            "decisions": self.decisions,
            "replayed": self.replayed,
            "unchanged": self.unchanged,
            "changed": {kind: self.changes[kind] for kind in CHANGES},
            "clauses": {name: {kind: found[kind] for kind in CHANGES} for name, found in sorted(self.by_clause.items())},
            "not_replayable": dict(sorted(self.unplayable.items())),
            "stopped": self.stopped,
            "decided_under": dict(sorted(self.policies.items())),
            "examples": [
                {"clause": clause, "change": kind, **one.case._asdict(), "before": one.before._asdict(), "after": one.after._asdict()}
                for (clause, kind), found in sorted(self.examples.items())
                for one in found
            ],
        }

    def printed(self) -> str:
        """All of it as text for people."""
        lines = [
            f"{self.decisions} decisions under {self.policy}",
            f"  {self.replayed} replayed: {self.unchanged} unchanged, {self.changes.total()} would change"
            + (f" ({', '.join(f'{self.changes[kind]} {kind}' for kind in CHANGES if self.changes[kind])})" if self.changes else ""),
        ]
        lines += [f"  {count} not replayable: {reason}" for reason, count in self.unplayable.most_common()]
        lines += [f"  {self.stopped} emergency stops, which no policy changes"] if self.stopped else []
        for name, found in sorted(self.by_clause.items()):
            lines += ["", f"{name}: {', '.join(f'{found[kind]} {kind}' for kind in CHANGES if found[kind])}"]
            for kind in CHANGES:
                lines += [f"  {kind}: {_shown(one)}" for one in self.examples.get((name, kind), ())]
        return "\n".join(lines)


def _shown(one: Example) -> str:
    what = f"{one.case.surface} {one.case.tool}".strip()
    return f"{what} by {one.case.principal or 'nobody'}, {one.before.effect} -> {one.after.effect}, {one.case.record}"
