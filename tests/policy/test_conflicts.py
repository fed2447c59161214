"""A contradiction is claimed only with an event on which it really holds, and never where two rules only look alike."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bylaw.policy.conditions import When
from bylaw.policy.conflicts import findings
from bylaw.types import Clause, Effect, Event, Finding, Layer, Policy, Rule

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 0},
        "count": {"type": "integer", "maximum": 10},
        "currency": {"type": "string", "enum": ["EUR", "USD"]},
        "urgent": {"type": "boolean"},
        "memo": {"type": "string"},
        "to": {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]},
    },
    "required": ["amount", "count", "currency", "urgent", "memo", "to"],
}


def clause(name: str, when: str, then: Effect, **other: Any) -> Clause:
    rule = Rule("r", other.pop("on", ("tool_call",)), then, other.pop("tools", ("pay",)), when, other.pop("detect", ()))
    return Clause(name, name, "low", "comply", enforce=(rule,), **other)


def policy(*clauses: Clause) -> Policy:
    return Policy("p", "1.0.0", clauses, tools={"pay": SCHEMA, "read": SCHEMA})


def found(*clauses: Clause) -> list[Finding]:
    return list(findings(policy(*clauses)))


def codes(*clauses: Clause) -> list[str]:
    return [one.code for one in found(*clauses)]


def witness(finding: Finding) -> Event:
    """The event a finding shows, as JSON in its message."""
    value, _ = json.JSONDecoder().raw_decode(finding.message[finding.message.index('{"on"') :])
    value.pop("found", None)
    return Event(value.pop("on"), **value)


CROSSING = [
    ("args.amount > 100.0", "args.amount < 101.0"),
    ("args.amount > 100.0", "args.currency == 'USD' && args.urgent"),
    ("args.amount + session.sums['pay.amount'] > 200.0", "args.amount <= 50.0"),
    ("args.to.country in ['RU', 'KP']", "args.count > 3 && !args.urgent"),
    ("args.memo.contains('gift')", "args.memo.startsWith('my')"),
    ("args.memo.matches('(?i)iban [A-Z]{2}[0-9]+')", "args.count == 1"),
    ("session.calls.exists(c, c == 'read')", "'untrusted' in session.taint"),
    ("size(args.memo) > 20", "args.memo != ''"),
    ("args.amount * 2.0 > 300.0", "args.amount < 1000.0"),
    ("has(principal.id) && args.to.country != principal.jurisdiction", "principal.jurisdiction == 'DE'"),
    ("env.hour >= 22 || env.hour < 6", "args.amount > 10.5 && args.amount < 11.5"),
]


@pytest.mark.parametrize(("one", "other"), CROSSING)
def test_an_allow_and_a_block_that_meet_contradict_on_an_event_that_both_match(one: str, other: str) -> None:
    hits = [hit for hit in found(clause("a.yes", one, "allow"), clause("a.no", other, "block")) if hit.code == "BL405"]
    seen = [witness(hit) for hit in hits]

    assert len(hits) == 1
    assert hits[0].level == "error"
    assert [When(source, SCHEMA).decide(seen[0]) for source in (one, other)] == ["true", "true"]


APART = [
    ("args.amount > 100.0", "args.amount <= 100.0"),
    ("args.currency == 'EUR'", "args.currency == 'USD'"),
    ("args.currency == 'EUR'", "args.currency == 'CHF'"),
    ("args.amount < 0.0", "true"),
    ("args.count > 10", "true"),
    ("args.urgent && args.amount > 5.0", "!args.urgent"),
    ("'a' in session.taint", "!('a' in session.taint)"),
]


@pytest.mark.parametrize(("one", "other"), APART)
def test_rules_that_never_meet_do_not_contradict(one: str, other: str) -> None:
    assert "BL405" not in codes(clause("a.yes", one, "allow"), clause("a.no", other, "block"))


def test_other_tools_and_surfaces_do_not_meet() -> None:
    yes = clause("a.yes", "true", "allow")

    assert codes(yes, clause("a.no", "true", "block", tools=("read",))) == []
    assert codes(yes, clause("a.no", "true", "block", tools=(), on=("output",))) == []
    assert codes(yes, clause("a.no", "true", "block", tools=())) == ["BL405"]


def test_precedence_in_words_settles_a_contradiction_and_goes_through_others() -> None:
    yes, no = clause("a.yes", "args.amount < 9.0", "allow"), clause("a.no", "args.urgent", "block")
    between = Clause("a.mid", "t", "low", "comply", overrides=("a.yes",))

    assert codes(yes, replace(no, overrides=("a.yes",))) == []
    assert codes(yes, replace(no, overrides=("a.mid",)), between) == []
    assert codes(replace(yes, overrides=("a.no",)), no) == ["BL408"]


@pytest.mark.parametrize(("layer", "due"), [("product", []), ("organisation", ["BL405"]), ("law", ["BL405"])])
def test_a_weaker_layer_may_tighten_and_a_stronger_one_contradicts(layer: Layer, due: list[str]) -> None:
    assert codes(clause("a.yes", "true", "allow"), clause("a.no", "args.urgent", "block", layer=layer)) == due


def test_restrictions_that_cross_and_tiers_are_fine() -> None:
    ask = clause("a.ask", "args.amount > 200.0", "require_approval")

    assert codes(ask, clause("a.no", "args.to.country == 'KP'", "block")) == []
    assert codes(ask, clause("a.no", "args.amount > 10000.0", "block")) == []
    assert codes(ask, clause("a.no", "args.amount > 100.0", "block")) == ["BL405"]
    assert codes(ask, clause("a.no", "args.amount > 100.0", "block", overrides=("a.ask",))) == ["BL407"]


def test_a_detector_must_find_for_both() -> None:
    out = {"tools": (), "on": ("output",)}
    card, any_pii = clause("a.card", "true", "redact", detect=("pii.card",), **out), clause("a.pii", "true", "block", **out)

    assert codes(card, replace(any_pii, enforce=(replace(any_pii.enforce[0], detect=("pii.card", "pii.iban")),))) == ["BL407"]
    assert codes(card, replace(any_pii, enforce=(replace(any_pii.enforce[0], detect=("pii.iban",)),))) == []
    assert '"found": ["pii.card"]' in found(card, any_pii)[0].message


@pytest.mark.parametrize(
    "when",
    [
        "args.currency == 'CHF'",
        "args.count > 10",
        "args.amount < 0.0",
        "args.urgent && !args.urgent",
        "args.amount > 5.0 && args.amount < 5.0",
        "env.hour >= 24",
        "env.hour < 0",
        "tool == 'pya'",
        "surface == 'tool-call'",
    ],
)
def test_a_rule_that_the_schema_rules_out_never_matches(when: str) -> None:
    hits = found(clause("a.no", when, "block"))

    assert [(one.code, one.level) for one in hits] == [("BL406", "error")]
    assert "no event was found that rule r matches" in hits[0].message


@pytest.mark.parametrize(
    "when",
    [
        "args.memo.matches('[a-z]{7}[0-9]{3}zz+')",
        "args.amount > 49.0 && args.amount + args.amount < 98.5",
        "size(args.memo) == 3 && args.memo != 'ooo'",
        "session.calls.filter(c, c == 'a').size() > 4",
        "args.memo.contains('x') && args.memo.contains('y') && !args.memo.contains('x y')",
        "args.amount > 5.0 && args.amount < 5.5",
        "args.count == 3 || args.urgent",
        "!has(session.id)",
        'args.memo == "say \\"no\\" && stop"',
    ],
)
def test_a_condition_that_can_hold_is_never_called_silent(when: str) -> None:
    assert codes(clause("a.no", when, "block")) == []


ATOMS = st.sampled_from(
    ["args.amount > 10.0", "args.amount <= 10.0", "args.count == 3", "args.currency == 'EUR'", "args.currency != 'EUR'", "args.urgent"]
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("!({})".format, inner), st.builds("({} && {})".format, inner, inner), st.builds("({} || {})".format, inner, inner)
    ),
    max_leaves=6,
)
EVERY = [
    Event(
        "tool_call", "pay", {"amount": amount, "count": count, "currency": currency, "urgent": urgent, "memo": "", "to": {"country": "x"}}
    )
    for amount in (0.0, 10.0, 11.0)
    for count in (2, 3)
    for currency in ("EUR", "USD")
    for urgent in (True, False)
]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@example("args.amount > 10.0", "((args.amount <= 10.0 || args.count == 3) || args.currency == 'EUR')")  # its first 64 matches all miss
@given(CONDITIONS, CONDITIONS)
def test_what_is_said_is_what_trying_every_event_says(one: str, other: str) -> None:
    first, second = When(one, SCHEMA), When(other, SCHEMA)
    mine = [event for event in EVERY if first.decide(event) == "true"]
    theirs = [event for event in EVERY if second.decide(event) == "true"]
    hits = codes(clause("a.yes", one, "allow"), clause("a.no", other, "block"))
    hidden = codes(clause("a.ask", one, "redact"), clause("a.no", other, "block"))

    assert ("BL405" in hits) == any(event in theirs for event in mine)
    assert hits.count("BL406") == (not mine) + (not theirs)
    assert ("BL407" in hidden) == bool(mine and all(event in theirs for event in mine))


def test_a_missing_argument_that_leaves_a_rule_undecided_is_shown() -> None:
    schema = {**SCHEMA, "required": ["amount"]}
    loose = replace(policy(clause("a.no", "args.amount > 9.0 && args.memo == 'x'", "block")), tools={"pay": schema})
    guarded = replace(policy(clause("a.no", "has(args.memo) && args.memo == 'x'", "block")), tools={"pay": schema})
    hits = list(findings(loose))

    assert [one.code for one in hits] == ["BL410"]
    assert When("args.amount > 9.0 && args.memo == 'x'", schema).decide(witness(hits[0])) == "undecidable"
    assert list(findings(guarded)) == []


def test_a_rule_for_any_tool_is_tried_on_tools_that_lack_its_field() -> None:
    lacking = {"type": "object", "properties": {"id": {"type": "string"}}}
    anything = replace(
        policy(clause("a.no", "has(args.amount) && args.amount > 5.0", "block", tools=())), tools={"pay": SCHEMA, "x": lacking}
    )

    assert list(findings(anything)) == []
