"""Policies and events for the tests of the engine: values, made small."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from bylaw.policy.digest import digest_of
from bylaw.types import Clause, Event, Hit, Policy, Rule

REFUND = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "order": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["amount"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"amount": {"type": "number"}}, "additionalProperties": True}
TOOLS = {"payments.refund": REFUND, "mail.send": OPEN}
RAILS = ("pii.card", "secrets", "judge")
CONDITIONS = (
    "true",
    "false",
    "args.amount > 200.0",
    "has(args.amount) && args.amount > 100.0",
    'session.sums["payments.refund.amount"] > 100.0',
    '"web" in session.taint',
    'text.contains("card")',
    '"lead" in principal.roles || env.hour > 20',
    'surface == "output" && text != "text.foo session.bar"',
    "has(session . sums) && tool.size() > 9",
    'session.taint.exists(label, label == "web")',
)


def policy(*clauses: Clause, tools: Any = TOOLS, owners: tuple[str, ...] = ("conduct",), **more: Any) -> Policy:
    made = Policy("tried", "1.0.0", tuple(sorted(clauses, key=lambda one: one.id)), tools=tools, owners=owners, **more)
    return replace(made, digest=digest_of(made))


def clause(clause_id: str, *rules: Rule, **more: Any) -> Clause:
    return Clause(clause_id, "A clause", "high", "comply", enforce=rules, **more)


def refund(amount: Any = 30.0, **more: Any) -> Event:
    return Event("tool_call", "payments.refund", {"amount": amount}, **more)


surfaces: st.SearchStrategy[Any] = st.sampled_from(["input", "thinking", "document", "tool_call", "tool_result", "output"])
tools = st.sampled_from(["payments.refund", "mail.send", "shell.run", "files.read"])
effects: st.SearchStrategy[Any] = st.sampled_from(["allow", "redact", "revise", "require_approval", "block"])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    on = tuple(draw(st.lists(surfaces, min_size=1, max_size=3, unique=True)))
    named = tuple(draw(st.lists(st.sampled_from(["payments.refund", "mail.send", "files.read"]), max_size=2, unique=True)))
    detect = tuple(draw(st.lists(st.sampled_from(RAILS), max_size=2, unique=True)))
    effect = draw(effects)
    approvers = ("lead",) if effect == "require_approval" else ()
    return Rule("r", on, effect, named, draw(st.sampled_from(CONDITIONS)), detect, approvers, ttl_s=60 if approvers else None)


@st.composite
def policies(draw: st.DrawFn, most: int = 6) -> Policy:
    drawn = draw(st.lists(rules(), min_size=1, max_size=most))
    return policy(*(clause(f"c.n{number}", rule) for number, rule in enumerate(drawn)))


numbers: st.SearchStrategy[Any] = st.one_of(
    st.integers(-500, 500),
    st.floats(-500, 500),
    st.sampled_from(
        [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), 1e300, 10**40, True, None, "300", [300.0], {"a": 1}, b"x"]
    ),
)
amounts = st.one_of(st.integers(0, 400), st.floats(0, 400), numbers)

hours: st.SearchStrategy[Any] = st.sampled_from([{}, {"hour": 3}, {"hour": 23}])


@st.composite
def events(draw: st.DrawFn, wild: bool = True) -> Event:
    values = amounts if wild else st.floats(0, 400)
    args = draw(st.dictionaries(st.sampled_from(["amount", "order", "note", "other"]), values, max_size=3))
    session: dict[str, Any] = {"sums": {"payments.refund.amount": draw(values)}, "taint": draw(st.sampled_from([[], ["web"], ("web",)]))}
    if wild and draw(st.integers(0, 5)) == 0:
        session = draw(st.dictionaries(st.sampled_from(["sums", "taint", "calls", "n_calls"]), values, max_size=2))
    principal: Any = draw(st.sampled_from([{}, {"roles": ["lead"]}, {"roles": []}, *([{"roles": None}, {"id": 3}] if wild else [])]))
    text = draw(st.sampled_from(["", "my card", "hello"]))
    surface: Any = draw(surfaces)
    return Event(surface, draw(tools), args, text, principal, session, draw(hours))


@st.composite
def whole_calls(draw: st.DrawFn) -> Event:
    """A call on which every one of the conditions is yes or no."""
    session = {"sums": {"payments.refund.amount": draw(st.floats(0, 200))}, "taint": draw(st.sampled_from([[], ["web"]]))}
    roles = draw(st.sampled_from([[], ["lead"]]))
    args = {"amount": draw(st.floats(0, 400))}
    return Event(
        "tool_call",
        "payments.refund",
        args,
        draw(st.sampled_from(["", "card"])),
        {"roles": roles},
        session,
        {"hour": draw(st.integers(0, 23))},
    )


@st.composite
def findings(draw: st.DrawFn, wild: bool = True) -> tuple[dict[str, tuple[Hit, ...]], frozenset[str]]:
    found: dict[str, tuple[Hit, ...]] = {}
    for rail in RAILS:
        kind = draw(st.sampled_from(["nothing", "hit", *(["unasked", "nonsense", "too far"] if wild else [])]))
        if kind != "unasked":
            found[rail] = {
                "nothing": (),
                "hit": (Hit(rail, 0, 0),),
                "nonsense": (Hit(rail, 5, 2),),
                "too far": (Hit(f"{rail}.kind", 0, 900),),
            }[kind]
    return found, frozenset(draw(st.lists(st.sampled_from(RAILS), max_size=1)) if wild else ())
