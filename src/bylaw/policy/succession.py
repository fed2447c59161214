"""What a policy must show to take the place of the one in force: the signatures that the table in force asks for.

The table and the reviewers of the policy that is replaced count, never the candidate's own: whoever writes policy.yaml writes those.

1. A clause that is new or says something else needs what the lines of that table ask for its id.
2. The frame (`frame`) needs what every line asks, where the table, the reviewers, the tools, the `x-` keys or the id differ, or where a
   clause that a line protects is gone.
3. The records of the policy in force stay: every rejection, every one of the frame, and of each clause the newest approval, or a newer one.
   Where nothing else changes, all of them. Only those of a reviewer who has left, or lost the role, go.
4. A signature older than the newest one of the policy in force about the same clause does not count, nor one of a clause that is not in
   the policy in force and older than the newest of its frame: what was approved once does not come back without being asked for again.

A table without lines asks for nothing. What the candidate's own table asks for is looked at apart (`signoffs`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from bylaw.policy import frame
from bylaw.policy.frame import FRAME
from bylaw.policy.reviews import Review, reviewed, signed_digest, verified
from bylaw.policy.signoffs import standing_of, status_of
from bylaw.types import Clause, Overlay, Policy


def under(candidate: Policy, in_force: Policy) -> Policy:
    """A candidate as the table and the reviewers in force see it: its records are verified against this."""
    return replace(candidate, signoffs=in_force.signoffs, reviewers=in_force.reviewers)


def missing(candidate: Policy, in_force: Policy, found: Sequence[Review], before: Sequence[Review]) -> tuple[str, ...]:
    """What is missing, as sentences; empty: it may take the place.

    Args:
        found: the candidate's records, verified against `under`.
        before: the records of the policy in force, verified against itself.
    """
    if not in_force.signoffs:
        return ()
    seen = under(candidate, in_force)
    records = tuple({one.signature: one for one in (*before, *found) if one.policy == candidate.id}.values())
    return (
        *_clauses(seen, in_force, records, before),
        *_frame(candidate, in_force, records, before),
        *_dropped(candidate, in_force, found, before),
    )


def missing_in(folder: Path, candidate: Policy, old: Path, in_force: Policy) -> tuple[str, ...]:
    """The same, with the records that lie beside both."""
    found = reviewed(folder, under(candidate, in_force)).reviews
    return missing(candidate, in_force, found, reviewed(old, in_force).reviews)


def _clauses(seen: Policy, in_force: Policy, records: Sequence[Review], before: Sequence[Review]) -> Iterator[str]:
    old = {key: signed_digest(in_force, clause, overlay) for key, clause, overlay in _every(in_force)}
    for key, clause, overlay in _every(seen):
        digest = signed_digest(seen, clause, overlay)
        if old.get(key) == digest:
            if who := status_of(seen, clause, overlay, records).rejected:  # also where its record is not in reviews/ any more
                yield f"{clause.id}: {' and '.join(who)} rejected it"
            continue
        fresh, stale = _fresh(records, before, key, key in old, digest)
        if lacks := status_of(seen, clause, overlay, fresh).missing:
            where = f" in overlay {key[0]}" if key[0] else ""
            how = "differs from" if key in old else "is not in"
            yield f"{clause.id}{where}, which {how} the policy in force: {'; '.join(lacks)}{stale}"


def _frame(candidate: Policy, in_force: Policy, records: Sequence[Review], before: Sequence[Review]) -> Iterator[str]:
    was, now = frame.parts(in_force), frame.parts(candidate)
    changed = [f"{said} differ{'' if said.endswith('s') else 's'}" for part, said in frame.PARTS.items() if was[part] != now[part]]
    gone = sorted(set(frame.clauses(in_force)) - set(frame.clauses(candidate)))
    changed += [
        f"{clause}{f' in overlay {overlay}' if overlay else ''} is gone"
        for overlay, clause in gone
        if any(fnmatchcase(clause, line.clauses) for line in in_force.signoffs)
    ]
    overlays = {overlay for overlay, _ in frame.clauses(candidate)}
    changed += [
        f"overlay {name}, where a clause was rejected, is gone"
        for name in sorted({one.overlay for one in before if one.decision == "reject"} - {"", *overlays})
    ]
    if not changed:
        return
    fresh, stale = _fresh(records, before, ("", FRAME), True, frame.frame_digest(candidate))
    if lacks := standing_of(FRAME, "", in_force.signoffs, fresh, frame.frame_digest(candidate)).missing:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield f"the frame ({', '.join(changed[:3])}{more}): {'; '.join(lacks)}{stale}"
    elif was["reviewers"] != now["reviewers"]:  # who leaves takes their records along, and with them since when older ones do not count
        signed = [one for one in fresh if one.decision == "approve" and one.clauses.get(FRAME) == frame.frame_digest(candidate)]
        staying = {(one.name, one.key) for one in in_force.reviewers} & {(one.name, one.key) for one in candidate.reviewers}
        if staying and not verified(candidate, signed).reviews:
            yield "the frame: the signature of one reviewer who stays"


def _dropped(candidate: Policy, in_force: Policy, found: Sequence[Review], before: Sequence[Review]) -> Iterator[str]:
    """The records in force that are not there any more and still say something: the next policy would not know of them."""
    counting = {one.signature for one in verified(candidate, (*before, *found)).reviews}  # who has left takes their records with them
    here = {one.signature: one for one in found if one.signature in counting}
    newest: dict[tuple[str, str], str] = {}
    for one in here.values():
        if one.decision == "approve":
            newest |= {(one.overlay, clause): max(one.at, newest.get((one.overlay, clause), "")) for clause in one.clauses}

    def replaced(one: Review) -> bool:
        plain = one.decision == "approve" and FRAME not in one.clauses and candidate.digest != in_force.digest
        return plain and all(newest.get((one.overlay, clause), "") >= one.at for clause in one.clauses)

    if gone := [one.file for one in before if one.signature in counting - set(here) and not replaced(one)]:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        yield f"the record{'s' * (len(gone) > 1)} {', '.join(gone[:3])}{more} of the policy in force {'are' if gone[1:] else 'is'} gone"


def _fresh(records: Sequence[Review], before: Sequence[Review], key: tuple[str, str], known: bool, digest: str) -> tuple[list[Review], str]:
    """The records that are not too old for this clause, and what to say of those about this very text that are.

    `known`: the clause is in the policy in force.
    """
    since = max((one.at for one in before if _about(one, key if known else ("", FRAME))), default="")
    fresh = [one for one in records if one.decision == "reject" or one.at >= since]
    old = any(_about(one, key) and one.at < since and one.clauses[key[1]] == digest for one in records)
    return fresh, f" (a signature from before {since} does not count: sign again)" if old else ""


def _about(one: Review, key: tuple[str, str]) -> bool:
    return one.decision == "approve" and one.overlay == key[0] and key[1] in one.clauses


def _every(policy: Policy) -> Iterator[tuple[tuple[str, str], Clause, Overlay | None]]:
    yield from ((("", clause.id), clause, None) for clause in policy.clauses)
    yield from (((overlay.name, clause.id), clause, overlay) for overlay in policy.overlays for clause in overlay.clauses)
