"""The engine again, slow and literal: every rule of every clause is looked at, and every step is written out.

It reads values with `policy.conditions.activation` and checks a call against its schema by itself, so that the quick reader is compared
with something it does not share.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from bylaw.policy.conditions import When, activation
from bylaw.types import Event, Hit, Policy, Rule, Surface

STRENGTH = ["allow", "redact", "revise", "require_approval", "block", "stop"]


def expected(
    event: Event, policy: Policy, found: Mapping[str, Sequence[Hit]], failed: Collection[str], stops: Collection[str]
) -> tuple[str, set[str], set[str]]:
    """The effect, the rules that matched, and the rules that could not be decided."""
    if event.surface not in get_args(Surface) or (event.surface == "tool_call" and event.tool == ""):
        return ("stop" if stops else "block"), set(), {"event"}
    effects: list[str] = []
    matched: set[str] = set()
    undecided: set[str] = set()
    readable = is_readable(event, policy)
    for clause in policy.clauses:
        for rule in clause.enforce:
            if event.surface not in rule.on or (rule.tools and event.tool not in rule.tools):
                continue
            answer = matches(rule, event, policy, found, failed, readable)
            if answer == "true":
                matched.add(f"{clause.id}/{rule.id}")
                vague = rule.effect == "redact" and not rule.detect and event.surface == "tool_call"
                effects.append("block" if vague else rule.effect)
            elif answer == "undecidable":
                undecided.add(f"{clause.id}/{rule.id}")
                effects.append("block")
    if not readable:
        effects.append("block")
        undecided = undecided or {"event"}
    if event.surface == "tool_call" and not is_listed(event.tool, policy):
        effects.append("require_approval")
    if stops:
        effects.append("stop")
    return max(effects, key=STRENGTH.index, default="allow"), matched, undecided


def is_listed(tool: str, policy: Policy) -> bool:
    return tool in policy.tools or any(tool in rule.tools for clause in policy.clauses for rule in clause.enforce)


def matches(rule: Rule, event: Event, policy: Policy, found: Mapping[str, Sequence[Hit]], failed: Collection[str], readable: bool) -> str:
    """Both halves of a rule: what its rails found, and whether its condition holds. False beats undecidable beats true."""
    halves = ["true"]
    if rule.detect:
        answers = [rail_says(rail, event, found, failed) for rail in rule.detect]
        if rule.effect == "redact" and "undecidable" in answers:
            halves.append("undecidable")
        elif "true" in answers:
            halves.append("true")
        else:
            halves.append("undecidable" if "undecidable" in answers else "false")
    if not readable:
        halves.append("undecidable")
    else:
        schema = policy.tools.get(event.tool)
        halves.append(When(rule.when, schema if event.tool in rule.tools else None).decide_on(activation(event, schema)))
    if "false" in halves:
        return "false"
    return "undecidable" if "undecidable" in halves else "true"


def rail_says(rail: str, event: Event, found: Mapping[str, Sequence[Hit]], failed: Collection[str]) -> str:
    if rail in failed or rail not in found:
        return "undecidable"
    end = 10**9 if event.args else len(event.text)
    if any(0 <= hit.start <= hit.end <= end for hit in found[rail]):
        return "true"
    return "undecidable" if found[rail] else "false"


def is_readable(event: Event, policy: Policy) -> bool:
    schema = policy.tools.get(event.tool)
    if not isinstance(event.text, str) or activation(event, schema) is None:
        return False
    if any(not isinstance(event.session.get(key, []), list | tuple) for key in ("taint", "calls")):
        return False
    if not isinstance(event.principal.get("roles", []), list | tuple) or not isinstance(event.session.get("sums", {}), dict):
        return False
    return event.surface != "tool_call" or schema is None or fits(event.args, schema)


def fits(args: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """A call's flat arguments against its tool's schema, as a closed form."""
    known = schema.get("properties", {})
    if any(name not in args for name in schema.get("required", [])):
        return False
    open_form = schema.get("additionalProperties") not in (None, False)
    return open_form or not known or all(name in known for name in args)
