"""Who must sign a clause, who has, and what is missing.

A line of the sign-off table counts distinct reviewers, each with a verified record about the clause as it stands, in a role of the line.
So nobody signs for two, and a changed clause starts anew. A rejection that stands blocks, however many others approve.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from bylaw.policy.reviews import Review, Reviewed, in_force, signed_digest
from bylaw.types import Clause, Finding, Overlay, Policy, SignOff


class Given(NamedTuple):
    """One reviewer's standing approval."""

    reviewer: str
    role: str
    at: str


@dataclass(frozen=True, slots=True)
class Status:
    """Where one clause stands: which lines of the table it falls under, who has signed, what is missing."""

    clause: str
    overlay: str  # empty for the policy's own clauses
    required: tuple[SignOff, ...]
    given: tuple[Given, ...]
    rejected: tuple[str, ...]  # reviewers who said no, and have not said yes since
    missing: tuple[str, ...]  # sentences; empty: signed off

    @property
    def signed(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def status(policy: Policy, reviews: Sequence[Review]) -> tuple[Status, ...]:
    """Every clause, the overlays' too. `reviews` are verified records, as `reviews.reviewed` returns them."""
    own = [status_of(policy, clause, None, reviews) for clause in policy.clauses]
    return (*own, *(status_of(policy, clause, overlay, reviews) for overlay in policy.overlays for clause in overlay.clauses))


def status_of(policy: Policy, clause: Clause, overlay: Overlay | None, reviews: Sequence[Review]) -> Status:
    """One clause, of the policy or of an overlay."""
    required = tuple(line for line in policy.signoffs if fnmatchcase(clause.id, line.clauses))
    return standing_of(clause.id, overlay.name if overlay else "", required, reviews, signed_digest(policy, clause, overlay))


def standing_of(clause: str, overlay: str, required: tuple[SignOff, ...], reviews: Sequence[Review], digest: str) -> Status:
    """How what has this digest stands against these lines."""
    standing = in_force(reviews, clause, overlay, digest)
    given = tuple(
        sorted({Given(one.reviewer, one.role, one.at) for records in standing.values() for one in records if one.decision == "approve"})
    )
    rejected = tuple(sorted(who for who, records in standing.items() if records[0].decision == "reject"))
    missing = [f"{who} rejected it" for who in rejected]
    for line in required:
        signed = {one.reviewer for one in given if one.role in line.roles}
        if len(signed) < line.count:
            left = line.count - len(signed)
            missing.append(f"{left} of {line.count} signature{'s' * (line.count > 1)} by {' or '.join(line.roles)}")
    return Status(clause, overlay, required, given, rejected, tuple(missing))


def findings(policy: Policy, found: Reviewed) -> Iterator[Finding]:
    """BL506 where a sign-off is missing, BL507 where a record does not count. `found` is what `reviews.reviewed` returned."""
    yield from found.findings
    clauses = {("", clause.id): clause for clause in policy.clauses}
    clauses |= {(overlay.name, clause.id): clause for overlay in policy.overlays for clause in overlay.clauses}
    for one in status(policy, found.reviews):
        if one.missing:
            clause = clauses[one.overlay, one.clause]
            yield Finding("BL506", "error", clause.place, f"sign-off missing: {'; '.join(one.missing)}", _fix(policy, one), one.clause)


def _fix(policy: Policy, one: Status) -> str:
    """What to do about a missing sign-off: first there must be enough people who may give it."""
    sign = "`bylaw policy sign PATH --as NAME --role ROLE --key FILE" + (f" --overlay {one.overlay}`" if one.overlay else "`")
    for line in one.required:
        able = sum(bool(set(person.roles) & set(line.roles)) for person in policy.reviewers)
        if able < line.count:
            who = f"{'only ' * bool(able)}{able or 'no'} reviewer{'s' * (able > 1)} in the role {' or '.join(line.roles)}"
            return f"policy.yaml names {who}: add one under `reviewers:` (`bylaw policy keygen FILE` makes a key), then sign: {sign}."
    return f"Have it read and signed: {sign}."


def to_json(one: Status) -> dict[str, Any]:
    """One clause's status as JSON values."""
    return {
        "clause": one.clause,
        "overlay": one.overlay,
        "required": [{"clauses": line.clauses, "roles": list(line.roles), "count": line.count} for line in one.required],
        "given": [given._asdict() for given in one.given],
        "rejected": list(one.rejected),
        "missing": list(one.missing),
    }


def printed(rows: Sequence[Status], broken: Sequence[Finding]) -> str:
    """Every clause's status as text for people."""
    lines = []
    for one in rows:
        who = ", ".join(f"{given.reviewer} ({given.role}, {given.at[:10]})" for given in one.given) or "nobody"
        state = f"missing {'; '.join(one.missing)}" if one.missing else "signed" if one.required else "needs no sign-off"
        lines.append(f"{one.clause}{f' in overlay {one.overlay}' if one.overlay else ''}: {state}; signed by {who}")
    lines += [f"{one.place.file}: {one.message}" for one in broken]
    open_rows = sum(bool(one.missing) for one in rows)
    return "\n".join([*lines, f"{len(rows) - open_rows} of {len(rows)} clauses signed off as the table asks"])
