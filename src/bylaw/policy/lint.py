"""What is wrong with a written policy, found before anyone relies on it. Every finding has a code, a place and a fix.

The codes stand in `lint_codes`, with their levels and meanings. Lints that compare words are simple on purpose; they may be wrong, never
silent about what they saw. Nothing reads the clock: lints about dates run where `today` is given, and only warn.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from bylaw.errors import PolicyError
from bylaw.policy import lint_drift, lint_examples, lint_overlays, lint_prose, lint_rules, signoffs
from bylaw.policy.compile import is_trimmed, rulings_left_out
from bylaw.policy.markdown import CLAUSE
from bylaw.policy.parse import MANIFEST, Document, every_clause, read
from bylaw.policy.precedence import behind
from bylaw.policy.reviews import Review, Reviewed, reviewed
from bylaw.policy.tighter import LAYERS
from bylaw.types import NOWHERE, Clause, Finding, Place, Policy

OVERLAY_DAYS: Final = 90
FROM_MANIFEST: Final = frozenset({"BL101", "BL106", "BL108", "BL302", "BL312", "BL411", "BL501", "BL508"})  # what policy.yaml can settle
CONFIDENCE: Final = 0.05  # chance that a policy below its threshold still shows no failure


def lint(folder: Path, today: date | None = None, against: str = "") -> list[Finding]:
    """Every finding about a policy, in the order of its files; `against` an earlier version, a folder or a git revision, too.

    Raises PolicyError only where there is no such file, folder or revision.
    """
    try:
        document = read(folder)
    except PolicyError as error:
        if not folder.exists():
            raise
        return [unreadable(error)]
    found = [unreadable(fault) for fault in document.faults]
    whole = not any(fault.what.startswith(f"{MANIFEST}:") for fault in document.faults)
    signed = reviewed(folder, document.policy) if whole else Reviewed((), ())
    follows = list(read_findings(document, today, signed.reviews))
    if whole:  # a policy.yaml that was not read names no reviewers, owners and styles: what would follow from that says nothing
        found += [*follows, *signoffs.findings(document.policy, signed)]
    else:
        found += [one for one in follows if one.code not in FROM_MANIFEST]
    if against:
        from bylaw.policy import lint_versions, revisions  # noqa: PLC0415  # git and a second policy, only where asked for

        found += lint_versions.findings(document, revisions.read_at(folder, against), against)
    return sorted(found, key=lambda finding: (finding.place.file, finding.place.line, finding.code))


def read_findings(document: Document, today: date | None = None, reviews: Sequence[Review] = ()) -> Iterator[Finding]:
    """The findings about a policy that was read, without those of the reader, of its sign-offs, and against other versions.

    `reviews` are verified records; without them no overlay loosens anything.
    """
    policy = document.policy
    clauses = every_clause(policy)
    known = {clause.id for clause in clauses}
    for clause in clauses:
        yield from references(policy, clause, known)
        yield from ownership(policy, clause)
        yield from lint_prose.findings(policy, clause)
        yield from lint_drift.findings(policy, clause)
    yield from lint_examples.findings(clauses)
    yield from lint_prose.across(policy.clauses)
    yield from cycles(policy)
    yield from lint_rules.findings(policy, reviews)
    yield from lint_overlays.findings(policy, reviews)
    yield from lint_rules.unheld(policy)
    yield from unused(document)
    yield from unseen(document)
    yield from beneath(document)
    yield from overlays(policy, today) if today else ()


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
    if clause.refs:
        from bylaw.policy.frameworks import doubt  # noqa: PLC0415  # reads a file, which a policy without references does not need

        for ref in clause.refs:
            if found := doubt(ref):
                yield Finding("BL105", found.level, clause.place, f"refs: {found.what}", found.fix, clause.id)


def cycles(policy: Policy) -> Iterator[Finding]:
    """Clauses that go before each other in a circle, where an overlay holds too, and weaker layers that go before stronger ones."""
    orders = {clause.id: clause.overrides for clause in policy.clauses}
    layers = {clause.id: clause.layer for clause in policy.clauses}
    for clause in policy.clauses:
        if clause.id in behind(orders, clause.id):
            yield Finding("BL103", "error", clause.place, "overrides itself in a circle", "Break the circle of `overrides`.", clause.id)
        for other in clause.overrides:
            if other in layers and LAYERS.index(clause.layer) < LAYERS.index(layers[other]):
                what = f"a clause of layer {clause.layer} goes before {other!r}, which is of layer {layers[other]}"
                fix = "A weaker layer may tighten a stronger one, never override it."
                yield Finding("BL104", "error", clause.place, what, fix, clause.id)
    for overlay in policy.overlays:
        there = orders | {clause.id: (*orders.get(clause.id, ()), *clause.overrides) for clause in overlay.clauses}
        for clause in overlay.clauses:
            if any(clause.id in behind(there, other) | {other} for other in clause.overrides) and clause.id not in behind(
                orders, clause.id
            ):
                what = f"overrides itself in a circle where overlay {overlay.name} holds"
                yield Finding("BL103", "error", clause.place, what, "Break the circle of `overrides`.", clause.id)


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
    if is_trimmed(clause, policy.styles):
        fix = "Split the clause; a judge should read all of its norm and of the styles it keeps."
        yield Finding(
            "BL504", "warning", clause.place, "the norm, with its styles, does not fit a judge's card of 600 tokens", fix, clause.id
        )
    elif left_out := rulings_left_out(clause, policy.styles):
        what = f"{left_out} ruling{'s' * (left_out > 1)} for training found no room on a judge's card of 600 tokens"
        fix = "Shorten norm, reasons or rulings, or split the clause; what no judge reads decides nothing."
        yield Finding("BL504", "warning", clause.place, what, fix, clause.id)


def unused(document: Document) -> Iterator[Finding]:
    """Styles, words and lines of the sign-off table that lead to no clause."""
    policy = document.policy
    clauses = every_clause(policy)
    for style in policy.styles:
        if not any(style.id in clause.style for clause in clauses):
            fix = "Name it under `style:` of a clause, or remove it."
            yield Finding("BL108", "warning", _in_manifest(document, style.id), f"no clause keeps the style {style.id!r}", fix)
    prose = "\n".join(_prose(policy, clause) for clause in clauses).casefold()
    for word in policy.glossary:
        others = " ".join(text for other, text in policy.glossary.items() if other != word).casefold()
        if word.casefold() not in prose and word.casefold() not in others:
            what, fix = f"the glossary defines {word!r}, and no clause says it", "Use the word, or remove it."
            yield Finding("BL312", "warning", _in_manifest(document, word), what, fix)
    for line in policy.signoffs:
        if clauses and not any(fnmatchcase(clause.id, line.clauses) for clause in clauses):
            what, fix = f"the sign-off line {line.clauses!r} matches no clause", "Write a pattern over clause ids, such as `money.*`."
            yield Finding("BL508", "warning", _in_manifest(document, line.clauses), what, fix)


def unseen(document: Document) -> Iterator[Finding]:
    """Hidden characters in what stands beside the clauses, and is read with them."""
    policy = document.policy
    beside = {**policy.glossary, **{style.id: f"{style.text}\n{style.pattern}" for style in policy.styles}}
    for name, text in beside.items():
        yield from lint_prose.unseen(f"{name}\n{text}", f"what policy.yaml says of {name!a}", _in_manifest(document, name))
    for overlay in policy.overlays:
        said = "\n".join((overlay.basis, *(one.because for one in overlay.loosens)))
        yield from lint_prose.unseen(said, "the basis or a reason", Place(f"overlays/{overlay.name}/overlay.yaml", 1))


def beneath(document: Document) -> Iterator[Finding]:
    """Sections under a clause that have no id and hold a duty: they look like a part of the clause, and are commentary."""
    for file, parts in () if document.faults else document.parts.items():
        line, above = 1, 0  # the level of the clause that these sections stand under
        for part in parts:
            heading = part.source.lstrip("\ufeff ").partition("\n")[0]
            level = len(heading) - len(heading.lstrip("#"))
            above = level if part.clause else above if level > above else 0
            duty = lint_prose.NORMATIVE.search(part.source)
            if above and not part.clause and duty:
                what = f"a section without an id under a clause says {duty[1]}, and is in force nowhere"
                fix = f"Move it above this heading, or give the heading an id and a `{CLAUSE}` block."
                yield Finding("BL314", "warning", Place(file, line), what, fix)
            line += part.source.count("\n")


def _prose(policy: Policy, clause: Clause) -> str:
    examples = (text for one in clause.examples for text in (one.note, *(turn.text for turn in one.turns), str(one.event or "")))
    styles = (style.text for style in policy.styles if style.id in clause.style)
    return "\n".join((clause.title, clause.norm, clause.rationale, str(clause.extra), *examples, *styles))


def _in_manifest(document: Document, name: str) -> Place:
    """The line of policy.yaml on which a name stands first."""
    lines = document.others[MANIFEST][0].splitlines() if MANIFEST in document.others else []
    return Place(MANIFEST, next((number for number, line in enumerate(lines, 1) if name in line), 1))


def overlays(policy: Policy, today: date) -> Iterator[Finding]:
    """Overlays whose basis nobody has checked lately, or cannot have checked yet."""
    for overlay in policy.overlays:
        age = (today - date.fromisoformat(overlay.checked)).days
        place = Place(f"overlays/{overlay.name}/overlay.yaml", 1)
        if age < 0:
            what = f"the basis was checked on {overlay.checked}, which is still to come"
            yield Finding("BL509", "warning", place, what, "Write the day on which somebody checked it.")
        if age > OVERLAY_DAYS:
            fix = f"Check the basis ({overlay.basis}) and write the new date under `checked:`."
            yield Finding("BL505", "warning", place, f"the basis was last checked {age} days ago", fix)
