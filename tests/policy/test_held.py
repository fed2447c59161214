"""A loosening that another rule makes void is said, with an event; one that only crosses another rule is not."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.test_conflicts import CONDITIONS, EVERY, SCHEMA, clause, witness

from bylaw.policy.conditions import When
from bylaw.policy.conflicts import findings
from bylaw.types import Clause, Finding, Loosening, Overlay, Policy, Rule

LIMIT = clause("a.limit", "args.amount > 100.0", "block")


def eased(*clauses: Clause, loosens: tuple[str, ...] = ("a.limit",)) -> Overlay:
    said = tuple(Loosening(one, "Act 7 asks for it") for one in loosens)
    return Overlay("eu", "jurisdiction", "Act 7", "2026-01-01", "2026-11-01", clauses, said)


def found(overlay: Overlay, *clauses: Clause, code: str = "BL109") -> list[Finding]:
    policy = Policy("p", "1.0.0", (LIMIT, *clauses), tools={"pay": SCHEMA}, overlays=(overlay,))
    return [one for one in findings(policy) if one.code == code]


def limit(when: str, then: str = "block", name: str = "r") -> Clause:
    return replace(LIMIT, enforce=(Rule(name, ("tool_call",), then, ("pay",), when),))  # type: ignore[arg-type]  # a word of the test


WIDER = limit("args.amount > 500.0")


@pytest.mark.parametrize("when", ["true", "args.amount > 50.0", "args.amount > 100.0 || args.count == 3"])
def test_a_rule_that_stops_all_that_a_loosening_frees_is_shown_on_a_freed_event(when: str) -> None:
    hits = found(eased(WIDER), clause("b.other", when, "block"))
    seen = [witness(one) for one in hits]

    assert len(hits) == 1
    assert "overlay eu loosens this clause, but b.other/r still answers block to all " in hits[0].message
    assert [When(source, SCHEMA).decide(seen[0]) for source in ("args.amount > 100.0", "args.amount > 500.0", when)] == [
        "true",
        "false",
        "true",
    ]


def test_reasons_that_only_cross_are_no_finding() -> None:
    assert found(eased(WIDER), clause("b.other", "args.to.country == 'KP'", "block")) == []
    assert found(eased(WIDER), clause("b.other", "args.amount > 300.0", "block")) == []
    assert found(eased(WIDER), clause("b.other", "true", "require_approval")) == []
    assert found(eased(WIDER), clause("b.other", "true", "block", tools=("read",))) == []
    assert found(eased(WIDER), clause("b.other", "true", "block", detect=("pii.iban",))) == []


def test_what_the_overlay_allows_in_words_and_another_rule_stops_is_shown() -> None:
    hits = found(eased(limit("args.amount > 100.0", "allow")), clause("b.other", "args.to.country == 'KP'", "block"))

    assert len(hits) == 1
    assert witness(hits[0]).args["to"] == {"country": "KP"}
    assert witness(hits[0]).args["amount"] > 100.0


def test_a_loosening_of_the_other_clause_too_ends_the_finding() -> None:
    other = clause("b.other", "args.amount > 50.0", "block")
    eased_too = replace(other, enforce=WIDER.enforce)

    assert found(eased(WIDER, eased_too, loosens=("a.limit", "b.other")), other) == []
    assert len(found(eased(WIDER, eased_too), other)) == 1


def test_a_clause_of_the_overlay_itself_may_hold_too() -> None:
    assert len(found(eased(WIDER, clause("eu.own", "true", "block")))) == 1


def test_what_loosens_nothing_is_no_finding() -> None:
    other = clause("b.other", "true", "block")

    assert found(eased(limit("args.amount > 100.0")), other) == []
    assert found(eased(limit("args.amount > 5.0")), other) == []
    assert found(eased(WIDER, loosens=()), other) == []
    assert found(eased(limit("args.amount > 500.0", name="second")), other) == []


def test_an_overlay_that_goes_before_a_clause_whose_rule_still_decides_is_told_so() -> None:
    before = clause("eu.free", "args.urgent", "allow", layer="law", overrides=("a.limit",))
    hits = found(eased(before), code="BL408")

    assert [(one.clause, one.message.partition(" to {")[0]) for one in hits] == [
        ("eu.free", "goes before 'a.limit', but a.limit/r still answers block")
    ]
    assert (witness(hits[0]).args["urgent"], witness(hits[0]).args["amount"] > 100.0) == (True, True)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(CONDITIONS, CONDITIONS, CONDITIONS, st.booleans())
def test_what_is_said_to_be_held_is_what_trying_every_event_says(was: str, now: str, other: str, is_allowed: bool) -> None:
    old, new, held = (When(source, SCHEMA) for source in (was, now, other))
    matched = [event for event in EVERY if old.decide(event) == "true"]
    freed = [event for event in matched if is_allowed or new.decide(event) != "true"]
    stopped = [event for event in freed if held.decide(event) == "true"]
    allowed = [event for event in stopped if is_allowed and new.decide(event) == "true"]
    base = replace(LIMIT, enforce=(replace(LIMIT.enforce[0], when=was),))
    policy = Policy(
        "p",
        "1.0.0",
        (base, clause("b.other", other, "block")),
        tools={"pay": SCHEMA},
        overlays=(eased(limit(now, "allow" if is_allowed else "block")),),
    )
    said = [one.code for one in findings(policy)]

    assert said.count("BL109") == bool(allowed or (freed and len(stopped) == len(freed)))
