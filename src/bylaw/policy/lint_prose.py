"""Lints about what a clause says in words: its norm and its reasons. Words are compared, nothing is understood."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from bylaw.policy.joining import running
from bylaw.types import Clause, Example, Finding, Place, Policy

# A word of two alphabets: one of its letters only looks like the other kind, and a search or a judge reads another word.
MIXED: Final = re.compile(r"\b(?=\w*[A-Za-z])\w*[\u0370-\u03ff\u0400-\u052f]\w*")
NORMATIVE: Final = re.compile(r"\b(MUST|SHOULD|MAY)\b")
FORBIDS: Final = re.compile(r"\b(MUST|SHOULD|MAY) NOT\b")
DEMANDS: Final = re.compile(r"\b(MUST|SHOULD|MAY)\b(?! NOT\b)")
REFUSES: Final = re.compile(r"\b(refuse|decline|NOT)\b", re.IGNORECASE)
VAGUE: Final = re.compile(
    r"\b(appropriate(?:ly)?|reasonabl[ey]|generally|usually|normally|significant(?:ly)?|adequate(?:ly)?|suitabl[ey]|etc|"
    r"as needed|if possible|where possible|best effort|sensitive|excessive(?:ly)?|timely|sufficient(?:ly)?)\b",
    re.IGNORECASE,
)
PROMISE: Final = re.compile(r"\b(always safe|never fails|ensures?|guarantees?|100 ?%)", re.IGNORECASE)
# Characters that show nothing, or reorder what is shown: a reviewer would not see what a model reads. Two may stand: how an emoji looks.
HIDDEN: Final = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffb"
    r"\U000e0000-\U000e0fff]"
)

# Words that may speak of an approval; wide, since only their absence is reported.
APPROVES: Final = re.compile(
    r"approv|confirm|authori[sz]|sign(ed|s|ature)?\b|consent|permi(ssion|t)|human|person|people|colleague|officer|review|releas|"
    r"second pair|four eyes|\bask|decid|check",
    re.IGNORECASE,
)
# GitHub strikes out what stands between two or four of these marks; `code` is left alone.
STRUCK: Final = re.compile(r"(?<![~\w])(~{1,2})(?=[^\s~])([^~]{0,2000})(?<=[^\s~])\1(?![~\w])")
CODE: Final = re.compile(r"`[^`]*`")
DUTY: Final = re.compile(r"\b(MUST|SHALL|SHOULD)\b")
SENTENCE: Final = re.compile(r"(?<=[.!?;:])\s+|\n\s*\n|\n\s*(?:[-*+\u2022]|\d{1,3}[.)])\s")
MAX_DUTIES: Final = 2  # in one sentence: `MUST say that it waits and MUST NOT promise` can still be judged as one

Report = Callable[[str, str, str, str], Finding]


def findings(policy: Policy, clause: Clause) -> Iterator[Finding]:
    """All findings about one clause's words."""

    def report(code: str, level: str, what: str, fix: str) -> Finding:
        return Finding(code, "error" if level == "error" else "warning", clause.place, what, fix, clause.id)

    yield from _norm(policy, clause, report)
    yield from _verbs(clause, report)
    struck = STRUCK.search(CODE.sub("", f"{clause.title}\n\n{clause.norm}\n\n{clause.rationale}"))
    if struck:
        yield report("BL313", "error", f"{struck[2][:40]!r} is struck out, and still holds", "Delete it, or write it without the ~ marks.")
    texts = [
        clause.title,
        *(rule.when for rule in clause.enforce),
        clause.norm,
        clause.rationale,
        *(text for one in clause.examples for text in _shown(one)),
    ]
    mixed = MIXED.search("\n".join((clause.title, clause.norm, clause.rationale)))
    if mixed:
        letter = next(char for char in mixed[0] if "\u0370" <= char <= "\u052f")
        what = f"the letter U+{ord(letter):04X} in {mixed[0][:40]!r} only looks like a Latin one"
        yield report("BL305", "error", what, "Type the word again; a reader sees one word, a model another.")
    yield from unseen("\n".join(texts), "the text", clause.place, clause.id)


