"""What is wrong with a written policy, found before anyone relies on it. Every finding has a code, a place and a fix.

BL0xx cannot be read, BL1xx references, BL2xx examples, BL3xx prose, BL4xx rules, BL5xx evaluation and ownership. Lints that compare
words are simple on purpose; they may be wrong, never silent about what they saw.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

from bylaw.errors import PolicyError
from bylaw.policy import lint_prose, lint_rules
from bylaw.policy.compile import is_trimmed
from bylaw.policy.parse import every_clause, read
from bylaw.types import NOWHERE, Clause, Finding, Layer, Place, Policy

LAYERS: Final[dict[Layer, int]] = {"law": 0, "provider": 1, "organisation": 2, "product": 3, "deployment": 4}
OVERLAY_DAYS: Final = 90
CONFIDENCE: Final = 0.05  # chance that a policy below its threshold still shows no failure


def lint(folder: Path, today: date | None = None) -> list[Finding]:
    """Every finding about a policy, in the order of its files; lints about dates run only where `today` is given.

    Raises PolicyError only where there is no such file or folder.
    """
    try:
        document = read(folder)
    except PolicyError as error:
        if not folder.exists():
            raise
        return [unreadable(error)]
    found = [unreadable(fault) for fault in document.faults]
    policy = document.policy
    clauses = every_clause(policy)
    known = {clause.id for clause in clauses}
    for clause in clauses:
        found += references(policy, clause, known)
        found += ownership(policy, clause)
        found += lint_prose.findings(policy, clause)
    found += cycles(policy)
    found += lint_rules.findings(policy)
    found += overlays(policy, today) if today else []
    return sorted(found, key=lambda finding: (finding.place.file, finding.place.line, finding.code))


def unreadable(error: PolicyError) -> Finding:
    """A fault of the reader as a finding."""
    head, _, message = error.what.partition(": ")
    file, _, line = head.rpartition(":")
    place = Place(file, int(line)) if file and line.isdecimal() else NOWHERE
    twice = " is used twice" in error.what
    return Finding("BL002" if twice else "BL001", "error", place, message if place is not NOWHERE else error.what, error.hint)


def references(policy: Policy, clause: Clause, known: set[str]) -> Iterator[Finding]:
    """Names that lead nowhere."""

    def dangling(what: str, fix: str) -> Finding:
        return Finding("BL101", "error", clause.place, what, fix, clause.id)

    for other in clause.overrides:
        if other not in known:
            yield dangling(f"overrides {other!r}, and there is no such clause", "Name a clause of this policy, or remove it.")
    for style in clause.style:
        if style not in {rule.id for rule in policy.styles}:
            yield dangling(f"style {style!r} is not defined", "Define it once under `styles:` in policy.yaml.")
    for rule in clause.enforce:
        for tool in rule.tools:
            if tool not in policy.tools:
                what = f"rule {rule.id} names the tool {tool!r}, which has no schema"
                fix = f"Add tools/{tool}.json, so that the condition is checked against the tool's arguments."
                yield Finding("BL102", "error", rule.place, what, fix, clause.id)


def cycles(policy: Policy) -> Iterator[Finding]:
    """Clauses that go before each other in a circle, and weaker layers that go before stronger ones."""
    by_id = {clause.id: clause for clause in policy.clauses}
    for clause in policy.clauses:
        seen, todo = set[str](), list(clause.overrides)
        while todo:
            other = todo.pop()
            if other not in seen and other in by_id:
                seen.add(other)
                todo += by_id[other].overrides
        if clause.id in seen:
            yield Finding("BL103", "error", clause.place, "overrides itself in a circle", "Break the circle of `overrides`.", clause.id)
        for other in clause.overrides:
            if other in by_id and LAYERS[clause.layer] > LAYERS[by_id[other].layer]:
                what = f"a {clause.layer} clause goes before {other!r}, which is {by_id[other].layer}"
                yield Finding(
                    "BL104", "error", clause.place, what, "A weaker layer may tighten a stronger one, never override it.", clause.id
                )


def ownership(policy: Policy, clause: Clause) -> Iterator[Finding]:
    """Clauses that nobody answers for, nobody measures, or no judge can read whole."""
    if not clause.owner and not policy.owners:
        yield Finding("BL501", "error", clause.place, "nobody owns this clause", "Write `owner:`, or `owners:` in policy.yaml.", clause.id)
    if clause.eval is None:
        fix = "Write `eval: {min_resist: 0.99, max_over_refusal: 0.02, n: 300}`."
        yield Finding("BL502", "warning", clause.place, "no evaluation plan", fix, clause.id)
    elif clause.eval.n is not None:
        allowed = [1 - clause.eval.min_resist] if clause.eval.min_resist is not None else []
        allowed += [clause.eval.max_over_refusal] if clause.eval.max_over_refusal is not None else []
        strict = min(allowed, default=1.0)
        if (1 - strict) ** clause.eval.n > CONFIDENCE:
            what = f"{clause.eval.n} cases cannot show a rate of failures below {strict:.2g}, even with none failing"
            yield Finding("BL503", "warning", clause.place, what, "Raise n, or ask for less.", clause.id)
    if is_trimmed(clause):
        fix = "Split the clause; a judge should read all of its norm."
        yield Finding("BL504", "warning", clause.place, "the norm does not fit a judge's card of 600 tokens", fix, clause.id)


def overlays(policy: Policy, today: date) -> Iterator[Finding]:
    """Overlays whose basis nobody has checked lately."""
    for overlay in policy.overlays:
        age = (today - date.fromisoformat(overlay.checked)).days
        if age > OVERLAY_DAYS:
            place = Place(f"overlays/{overlay.name}/overlay.yaml", 1)
            fix = f"Check the basis ({overlay.basis}) and write the new date under `checked:`."
            yield Finding("BL505", "warning", place, f"the basis was last checked {age} days ago", fix)
