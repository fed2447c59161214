"""One clause from its section: the `yaml clause` block by its keys, the rest by its form."""

import re
from typing import Any, Final

from bylaw.policy.fields import Fields, as_choice, as_list, as_text, shown, where
from bylaw.policy.markdown import Section, body
from bylaw.policy.notation import Node, plain, read_yaml, wrong
from bylaw.types import Authority, Clause, Effect, EvalPlan, Layer, Place, Response, Rule, Severity, Surface

CLAUSE_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+")
RULE_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TOOL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
REF: Final = re.compile(r"[a-z0-9][a-z0-9-]*:[A-Za-z0-9][A-Za-z0-9._-]*")
MAX_ID_CHARS: Final = 100
MAX_EVAL_N: Final = 1_000_000
MAX_QUORUM: Final = 20
KEYS: Final = "severity response owner layer authority style overrides requires enforce eval refs"
RULE_KEYS: Final = "rule on tool when detect then approvers quorum ttl"


def read_clause(section: Section) -> Clause | None:
    """The clause a section states; None where it is commentary."""
    block = section.block
    if block is None:
        return None
    _check_heading(section)
    first = block.lines[0].place if block.lines else block.place
    fields = Fields(read_yaml("\n".join(line.text for line in block.lines), first), f"clause {section.anchor}", "severity: high", KEYS)
    prose = body(section)
    fields.need("severity", "Write `severity: high`; one of low, medium, high, critical.")
    fields.need("response", "Write `response: comply`; one of comply, refuse, safe_complete, clarify, abstain, escalate.")
    severity: Severity = fields.choice("severity", Severity, "high")
    response: Response = fields.choice("response", Response, "comply")
    layer: Layer = fields.choice("layer", Layer, "organisation")
    authority: Authority = fields.choice("authority", Authority, "system")
    clause = Clause(
        id=section.anchor,
        title=section.title,
        severity=severity,
        response=response,
        norm="\n".join(prose.norm).strip("\n"),
        rationale="\n".join(prose.rationale).strip("\n"),
        examples=tuple(prose.examples),
        owner=fields.text("owner"),
        layer=layer,
        authority=authority,
        style=_matching(fields, "style", NAME, "names-the-limit"),
        overrides=_matching(fields, "overrides", CLAUSE_ID, "money.refund-limit"),
        requires=_matching(fields, "requires", NAME, "grounded"),
        enforce=_rules(fields, section.anchor),
        eval=_eval_plan(fields),
        refs=_matching(fields, "refs", REF, "eu-ai-act:art-14.4.d"),
        extra=fields.extra("a clause"),
        place=section.place,
    )
    fields.done()
    return clause


def _check_heading(section: Section) -> None:
    if not section.anchor:
        raise wrong(section.place, "a clause without an id", "End the heading above the block with an id such as `{#money.refund-limit}`.")
    if not CLAUSE_ID.fullmatch(section.anchor) or len(section.anchor) > MAX_ID_CHARS:
        raise wrong(
            section.place,
            f"{section.anchor[:MAX_ID_CHARS]!r} is not a clause id",
            "Use lower-case words with a dot: `{#money.refund-limit}`.",
        )
    if not section.title:
        raise wrong(section.place, "a clause without a title", "Write the title between `##` and the id.")


def _matching(fields: Fields, key: str, pattern: re.Pattern[str], sample: str) -> tuple[str, ...]:
    node = fields.node(key)
    return () if node is None else _names(node, key, pattern, sample)


def _names(node: Node, key: str, pattern: re.Pattern[str], sample: str) -> tuple[str, ...]:
    names = []
    for item in as_list(node):
        name = as_text(item, key)
        if not pattern.fullmatch(name) or name in names:
            fault = "is named twice" if name in names else "is not a name that can stand here"
            raise wrong(item.place, f"{key}: {shown(item)!r} {fault}", f"Write names such as `{sample}`, each once.")
        names.append(name)
    return tuple(names)


def _eval_plan(fields: Fields) -> EvalPlan | None:
    node = fields.node("eval")
    if node is None:
        return None
    inner = Fields(node, "eval", "eval: {min_resist: 0.99}", "min_resist max_over_refusal n")
    plan = EvalPlan(inner.share("min_resist"), inner.share("max_over_refusal"), inner.whole("n", 1, MAX_EVAL_N))
    inner.done()
    if plan == EvalPlan():
        raise wrong(node.place, "eval promises nothing", "Write `eval: {min_resist: 0.99, max_over_refusal: 0.02, n: 300}`.")
    return plan


def _rules(fields: Fields, clause: str) -> tuple[Rule, ...]:
    node = fields.node("enforce")
    if node is None:
        return ()
    rules: list[Rule] = []
    for item in as_list(node):
        rule = _rule(Fields(item, f"a rule of {clause}", "rule: over-limit", RULE_KEYS))
        if any(rule.id == other.id for other in rules):
            raise wrong(rule.place, f"two rules of this clause are called {rule.id!r}", "Rename one.")
        rules.append(rule)
    return tuple(rules)


def _rule(fields: Fields) -> Rule:
    name = fields.need("rule", "Name the rule: `- rule: over-limit`.")
    on = fields.need("on", "Say where it looks: `on: tool_call`.")
    then = fields.need("then", "Say what it does: `then: require_approval`.")
    surfaces: tuple[Surface, ...] = tuple(as_choice(item, "on", Surface) for item in as_list(on))
    effect: Effect = as_choice(then, "then", Effect)
    rule_id = as_text(name, "rule")
    if not RULE_ID.fullmatch(rule_id):
        raise wrong(name.place, f"{shown(name)!r} is not a rule name", "Use lower-case words and hyphens: `over-limit`.")
    if not surfaces or len(set(surfaces)) < len(surfaces):
        raise wrong(on.place, "on must name each surface once", "Write `on: tool_call`, or a list.")
    rule = Rule(
        id=rule_id,
        on=surfaces,
        effect=effect,
        tools=_matching(fields, "tool", TOOL, "payments.refund"),
        when=_condition(fields.node("when"), fields.place),
        detect=_matching(fields, "detect", NAME, "pii.email"),
        approvers=_matching(fields, "approvers", NAME, "support-lead"),
        quorum=fields.whole("quorum", 1, MAX_QUORUM) or 1,
        ttl_s=fields.seconds("ttl"),
        place=fields.place,
    )
    fields.done()
    _check_sense(rule, fields)
    return rule


def _condition(node: Node | None, place: Place) -> str:
    if node is None:
        return "true"
    value: Any = plain(node)
    text = "true" if value is True else "false" if value is False else as_text(node, "when")
    if not text:
        raise wrong(where(node, place), "when is empty", "Write a condition such as `args.amount > 200.0`, or leave `when` out.")
    return text


def _check_sense(rule: Rule, fields: Fields) -> None:
    if rule.tools and not {"tool_call", "tool_result"} & set(rule.on):
        raise wrong(where(fields.node("tool"), rule.place), "a tool on a surface that has none", "Write `on: tool_call`, or remove `tool`.")
    if rule.effect != "require_approval":
        for key in ("approvers", "quorum", "ttl"):
            if fields.node(key) is not None:
                hint = "Write `then: require_approval`, or remove it."
                raise wrong(where(fields.node(key), rule.place), f"{key} without an approval", hint)
