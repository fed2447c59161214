"""Lints about run-time rules: conditions, approvals, and whether a clause's own examples come out as it says."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Final

from bylaw.errors import PolicyError
from bylaw.policy.effective import Scope, resolve
from bylaw.policy.parse import every_clause
from bylaw.policy.reviews import Review
from bylaw.types import Clause, Example, Finding, Place, Policy, Rule

UNTRUSTED: Final = "untrusted-text"  # the one label that bylaw itself puts on a session; the others are an application's own
_AMONG: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s+in\s+session\.(taint|calls)\b""")

UNHELD: Final = ("allOf", "anyOf", "oneOf", "not", "if", "$ref", "patternProperties", "dependentRequired")


def findings(policy: Policy, reviews: Sequence[Review] = ()) -> Iterator[Finding]:
    """All findings about a policy's rules. The CEL engine loads only where there is a rule or an event to try.

    `reviews` are verified records: an overlay's examples are tried on what holds where it applies, signed loosenings included.
    """
    clauses = every_clause(policy)
    broken = False
    for clause in clauses:
        for rule in clause.enforce:
            yield from _approval(clause, rule)
            yield from _redaction(clause, rule)
            if rule.when == "false":
                yield Finding(
                    "BL404", "warning", rule.place, f"rule {rule.id} can never match", "Remove it, or write when it holds.", clause.id
                )
            conditions = [one for one in (_condition(policy, clause, rule), *_among(policy, clause, rule)) if one]
            broken = broken or bool(conditions)
            yield from conditions
    if broken:
        return  # what a condition means is only asked where all can be meant
    if any(clause.enforce for clause in clauses):
        from bylaw.policy import conflicts  # noqa: PLC0415  # needs the CEL engine

        yield from conflicts.findings(policy)
    if any(example.event is not None for clause in clauses for example in clause.examples):
        yield from _trials(policy, reviews)


def _condition(policy: Policy, clause: Clause, rule: Rule) -> Finding | None:
    from bylaw.policy.conditions import Types, check_rule  # noqa: PLC0415  # a policy without rules needs no CEL

    try:
        check_rule(policy, clause, rule, Types())
    except PolicyError as error:
        return Finding("BL401", "error", rule.place, error.what.partition(": ")[2], error.hint, clause.id)
    return None


def _among(policy: Policy, clause: Clause, rule: Rule) -> Iterator[Finding]:
    """Labels and tools that no session will ever have: a rule that waits for them looks like protection, and is none."""
    tools = {*policy.tools, *(tool for one in every_clause(policy) for each in one.enforce for tool in each.tools)}
    for literal, where in _AMONG.findall(rule.when):
        word = literal[1:-1]
        if where == "taint" and word != UNTRUSTED and get_close_matches(word, [UNTRUSTED]):
            what, fix = f"rule {rule.id} waits for the taint {word!r}, which nothing sets", f"Did you mean {UNTRUSTED!r}?"
        elif where == "calls" and policy.tools and word not in tools:
            what, near = f"rule {rule.id} waits for a call of {word!r}, which is no tool of this policy", get_close_matches(word, tools)
            fix = f"Did you mean {near[0]!r}?" if near else f"Give it a schema, tools/{word}.json, or take it out of the condition."
        else:
            continue
        yield Finding("BL401", "error", rule.place, what, fix, clause.id)


def _approval(clause: Clause, rule: Rule) -> Iterator[Finding]:
    if rule.effect != "require_approval":
        return
    if not rule.approvers:
        fix = "Write `approvers: [support-lead]`."
        yield Finding("BL402", "error", rule.place, f"rule {rule.id} needs an approval that nobody may give", fix, clause.id)
    if rule.ttl_s is None:
        fix = "Write `ttl: 30m`."
        yield Finding("BL402", "error", rule.place, f"rule {rule.id} needs an approval that never expires", fix, clause.id)


def _redaction(clause: Clause, rule: Rule) -> Iterator[Finding]:
    if rule.effect == "redact" and not rule.detect:
        fix = "Write `detect: [pii.card]`, or whichever rail finds what must go; or `then: revise`."
        yield Finding("BL412", "warning", rule.place, f"rule {rule.id} redacts, and no detector says what", fix, clause.id)


def _trials(policy: Policy, reviews: Sequence[Review]) -> Iterator[Finding]:
    """Each example of an event on the rules that hold where it stands: an overlay's on those of its place, once it is in force."""
    from bylaw.policy.trial import Trial  # noqa: PLC0415  # a policy without events needs no CEL

    for overlay in (None, *policy.overlays):
        placed = [(clause, example) for clause in (overlay or policy).clauses for example in clause.examples if example.event is not None]
        if placed:
            there = resolve(policy, Scope(overlays=(overlay.name,)), date.max, reviews).policy if overlay else policy
            trial = Trial(there)
            for clause, example in placed:
                yield from _tried(trial.effect(example), clause, example)


def _tried(effect: str, clause: Clause, example: Example) -> Iterator[Finding]:
    expected = example.expect
    if example.side == "bad" and effect == "allow":
        fix = "Change the rule until this event is caught (give the event a `found` list where a rule has `detect`)."
        yield Finding("BL204", "error", example.place, "the rules let this bad example through", fix, clause.id)
    elif example.side == "good" and effect != (expected or "allow"):
        what = f"the rules answer {effect} to this good example"
        yield Finding("BL205", "error", example.place, what, "Narrow the rule; a condition that cannot be decided blocks.", clause.id)
    elif expected and effect != expected:
        fix = "Change `then:` or the example's `expect`; a condition that cannot be decided blocks."
        yield Finding("BL204", "error", example.place, f"the example expects {expected}, the rules answer {effect}", fix, clause.id)


def unheld(policy: Policy) -> Iterator[Finding]:
    """Tools whose arguments a schema restricts in words that no call is held to (`govern.reading` says which ones count)."""
    for tool, schema in policy.tools.items():
        if said := [word for word in UNHELD if word in schema]:
            what = f"the schema of {tool} says {', '.join(said)} at its top, and no call is held to that"
            fix = "Write the arguments under `properties`, with a `type` each, and what must be there under `required`."
            yield Finding("BL413", "error", Place(f"tools/{tool}.json", 1), what, fix)
