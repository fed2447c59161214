"""Lints about what a clause says in words: its norm, its reasons, its examples."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from bylaw.types import Clause, Finding, Policy

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
# Characters that show nothing, or reorder what is shown: a reviewer would not see what a model reads.
HIDDEN: Final = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")

Report = Callable[[str, str, str, str], Finding]


def findings(policy: Policy, clause: Clause) -> Iterator[Finding]:
    """All findings about one clause's words."""

    def report(code: str, level: str, what: str, fix: str) -> Finding:
        return Finding(code, "error" if level == "error" else "warning", clause.place, what, fix, clause.id)

    yield from _norm(policy, clause, report)
    yield from _verbs(clause, report)
    yield from _examples(clause)
    texts = [clause.title, clause.norm, clause.rationale, *(turn.text for one in clause.examples for turn in one.turns)]
    hidden = HIDDEN.search("\n".join(texts))
    if hidden:
        yield report("BL305", "error", f"a hidden character U+{ord(hidden[0]):04X} in the text", "Delete it; reviewers cannot see it.")


def _norm(policy: Policy, clause: Clause, report: Report) -> Iterator[Finding]:
    if not NORMATIVE.search(clause.norm):
        yield report("BL301", "error", "the norm has no MUST, MUST NOT, SHOULD or MAY", "Say in capitals what is required.")
    for word in dict.fromkeys(match[1].lower() for match in VAGUE.finditer(clause.norm)):
        if word not in {term.lower() for term in policy.glossary}:
            yield report("BL302", "warning", f"vague word {word!r} in the norm", "Say what exactly, or define the word in the glossary.")
    promise = PROMISE.search(clause.norm)
    if promise:
        yield report("BL303", "warning", f"a promise that no test can prove: {promise[1]!r}", "Say what the model does, not how well.")
    if not clause.rationale:
        yield report("BL304", "warning", "no rationale", "Add `> **Rationale.**` and why: models and people apply what they understand.")


def _verbs(clause: Clause, report: Report) -> Iterator[Finding]:
    """Norm and block must not drift apart: MUST NOT against `comply` and `allow`, and the other way round."""
    forbids, demands = FORBIDS.search(clause.norm), DEMANDS.search(clause.norm)
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


def _examples(clause: Clause) -> Iterator[Finding]:
    for side in ("bad", "good"):
        if not any(example.side == side for example in clause.examples):
            fix = f"Add `**{side.capitalize()}** {{split=train}}` with a dialogue or an event."
            yield Finding("BL201", "warning", clause.place, f"no {side} example", fix, clause.id)
    trained = {_request(one.turns) for one in clause.examples if one.split == "train"}
    for example in clause.examples:
        if example.turns and example.turns[-1].role != "assistant":
            what, fix = "a dialogue that does not end with an answer", "End it with an `assistant:` line."
            yield Finding("BL202", "error", example.place, what, fix, clause.id)
        if example.split == "eval" and example.turns and _request(example.turns) in trained:
            what, fix = "an eval example asks what a train example asks", "Reword one, or move it to the other split."
            yield Finding("BL203", "error", example.place, what, fix, clause.id)


def _request(turns: tuple[object, ...]) -> str:
    """The user's side of a dialogue, without case and punctuation."""
    said = " ".join(getattr(turn, "text", "") for turn in turns if getattr(turn, "role", "") == "user")
    return " ".join(re.findall(r"\w+", said.lower()))
