"""Lints about run-time rules: conditions, approvals, numbers, and whether a clause's own examples come out as it says."""

import re
from collections.abc import Iterator
from typing import Final

from bylaw.errors import PolicyError
from bylaw.policy.parse import every_clause
from bylaw.types import Clause, Example, Finding, Policy, Rule

_LITERAL: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_IN_PROSE: Final = re.compile(r"\d+(?:[ ,.']\d{3})+(?!\d)|\d+(?:[.,]\d+)?")
_OBVIOUS: Final = frozenset({0.0, 1.0})  # counts and indices that prose need not repeat


def findings(policy: Policy) -> Iterator[Finding]:
    """All findings about a policy's rules. The CEL engine loads only where there is a rule or an event to try."""
    clauses = every_clause(policy)
    broken = False
    for clause in clauses:
        for rule in clause.enforce:
            yield from _approval(clause, rule)
            yield from _numbers(clause, rule)
            if rule.when == "false":
                yield Finding(
                    "BL404", "warning", rule.place, f"rule {rule.id} can never match", "Remove it, or write when it holds.", clause.id
                )
            condition = _condition(policy, clause, rule)
            broken = broken or condition is not None
            yield from [condition] if condition else []
    if not broken and any(example.event is not None for clause in clauses for example in clause.examples):
        yield from _trials(policy)


def _condition(policy: Policy, clause: Clause, rule: Rule) -> Finding | None:
    from bylaw.policy.conditions import Types, check_rule  # noqa: PLC0415  # a policy without rules needs no CEL

    try:
        check_rule(policy, clause, rule, Types())
    except PolicyError as error:
        return Finding("BL401", "error", rule.place, error.what.partition(": ")[2], error.hint, clause.id)
    return None


def _approval(clause: Clause, rule: Rule) -> Iterator[Finding]:
    if rule.effect != "require_approval":
        return
    if not rule.approvers:
        fix = "Write `approvers: [support-lead]`."
        yield Finding("BL402", "error", rule.place, f"rule {rule.id} needs an approval that nobody may give", fix, clause.id)
    if rule.ttl_s is None:
        fix = "Write `ttl: 30m`."
        yield Finding("BL402", "error", rule.place, f"rule {rule.id} needs an approval that never expires", fix, clause.id)


def _numbers(clause: Clause, rule: Rule) -> Iterator[Finding]:
    """A number that decides must stand in the norm, where people read it."""
    written = {number for text in _IN_PROSE.findall(clause.norm) for number in _readings(text)}
    for text in dict.fromkeys(_NUMBER.findall(_LITERAL.sub("", rule.when))):
        if float(text) not in written | _OBVIOUS:
            what = f"rule {rule.id} decides by {text}, which the norm does not mention"
            yield Finding("BL403", "error", rule.place, what, "Make the norm and the condition say the same number.", clause.id)


def _readings(text: str) -> set[float]:
    """What a number in prose can mean: `1,000` is a thousand in one country and one in another."""
    readings = {float(re.sub(r"\D", "", text))}
    decimal = re.fullmatch(r"(\d+)[.,](\d+)", text)
    return readings | ({float(f"{decimal[1]}.{decimal[2]}")} if decimal else set())


def _trials(policy: Policy) -> Iterator[Finding]:
    from bylaw.policy.trial import Trial  # noqa: PLC0415  # a policy without events needs no CEL

    groups = [(Trial(policy), policy.clauses), *((Trial(policy, [one.name]), one.clauses) for one in policy.overlays)]
    for trial, clauses in groups:
        for clause in clauses:
            for example in clause.examples:
                if example.event is not None:
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