def unseen(text: str, where: str, place: Place, clause_id: str = "") -> Iterator[Finding]:
    """The first character of a text that reviewers cannot see."""
    hidden = HIDDEN.search(text)
    if hidden:
        what = f"a hidden character U+{ord(hidden[0]):04X} in {where}"
        yield Finding("BL305", "error", place, what, "Delete it; reviewers cannot see it.", clause_id)


def _shown(example: Example) -> Iterator[str]:
    """What a model or a judge reads of an example, but for events: their JSON may show such characters as an attack has them, escaped."""
    yield from (example.note, *(turn.text for turn in example.turns))
    if example.ruling:
        yield from (example.ruling.by, example.ruling.why)


def _norm(policy: Policy, clause: Clause, report: Report) -> Iterator[Finding]:
    if not NORMATIVE.search(clause.norm):
        yield report("BL301", "error", "the norm has no MUST, MUST NOT, SHOULD or MAY", "Say in capitals what is required.")
    plain = " ".join(HIDDEN.sub("", clause.norm).split())
    for word in dict.fromkeys(match[1].lower() for match in VAGUE.finditer(plain)):
        if word not in {term.lower() for term in policy.glossary}:
            level = "error" if clause.severity in ("high", "critical") else "warning"
            yield report("BL302", level, f"vague word {word!r} in the norm", "Say what exactly, or define the word in the glossary.")
    for sentence in SENTENCE.split(clause.norm):
        duties = len(re.findall(r"\bMUST\b", sentence))
        if duties > MAX_DUTIES:
            what = f"{duties} times MUST in one sentence: {' '.join(sentence.split())[:60]!r}"
            yield report("BL307", "warning", what, "Write a sentence for each duty; a judge should say which one was broken.")
    promise = PROMISE.search(clause.norm)
    if promise:
        yield report("BL303", "warning", f"a promise that no test can prove: {promise[1]!r}", "Say what the model does, not how well.")
    duty = DUTY.search(clause.rationale)
    if duty:
        yield report("BL311", "warning", f"the rationale says {duty[1]}", "Move the duty to the norm; a rationale only says why.")
    if not clause.rationale:
        yield report("BL304", "warning", "no rationale", "Add `> **Rationale.**` and why: models and people apply what they understand.")


def _verbs(clause: Clause, report: Report) -> Iterator[Finding]:
    """Norm and block must not drift apart: MUST NOT against `comply` and `allow`, and the other way round."""
    norm = running(clause.norm)
    forbids, demands = FORBIDS.search(norm), DEMANDS.search(norm)
    if clause.response == "comply" and forbids and not demands and not clause.enforce:
        fix = "Write `response: refuse` or `safe_complete`, or say what the model MUST do."
        yield report("BL306", "error", "the norm only forbids, the block says `response: comply`", fix)
    if clause.response == "refuse" and clause.norm and not REFUSES.search(clause.norm):
        yield report("BL306", "error", "the block says `response: refuse`, the norm forbids nothing", "Say what the model MUST NOT do.")
    for rule in clause.enforce:
        if rule.effect == "allow" and forbids and not demands:
            yield report("BL306", "error", f"rule {rule.id} says `then: allow`, the norm only forbids", "Change the rule or the norm.")
        if rule.effect == "block" and clause.norm and not REFUSES.search(clause.norm):
            yield report("BL306", "error", f"rule {rule.id} says `then: block`, the norm forbids nothing", "Say what MUST NOT happen.")
        if rule.effect == "require_approval" and clause.norm and not APPROVES.search(clause.norm):
            fix = "Say in the norm who must approve, or change the rule."
            yield report("BL306", "error", f"rule {rule.id} says `then: require_approval`, the norm speaks of no approval", fix)


def across(clauses: tuple[Clause, ...]) -> Iterator[Finding]:
    """Findings about the words of all clauses together: norms that stand twice."""
    seen: dict[str, Clause] = {}
    for clause in clauses:
        norm = " ".join(clause.norm.casefold().split())
        if len(norm.split()) >= 5 and norm in seen:
            fix = "Join the two clauses, or say in each what the other does not."
            yield Finding("BL310", "warning", clause.place, f"the norm is that of {seen[norm].id!r}, word for word", fix, clause.id)
        seen.setdefault(norm, clause)
