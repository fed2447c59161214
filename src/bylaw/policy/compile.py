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
from bylaw.types import Clause, Policy, Response, Rule, Severity, Surface

CHARS_PER_TOKEN: Final = 4
CARD_TOKENS: Final = (400, 600)
DEFAULT_BUDGET: Final = 2_000
TRIMMED: Final = " […]"

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


def card(clause: Clause) -> str:
    """What a judge reads about one clause, always 400 to 600 tokens: short clauses get more guidance, long ones are trimmed."""
    low, high = (tokens * CHARS_PER_TOKEN for tokens in CARD_TOKENS)
    head = f"# Clause [{clause.id}] {_trim(clause.title, 120)}\n"
    head += f"Expected response: {RESPONSES[clause.response]}.\nSeverity: {SEVERITIES[clause.severity]}.\n"
    judging = "\n" + (_HERE / "card_judging.md").read_text("utf-8")
    left = high - len(head) - len(judging)
    norm = _section("Norm", clause.norm or clause.title, left)
    left -= len(norm)
    why = _section("Why", clause.rationale, min(left, 300))
    left -= len(why)
    shown = ""
    for example in clause.examples:
        if example.split == "train":
            ruling = f", decided by {example.ruling.by} on {example.ruling.on}: {example.ruling.why}" if example.ruling else ""
            room = 400 + len(ruling)  # who decided, and why, is never what is cut
            shown += _section(f"A {example.side} example{ruling}", told(example), min(left - len(shown), room))
    text = head + norm + why + judging + shown
    for piece in (_HERE / "card_scale.md").read_text("utf-8").split("\n\n"):
        text += f"\n{piece}\n" if len(text) < low else ""
    return _trim(text.rstrip("\n"), high)


def is_trimmed(clause: Clause) -> bool:
    """Whether the card had to leave out a part of the norm."""
    return bool(clause.norm) and clause.norm not in card(clause)


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
        "card": card(clause),
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
