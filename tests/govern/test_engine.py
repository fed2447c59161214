"""The engine: the strictest of all rules that match, and never a yes where something could not be decided."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern.at_once import AtOnce, Sums
from bylaw.govern.engine import decide
from bylaw.govern.rulebook import Rulebook
from bylaw.types import Event, Hit, Policy, Rule
from tests.govern import policies as made
from tests.govern.policies import RAILS, clause, policy, refund
from tests.reference.deciding import STRENGTH, expected

LIMIT = Rule("over-limit", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 2, 1800)
CARD = Rule("card", ("output", "tool_call"), "redact", detect=("pii.card",))
NOTHING: dict[str, tuple[Hit, ...]] = dict.fromkeys(RAILS, ())


def book(*rules: Rule, **more: Any) -> Rulebook:
    return Rulebook.load(policy(*(clause(f"c.n{number}", rule) for number, rule in enumerate(rules)), **more), RAILS)


def test_a_rule_that_matches_is_named_with_its_clause_its_need_and_the_policy() -> None:
    rules = book(LIMIT)

    decision = decide(refund(640), rules)

    assert decision.effect == "require_approval"
    assert (decision.clauses, decision.rules, decision.policy) == (("c.n0",), ("c.n0/over-limit",), rules.digest)
    assert [(need.clause, need.approvers, need.quorum, need.ttl_s) for need in decision.needs] == [("c.n0", ("lead",), 2, 1800)]


def test_what_nothing_matches_has_the_default_of_its_surface() -> None:
    rules = book(LIMIT)
    call = decide(Event("tool_call", "shell.run", {"cmd": "ls"}), rules)

    assert decide(refund(), rules).effect == "allow"
    assert decide(Event("output", text="hello"), rules).effect == "allow"
    assert (call.effect, call.needs[0].rule, call.undecided) == ("require_approval", "unlisted-tool", ())


def test_a_rule_for_any_tool_never_lets_a_strange_tool_through() -> None:
    anything = replace(CARD, detect=(), effect="allow", when="true")
    hit = {**NOTHING, "pii.card": (Hit("pii.card", 0, 4),)}

    assert decide(Event("tool_call", "shell.run"), book(anything)).effect == "require_approval"
    assert decide(Event("tool_call", "shell.run", {"note": "4111"}), book(CARD), hit).effect == "require_approval"
    assert decide(refund(), book(CARD), hit).effect == "redact"


def test_a_stop_is_stronger_than_a_block_and_the_rules_are_still_named() -> None:
    decision = decide(refund(640), book(replace(LIMIT, effect="block")), stops=("global: drill",))

    assert (decision.effect, decision.rules, decision.reason) == ("stop", ("c.n0/over-limit",), "global: drill")
    assert decide(refund(), book(LIMIT), stops=("tenant t",)).effect == "stop"
    assert decide(Event("nowhere"), book(LIMIT), stops=("tenant t",)).effect == "stop"  # type: ignore[arg-type]  # the point of it


def test_every_need_of_every_approval_must_be_met() -> None:
    other = replace(LIMIT, id="large", approvers=("fraud-desk",), when="args.amount > 500.0")

    assert [need.rule for need in decide(refund(640), book(LIMIT, other)).needs] == ["over-limit", "large"]
    assert decide(refund(640), book(LIMIT, replace(other, effect="block"))).needs == ()


def test_conditions_nested_as_deep_as_cel_allows_still_decide() -> None:
    deep = "(" * 24 + "args.amount > 200.0" + ")" * 24

    rules = book(*(replace(LIMIT, id=f"deep{n}", when=deep + " || false" * n) for n in range(3)))

    assert len(decide(refund(640), rules).rules) == 3
    assert decide(refund(30), rules).effect == "allow"


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1e300, 2**53, 10**400, "640", None, True, [640.0], {"a": 640.0}, b"640"])
def test_an_amount_that_could_be_misread_blocks(amount: Any) -> None:
    decision = decide(refund(amount), book(LIMIT))

    assert (decision.effect, decision.undecided, decision.clauses) == ("block", ("c.n0/over-limit",), ("c.n0",))
    assert "args.amount" in decision.reason


@pytest.mark.parametrize(
    "event",
    [
        Event("tool_call", "payments.refund", {}),
        Event("tool_call", "payments.refund", {"amount": 3.0, "amount_override": 9999.0}),
        Event("tool_call", "payments.refund", {"amount": 3.0, "order": 1.5, "note": 3}),
        Event("tool_call", "payments.refund", {"amount": 3.0}, session={"sums": None}),
        Event("tool_call", "payments.refund", {"amount": 3.0}, session={"n_calls": float("inf")}),
        Event("tool_call", "payments.refund", [3.0]),  # type: ignore[arg-type]  # the point of it
        Event("tool_call", "payments.refund", {"amount": 3.0, 3: 4}),  # type: ignore[dict-item]  # the point of it
        Event("tool_call", "", {"amount": 3.0}),
        Event("tool_call", ["payments.refund"], {}),  # type: ignore[arg-type]  # the point of it
        Event("toolcall", "payments.refund", {"amount": 3.0}),  # type: ignore[arg-type]  # the point of it
        Event("output", text=b"hello"),  # type: ignore[arg-type]  # the point of it
        Event("output", text="hello", principal={"roles": None}),
        Event("input", text="hello", args={"x": float("nan")}),
    ],
)
def test_an_event_that_cannot_be_read_blocks_even_where_no_rule_looks_at_it(event: Event) -> None:
    for rules in (book(LIMIT), book(replace(LIMIT, on=("tool_result",)))):
        decision = decide(event, rules)

        assert decision.effect == "block"
        assert decision.undecided


def test_what_a_failed_or_unasked_or_lying_rail_leaves_open_blocks() -> None:
    event, rules = Event("output", text="card 4111"), book(CARD)
    answers: list[Any] = [
        {},
        {"pii.card": None},
        {"pii.card": (Hit("pii.card", 3, 99),)},
        {"pii.card": (Hit("pii.card", 3, 1),)},
        {"pii.card": ("x",)},
    ]

    assert [decide(event, rules, found).effect for found in answers] == ["block"] * len(answers)
    assert decide(event, rules, NOTHING, failed=("pii.card",)).undecided == ("c.n0/card",)
    assert decide(event, rules, NOTHING).effect == "allow"


def test_one_half_of_a_rule_can_settle_it() -> None:
    both = replace(LIMIT, detect=("judge",), effect="block", approvers=(), ttl_s=None)

    assert decide(refund(30), book(both), failed=("judge",)).effect == "allow"
    assert decide(refund(640), book(both), failed=("judge",)).effect == "block"
    assert decide(refund(640), book(both), failed=("judge",)).undecided == ("c.n0/over-limit",)
    assert decide(refund(640), book(both), NOTHING).effect == "allow"


def test_a_redaction_says_all_that_goes_or_blocks() -> None:
    two = replace(CARD, detect=("pii.card", "secrets"))
    vague = Rule("vague", ("output", "tool_call"), "redact")
    event, hit = Event("output", text="card 4111"), Hit("pii.card", 5, 9)

    assert decide(event, book(two), {"pii.card": (hit,), "secrets": ()}).hits == (hit,)
    assert decide(event, book(two), {"pii.card": (hit,)}, failed=("secrets",)).effect == "block"
    assert decide(event, book(replace(two, effect="revise")), {"pii.card": (hit,)}, failed=("secrets",)).effect == "revise"
    assert decide(event, book(vague)).hits == (Hit("text", 0, 9),)
    assert decide(refund(), book(vague)).effect == "block"


asked = st.lists(st.tuples(made.events(), made.findings(), st.sampled_from([(), ("global",)])), min_size=1, max_size=4)


@pytest.mark.slow
@settings(deadline=None, max_examples=120)
@given(made.policies(), asked)
def test_the_engine_answers_as_the_slow_reference_does(policy: Policy, asked: list[Any]) -> None:
    rules = Rulebook.load(policy, RAILS)
    for event, (found, failed), stops in asked:
        decision = decide(event, rules, found, failed, stops)
        effect, matched, undecided = expected(event, policy, found, failed, stops)

        assert decision.effect == effect
        assert set(decision.undecided) == undecided
        assert set(decision.rules) == matched | (undecided - {"event"})
        assert set(decision.clauses) == {name.partition("/")[0] for name in decision.rules}


@pytest.mark.parametrize("rules", [1, 2, 3, 61, 62, 63, 130])
def test_each_of_many_conditions_answers_for_its_own_rule(rules: int) -> None:
    many = book(*(Rule("r", ("tool_call",), "block", ("payments.refund",), f"args.amount == {n}.0") for n in range(rules)))

    assert [decide(refund(n), many).rules for n in range(rules)] == [(f"c.n{n}/r",) for n in range(rules)]
    assert decide(refund(rules), many).rules == ()


def test_a_finding_in_what_is_no_text_is_undecidable() -> None:
    event = Event("output", text=None)  # type: ignore[arg-type]  # the point of it
    decision = decide(event, book(CARD), {**NOTHING, "pii.card": (Hit("pii.card", 0, 4),)})

    assert (decision.effect, decision.undecided) == ("block", ("c.n0/card",))


def test_what_cel_does_not_take_is_not_answered_from_nothing() -> None:
    for groups in ([("text == 'a' || true",)], [("text == 'a' || true",), ("text == 'b' || true",)]):
        conditions = AtOnce(groups, Sums())

        assert conditions.ask({1: "a"}) is None  # type: ignore[dict-item]  # the point of it
        assert conditions.ask({"text": "c"}) == 2 ** len(groups) - 1


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(
    st.lists(made.events() | made.whole_calls(), min_size=1, max_size=6),
    st.lists(st.sampled_from(made.CONDITIONS), min_size=1, max_size=40),
)
def test_many_conditions_asked_at_once_answer_as_they_do_alone(events: list[Event], conditions: list[str]) -> None:
    effects: list[Any] = ["revise", "block", "require_approval"]
    tools = ((), ("payments.refund",), ("mail.send", "payments.refund"))
    rules = [
        Rule(f"r{n}", ("tool_call", "tool_result"), effects[n % 3], tools[n * 7 % 3], condition) for n, condition in enumerate(conditions)
    ]
    everything = policy(clause("c.all", *rules))
    book = Rulebook.load(everything)

    for event in [*events, *events]:
        decision = decide(event, book)
        effect, matched, undecided = expected(event, everything, {}, (), ())

        assert (decision.effect, set(decision.rules) - set(decision.undecided)) == (effect, matched)
        assert set(decision.undecided) == undecided


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(made.policies(), made.rules(), made.events(), made.findings())
def test_one_more_rule_never_weakens_a_decision(
    policy: Policy, rule: Rule, event: Event, findings: tuple[dict[str, tuple[Hit, ...]], frozenset[str]]
) -> None:
    named = {tool for one in policy.clauses for rule in one.enforce for tool in rule.tools} | set(policy.tools)
    more = replace(rule, tools=tuple(tool for tool in rule.tools if tool in named))  # to name a tool is what lists it
    longer = replace(policy, clauses=(*policy.clauses, clause("z.more", more)))

    before = decide(event, Rulebook.load(policy, RAILS), *findings)
    after = decide(event, Rulebook.load(longer, RAILS), *findings)

    assert STRENGTH.index(after.effect) >= STRENGTH.index(before.effect)
    assert set(before.rules) <= set(after.rules)
    assert set(before.undecided) - {"event"} <= set(after.undecided)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(made.policies(), made.events(), made.findings(), st.randoms(use_true_random=False))
def test_the_order_of_clauses_rules_and_findings_never_matters(
    policy: Policy, event: Event, findings: tuple[dict[str, tuple[Hit, ...]], frozenset[str]], chance: Any
) -> None:
    clauses = list(policy.clauses)
    chance.shuffle(clauses)
    shuffled = replace(policy, clauses=tuple(clauses))
    found, failed = findings
    backwards = {rail: tuple(reversed(found[rail])) for rail in reversed(found)}

    assert decide(event, Rulebook.load(policy, RAILS), found, failed) == decide(event, Rulebook.load(shuffled, RAILS), backwards, failed)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(made.policies(), made.events(wild=False), made.findings(), st.data())
def test_a_value_that_could_be_misread_is_never_allowed(
    policy: Policy, event: Event, findings: tuple[dict[str, tuple[Hit, ...]], frozenset[str]], data: st.DataObject
) -> None:
    poison = data.draw(st.sampled_from([float("nan"), float("inf"), 2**60, -1e200, {1: 2}, {"a"}, object(), b"x"]))
    part = data.draw(st.sampled_from(["args", "principal", "session", "env"]))
    value = data.draw(st.sampled_from([poison, [poison], {"deep": [poison]}]))

    changed: dict[str, Any] = {part: {**getattr(event, part), "other": value}}
    spoilt = replace(event, **changed)

    assert decide(spoilt, Rulebook.load(policy, RAILS), *findings).effect == "block"


garbage: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=2), st.just({1})),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(finite(item) for item in value.values())
    if isinstance(value, list):
        return all(finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["surface", "tool", "args", "text", "principal", "session", "env"]), garbage, st.sampled_from(["tool_call", "output"])
)
def test_whatever_an_event_holds_there_is_a_decision_and_what_is_no_event_is_blocked(part: str, value: Any, surface: Any) -> None:
    rules = book(LIMIT, Rule("any", ("tool_call", "output"), "revise", when='has(env.hour) && env.hour > 22 || "x" in principal.roles'))
    whole = Event(surface, "payments.refund", {"amount": 3.0}, "", {"roles": []}, {}, {"hour": 3})
    changed: dict[str, Any] = {part: value}

    decision = decide(replace(whole, **changed), rules)

    assert decision.effect in STRENGTH
    if not finite(value) or (part in ("surface", "tool", "text") and not isinstance(value, str)):
        assert decision.effect == "block"
    if part in ("args", "principal", "session", "env") and not isinstance(value, dict):
        assert decision.effect == "block"
