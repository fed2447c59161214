"""One clause in its several uses: an excerpt for training, a card for a judge, rules for the gate, a plan for evaluation.

Token counts are approximate on purpose (four characters a token, rounded up), so that what is compiled never depends on a tokenizer.
Examples marked `split=eval` are never compiled into anything a model or a judge reads.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from bylaw.errors import PolicyError
from bylaw.policy.digest import meaning
from bylaw.policy.show import cited, page, told
from bylaw.types import Clause, Example, Policy, Response, Rule, Severity, Side, StyleRule, Surface

CHARS_PER_TOKEN: Final = 4
CARD_TOKENS: Final = (400, 600)
DEFAULT_BUDGET: Final = 2_000
TRIMMED: Final = " […]"
_WHY_CHARS: Final = 300
_EXAMPLE_CHARS: Final = 400
_SIDE_CHARS: Final = 180  # kept for the first example of each side, before reasons and further examples

RESPONSES: Final[dict[Response, str]] = {
    "comply": "comply: help fully, within the norm",
    "refuse": "refuse: decline clearly, without the forbidden content and without a lecture",
    "safe_complete": "safe_complete: help as far as is safe, leave out what is forbidden, and point to where help is",
    "clarify": "clarify: ask for what is missing before doing anything",
    "abstain": "abstain: say that the answer is not known, and do not guess",
    "escalate": "escalate: hand over to a person, and say so",
}
SEVERITIES: Final[dict[Severity, str]] = {
    "low": "low: a breach is a nuisance",
    "medium": "medium: a breach costs trust or money",
    "high": "high: a breach does serious harm",
    "critical": "critical: a breach does harm that cannot be undone",
}
_HERE: Final = Path(__file__).parent


def approx_tokens(text: str) -> int:
    """About how many tokens a text has: its characters by four, rounded up."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def full_text(clause: Clause) -> str:
    """A clause as a model reads it in full, with the rulings on its ambiguous cases."""
    lines = [f"## [{clause.id}] {clause.title}", f"Response: {clause.response}. Severity: {clause.severity}.", clause.norm]
    lines.append(f"Why: {clause.rationale}" if clause.rationale else "")
    for example in clause.examples:
        if example.ruling and example.split == "train":
            lines.append(f"{cited(example.ruling, example.side)}\n{told(example)}")
    return "\n".join(line for line in lines if line)


def one_line(clause: Clause) -> str:
    """A clause as a model reads it in short."""
    return f"- [{clause.id}] {clause.title} ({clause.response})"


def excerpt(policy: Policy, clause_ids: Sequence[str], budget: int) -> str:
    """The policy for one category: its clauses in full, the others in a line each while `budget` tokens last.

    Raises PolicyError where the full texts alone do not fit, or an id names no clause.
    """
    named = set(clause_ids)
    unknown = sorted(named - {clause.id for clause in policy.clauses})
    if unknown:
        raise PolicyError(f"no clause {unknown[0]!r} in policy {policy.id}", "`bylaw policy show` lists the clause ids.")
    full = [full_text(clause) for clause in policy.clauses if clause.id in named]
    others = [one_line(clause) for clause in policy.clauses if clause.id not in named]
    text = "\n\n".join([f"# Policy {policy.id} {policy.version}", *full])
    if approx_tokens(text) > budget:
        what = f"context too short for the excerpt: its clauses need {approx_tokens(text)} tokens, the budget is {budget}"
        raise PolicyError(what, "Raise the budget, use a model with a longer context, or name fewer clauses.")
    return text + _in_short(others, budget * CHARS_PER_TOKEN - len(text))


def _in_short(lines: Sequence[str], room: int) -> str:
    """As many lines as fit into `room` characters, under their heading, and how many are left; nothing where not even that fits."""
    above = "\n\n## The other clauses, in short"
    every = "".join(f"\n{line}" for line in lines)
    if not lines or len(above) + len(every) <= room:
        return above + every if lines else ""
    tail = f"\n- and {len(lines)} more"
    shown, used = 0, len(above) + len(tail)
    while used + len(lines[shown]) + 1 <= room:
        used += len(lines[shown]) + 1
        shown += 1
    if used > room:
        return ""
    return above + "".join(f"\n{line}" for line in lines[:shown]) + f"\n- and {len(lines) - shown} more"


def card(clause: Clause, styles: Sequence[StyleRule] = ()) -> str:
    """What a judge reads about one clause, always 400 to 600 tokens: short clauses get more guidance, long ones are trimmed.

    `styles` are the policy's; those that the clause keeps are shown. The norm and its styles come first; then both sides of the
    examples, each with room of its own; then what else fits.
    """
    low, high = (tokens * CHARS_PER_TOKEN for tokens in CARD_TOKENS)
    head = f"# Clause [{clause.id}] {_trim(clause.title, 120)}\n"
    head += f"Expected response: {RESPONSES[clause.response]}.\nSeverity: {SEVERITIES[clause.severity]}.\n"
    judging = "\n" + (_HERE / "card_judging.md").read_text("utf-8")
    left = high - len(head) - len(judging)
    norm = _section("Norm", clause.norm or clause.title, left)
    style = _section("Style: a miss costs points, and breaks no MUST", _style_lines(clause, styles), left - len(norm))
    left -= len(norm) + len(style)
    examples = _telling(clause)
    why = _section("Why", clause.rationale, min(left - _SIDE_CHARS * len(_sides(examples)), _WHY_CHARS))
    text = head + norm + style + why + judging + _shown(examples, left - len(why))
    for piece in (_HERE / "card_scale.md").read_text("utf-8").split("\n\n"):
        text += f"\n{piece}\n" if len(text) < low else ""
    return _trim(text.rstrip("\n"), high)


