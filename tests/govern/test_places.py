"""Places: each jurisdiction has its rulebook, and nobody gets around a law by leaving a word out."""

from datetime import date
from typing import Any

import pytest

from bylaw.errors import PolicyError
from bylaw.govern.engine import decide
from bylaw.govern.places import Calendar, Places
from bylaw.types import Example, Overlay, Place, Rule
from tests.govern.policies import clause, policy, refund

BASE = Rule("limit", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 60)
NEVER = Rule("never", ("tool_call",), "block", ("payments.refund",), "args.amount > 50.0")


def overlay(name: str, *rules: Rule, examples: tuple[Example, ...] = (), effective: str = "2026-01-01") -> Overlay:
    return Overlay(name, "jurisdiction", "a law", effective, "2026-01-01", (clause(f"law.{name}", *rules, examples=examples, layer="law"),))


WRITTEN = policy(clause("money.limit", BASE), overlays=(overlay("eu", NEVER), overlay("uk")))


@pytest.mark.parametrize(
    ("jurisdiction", "effect"),
    [
        ("eu", "block"),
        ("uk", "allow"),
        ("elsewhere", "allow"),
        ("EU", "block"),
        ("mars", "block"),
        ("", "block"),
        (None, "block"),
        (3, "block"),
    ],
)
def test_a_place_has_its_rules_and_an_unknown_one_has_them_all(jurisdiction: Any, effect: str) -> None:
    places = Places.load(WRITTEN)

    assert decide(refund(60.0), places.book({"jurisdiction": jurisdiction})).effect == effect
    assert decide(refund(60.0), places.book({})).effect == "block"


def test_decisions_of_all_places_carry_the_digest_of_what_was_written() -> None:
    places = Places.load(WRITTEN)

    assert {decide(refund(60.0), book).policy for book in places.books.values()} == {WRITTEN.digest}


def test_a_policy_without_overlays_has_one_rulebook_for_everybody() -> None:
    places = Places.load(policy(clause("money.limit", BASE)))

    assert places.book({"jurisdiction": "eu"}) is places.book({})


def test_an_overlay_whose_rule_names_no_rail_that_there_is_refuses_the_whole_policy() -> None:
    broken = policy(
        clause("money.limit", BASE),
        overlays=(overlay("eu", Rule("x", ("output",), "block", detect=("pii.crad",), place=Place("o.md", 4))),),
    )

    with pytest.raises(PolicyError, match=r"o\.md:4"):
        Places.load(broken, ("pii.card",))


def test_each_clause_says_where_it_is_enforced() -> None:
    written = policy(clause("money.limit", BASE), clause("tone.kind"), overlays=(overlay("eu", NEVER), overlay("uk")))

    assert Places.load(written).standing() == {
        "law.eu": "enforced here (eu)",
        "law.uk": "model only",
        "money.limit": "enforced here",
        "tone.kind": "model only",
    }
    assert Places.load(policy(clause("money.limit", BASE), clause("tone.kind"))).standing() == {
        "money.limit": "enforced here",
        "tone.kind": "model only",
    }


def test_a_law_comes_into_force_at_midnight_and_a_clock_set_back_repeals_nothing() -> None:
    written = policy(clause("money.limit", BASE), overlays=(overlay("eu", NEVER, effective="2027-03-01"), overlay("uk")))
    calendar = Calendar.load(written, (), date(2027, 2, 1))

    effects = [decide(refund(60.0), calendar.on(date.fromisoformat(day)).book({"jurisdiction": "eu"})).effect for day in DAYS]

    assert effects == ["allow", "allow", "allow", "block", "block"]


DAYS = ("2020-01-01", "2027-02-01", "2027-02-28", "2027-03-01", "2099-01-01")


def test_a_policy_that_cannot_stand_tomorrow_is_refused_today() -> None:
    broken = overlay("eu", Rule("x", ("output",), "block", detect=("pii.crad",), place=Place("o.md", 4)), effective="2027-03-01")

    with pytest.raises(PolicyError, match=r"o\.md:4"):
        Calendar.load(policy(clause("money.limit", BASE), overlays=(broken,)), ("pii.card",), date(2027, 2, 1))
