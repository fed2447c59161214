"""Lints against an earlier version of the same policy: what changed must show in the version, and ids must stay resolvable."""

from collections.abc import Iterator
from typing import Final

from bylaw.policy.digest import meaning
from bylaw.policy.parse import MANIFEST, Document
from bylaw.policy.versions import compared
from bylaw.types import Clause, Finding, Place, Policy

_MANIFEST: Final = ("id", "effective", "owners", "signoffs", "glossary", "styles", "extra", "reviewers", "tools")


def findings(new: Document, old: Document, against: str) -> Iterator[Finding]:
    """BL601 to BL603; nothing where both mean the same."""
    before, now = old.policy, new.policy
    top = Place(MANIFEST, _line(new, "version")) if MANIFEST in new.others else Place(next(iter(new.parts), MANIFEST), 1)
    order = compared(now.version, before.version)
    if order < 0:
        what = f"the version went back from {before.version} in {against} to {now.version}"
        yield Finding("BL603", "error", top, what, f"Write a version above {before.version}.")
    mine, theirs = _clauses(now), _clauses(before)
    for key in sorted(theirs.keys() - mine.keys()):
        clause_id = key[1]
        where = f" of overlay {key[0]}" if key[0] else ""
        moved = any(other == clause_id for _, other in mine)
        if not moved:
            what = (
                f"clause {clause_id!r}{where} was there in {against} ({before.version}) and is gone; logs that cite it cannot be resolved"
            )
            fix = "Keep the clause under its id, and say in its norm what holds now. Ids are never removed or used anew."
            yield Finding("BL602", "error", top, what, fix, clause_id)
    if order != 0 or meaning(now) == meaning(before):
        return
    said = f"{against}, and the version is still {now.version}"
    fix = f"Raise the version in {MANIFEST}; runs, evals and decisions are bound to it."
    for key, clause in sorted(mine.items()):
        if key not in theirs:
            yield Finding("BL601", "error", clause.place, f"this clause is new since {said}", fix, clause.id)
        elif meaning(clause) != meaning(theirs[key]):
            yield Finding("BL601", "error", clause.place, f"the meaning changed since {said}", fix, clause.id)
    rest = [name for name in _MANIFEST if meaning(getattr(now, name)) != meaning(getattr(before, name))]
    rest += ["overlays"] if _bases(now) != _bases(before) else []
    if rest or theirs.keys() - mine.keys():
        yield Finding("BL601", "error", top, f"{', '.join(rest) or 'the set of clauses'} changed since {said}", fix)


def _clauses(policy: Policy) -> dict[tuple[str, str], Clause]:
    found = {("", clause.id): clause for clause in policy.clauses}
    return found | {(overlay.name, clause.id): clause for overlay in policy.overlays for clause in overlay.clauses}


def _bases(policy: Policy) -> list[object]:
    return [[one.name, one.axis, one.basis, one.effective, one.checked, meaning(one.loosens)] for one in policy.overlays]


def _line(document: Document, key: str) -> int:
    lines = document.others[MANIFEST][0].splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:")), 1)
