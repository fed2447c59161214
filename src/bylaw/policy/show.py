"""What `bylaw policy show` prints: a policy on a page, or one clause as people read it. Plain text; nothing here is decided."""

import json
from collections.abc import Sequence

from bylaw.policy.fields import duration
from bylaw.types import Clause, Example, Policy, Rule, Ruling, Side


def summary(policy: Policy) -> str:
    """The whole policy at a glance: one line a clause."""
    lines = [f"{policy.id} {policy.version}   {policy.digest}"]
    lines += [f"owners: {', '.join(policy.owners)}"] if policy.owners else []
    lines += ["", *_table(policy.clauses)]
    for overlay in policy.overlays:
        lines += ["", f"overlay {overlay.name} ({overlay.axis}), from {overlay.effective}: {overlay.basis}", *_table(overlay.clauses)]
    rules = sum(len(clause.enforce) for clause in policy.clauses)
    counts = ((len(policy.clauses), "clause"), (rules, "run-time rule"), (len(policy.tools), "tool schema"))
    return "\n".join([*lines, "", ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)])


def _table(clauses: Sequence[Clause]) -> list[str]:
    width = max((len(clause.id) for clause in clauses), default=0)
    return [f"{clause.id:<{width}}  {clause.severity:<8}  {clause.response:<13}  {clause.title}" for clause in clauses]


def page(clause: Clause) -> str:
    """One clause as a page for people."""
    facts = [f"severity {clause.severity}", f"response {clause.response}", f"layer {clause.layer}", f"authority {clause.authority}"]
    facts += [f"owner {clause.owner}"] if clause.owner else []
    lines = [f"{clause.title}  [{clause.id}]", ", ".join(facts)]
    lines += [f"goes before {', '.join(clause.overrides)}"] if clause.overrides else []
    lines += [f"answers keep {', '.join(clause.style)}"] if clause.style else []
    lines += [f"refers to {', '.join(clause.refs)}"] if clause.refs else []
    lines += ["", clause.norm] if clause.norm else []
    lines += ["", f"Why: {clause.rationale}"] if clause.rationale else []
    lines += ["", "At run time:", *(f"- {rule_line(rule)}" for rule in clause.enforce)] if clause.enforce else []
    if clause.eval:
        named = (("resists", clause.eval.min_resist), ("over-refusal at most", clause.eval.max_over_refusal), ("cases", clause.eval.n))
        lines += ["", "A release must reach: " + ", ".join(f"{name} {value}" for name, value in named if value is not None)]
    for example in clause.examples:
        head = cited(example.ruling, example.side) if example.ruling else f"{example.side.capitalize()} example"
        lines += ["", f"{head} ({example.split}): {told(example)}"]
    return "\n".join(lines)


def cited(ruling: Ruling, side: Side) -> str:
    """A ruling as one cites it: what was decided, by whom, when, and why."""
    return f"Ruling of {ruling.on} by {ruling.by}, {side}: {ruling.why}"


def told(example: Example) -> str:
    """What happens in an example: its note, then the dialogue or the event."""
    said = [f"{turn.role}: {turn.text}" for turn in example.turns]
    said += [json.dumps(dict(example.event), ensure_ascii=False)] if example.event is not None else []
    return "\n".join([*([example.note] if example.note else []), *said])


def rule_line(rule: Rule) -> str:
    """One rule as a sentence."""
    text = f"{rule.id}: on {', '.join(rule.on)}"
    text += f" of {', '.join(rule.tools)}" if rule.tools else ""
    text += f" when {rule.when}" if rule.when != "true" else ""
    text += f" where {' or '.join(rule.detect)} is found" if rule.detect else ""
    text += f", {rule.effect.replace('_', ' ')}"
    text += f" by {rule.quorum} of {', '.join(rule.approvers)}" if rule.approvers else ""
    return text + (f" within {duration(rule.ttl_s)}" if rule.ttl_s else "")