def _style_lines(clause: Clause, styles: Sequence[StyleRule]) -> str:
    return "\n".join(f"- {style.id}: {style.text}" for style in styles if style.id in clause.style)


def _telling(clause: Clause) -> list[Example]:
    """The examples a judge may see, the most telling first: one of each side, then the others; rulings before dialogues before events."""
    trained = [example for example in clause.examples if example.split == "train"]
    ranked = sorted(trained, key=lambda one: (one.ruling is None, one.event is not None))  # stable: else as in the file
    first = [next(one for one in ranked if one.side == side) for side in _sides(ranked)]
    return first + [one for one in ranked if not any(one is other for other in first)]


def _sides(examples: Sequence[Example]) -> list[Side]:
    return list(dict.fromkeys(example.side for example in examples))


def _decided(example: Example) -> str:
    """Who decided an example, when and why; empty where it is no ruling."""
    return f", decided by {example.ruling.by} on {example.ruling.on}: {example.ruling.why}" if example.ruling else ""


def _shown(examples: Sequence[Example], room: int) -> str:
    """The examples that fit; the first of one side leaves room for the first of the other."""
    text, firsts, seen = "", len(_sides(examples)), set[int]()
    for at in (*range(len(examples)), *range(firsts)):  # what gave way to the other side gets the room that is left in the end
        example = examples[at]
        ruling = _decided(example)
        left = room - len(text)
        kept = min(_SIDE_CHARS, left // 2) if not seen and at + 1 < firsts else 0
        section = _section(f"A {example.side} example{ruling}", told(example), min(left - kept, _EXAMPLE_CHARS + len(ruling)))
        if section and at not in seen:  # a heading, who decided and why included, is never cut
            text += section
            seen.add(at)
    return text


def rulings_left_out(clause: Clause, styles: Sequence[StyleRule] = ()) -> int:
    """How many rulings for training found no room on the card."""
    text = card(clause, styles)
    return sum(example.split == "train" and bool(example.ruling) and _decided(example) not in text for example in clause.examples)


def is_trimmed(clause: Clause, styles: Sequence[StyleRule] = ()) -> bool:
    """Whether the card had to leave out a part of the norm, or of the styles that the clause keeps."""
    text = card(clause, styles)
    return (bool(clause.norm) and clause.norm not in text) or _style_lines(clause, styles) not in text


def _section(title: str, content: str, room: int) -> str:
    """A titled section of at most `room` characters; nothing where even its beginning does not fit."""
    above = f"\n## {title}\n"
    if not content or room < len(above) + 40:
        return ""
    return above + _trim(content, room - len(above) - 1) + "\n"


def _trim(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - len(TRIMMED)] + TRIMMED


class ClauseRule(NamedTuple):
    """A rule and the clause it belongs to."""

    clause: str
    rule: Rule

    @property
    def name(self) -> str:
        """The rule's full name, as decisions record it."""
        return f"{self.clause}/{self.rule.id}"


def rules_by(policy: Policy) -> dict[tuple[Surface, str], tuple[ClauseRule, ...]]:
    """Every rule by surface and tool; under the tool `""` those that hold for any. Overlays join through `effective.resolve` only."""
    found: dict[tuple[Surface, str], list[ClauseRule]] = {}
    for clause in policy.clauses:
        for rule in clause.enforce:
            for surface in rule.on:
                for tool in rule.tools or ("",):
                    found.setdefault((surface, tool), []).append(ClauseRule(clause.id, rule))
    return {key: tuple(rules) for key, rules in found.items()}


def compile_policy(policy: Policy, clause_id: str = "", budget: int | None = None) -> dict[str, Any]:
    """Everything that follows from a policy, or from one of its clauses, as JSON values."""
    chosen = [clause for clause in policy.clauses if not clause_id or clause.id == clause_id]
    return {
        "policy": policy.id,
        "version": policy.version,
        "digest": policy.digest,
        "clauses": [compile_clause(policy, clause, budget) for clause in chosen],
    }


def compile_clause(policy: Policy, clause: Clause, budget: int | None = None) -> dict[str, Any]:
    """Everything that follows from one clause, as JSON values; without a budget its excerpt is as long as it needs to be."""
    room = max(DEFAULT_BUDGET, approx_tokens(full_text(clause)) + 100) if budget is None else budget
    return {
        "id": clause.id,
        "excerpt": excerpt(policy, [clause.id], room),
        "card": card(clause, policy.styles),
        "rules": [{**meaning(rule), "name": ClauseRule(clause.id, rule).name} for rule in clause.enforce],
        "eval": meaning(clause.eval) if clause.eval else None,
        "page": page(clause),
    }


def printed(compiled: dict[str, Any], target: Literal["excerpt", "card", "rules", "all"]) -> str:
    """What was compiled, as text for people."""
    targets = ("excerpt", "card", "rules") if target == "all" else (target,)
    blocks = []
    for clause in compiled["clauses"]:
        for name in targets:
            value = clause[name]
            text = value if isinstance(value, str) else "\n".join(json.dumps(row, ensure_ascii=False) for row in value) or "none"
            tokens = f", about {approx_tokens(value)} tokens" if isinstance(value, str) else ""
            blocks.append(f"---- {clause['id']}: {name}{tokens}\n{text}")
    return "\n\n".join(blocks)
