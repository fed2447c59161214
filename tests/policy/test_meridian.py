"""The bank's policy is whole: it lints clean, every clause teaches and is tested on both sides, and every rule does what its norm says."""

import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.policy import effective
from bylaw.policy.compile import DEFAULT_BUDGET, approx_tokens, card, excerpt, full_text, is_trimmed
from bylaw.policy.effective import Scope, resolve
from bylaw.policy.lint import lint
from bylaw.policy.parse import every_clause, load
from bylaw.policy.reviews import reviewed
from bylaw.policy.trial import Conditions, Trial, event_of
from bylaw.types import Effect, Example, Policy, Response, Rule, Severity

FOLDER = Path(__file__).parents[2] / "policies" / "meridian"
TODAY = date(2026, 11, 21)
IN_FORCE = date(2026, 12, 1)
CUSTOMER = {"id": "C-1", "roles": ["customer"]}
PHONE = re.compile(r"\+\d{2}[ \d]{6,}|\b0\d{2,4}[ /-]?\d{3,}")


@cache
def meridian() -> Policy:
    return load(FOLDER)


@cache
def conditions() -> Conditions:
    return Conditions(meridian())


@cache
def trial() -> Trial:
    return Trial(meridian())


@cache
def in_place(jurisdiction: str, signed: bool = True) -> effective.Effective:
    reviews = reviewed(FOLDER, meridian()).reviews if signed else ()
    return resolve(meridian(), Scope(jurisdiction=(jurisdiction,)), IN_FORCE, reviews)


def matches(rule: Rule, example: Example) -> bool | None:
    """Whether an example's event is one the rule selects; None where the rule does not look at such events."""
    event = event_of(example)
    if event.surface not in rule.on or (rule.tools and event.tool not in rule.tools):
        return None
    outcome = conditions().holds(rule, event.tool, conditions().facts(event))
    return outcome == "true" and (not rule.detect or bool(set(rule.detect) & set((example.event or {}).get("found", ()))))


def call(tool: str, args: dict[str, Any], roles: tuple[str, ...] = (), **session: Any) -> Example:
    principal = {**CUSTOMER, "roles": ["customer", *roles]}
    facts = {"calls": [], "taint": [], **session}
    return Example("good", event={"on": "tool_call", "tool": tool, "args": args, "principal": principal, "session": facts})


def transfer(amount: float, sent: float, **more: Any) -> Example:
    return call("payments.transfer", {"customer": "C-1", "amount": amount, "payee": "P-1"}, sums={"payments.transfer.amount": sent}, **more)


# ---- The whole -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_lints_clean() -> None:
    assert lint(FOLDER, TODAY) == []


def test_it_has_forty_clauses_all_responses_and_severities_and_two_jurisdictions() -> None:
    policy = meridian()

    assert len(policy.clauses) >= 40
    assert {clause.response for clause in policy.clauses} == set(get_args(Response))
    assert {clause.severity for clause in policy.clauses} == set(get_args(Severity))
    assert 8 <= len(policy.tools) <= 12
    assert [(overlay.name, overlay.axis) for overlay in policy.overlays] == [("eu", "jurisdiction"), ("uk", "jurisdiction")]


def test_every_clause_has_an_owner_a_reason_a_source_and_a_plan() -> None:
    bare = [one.id for one in every_clause(meridian()) if not (one.owner and one.rationale and one.refs and one.eval)]

    assert bare == []


def test_every_clause_is_taught_on_both_sides_and_held_out_on_both_sides() -> None:
    sides = {clause.id: {(example.split, example.side) for example in clause.examples} for clause in meridian().clauses}

    assert [name for name, found in sides.items() if len(found) < 4] == []


def test_every_clause_of_an_overlay_is_taught_on_both_sides_and_tested() -> None:
    for overlay in meridian().overlays:
        for clause in overlay.clauses:
            assert {example.side for example in clause.examples if example.split == "train"} == {"good", "bad"}, clause.id
            assert any(example.split == "eval" for example in clause.examples), clause.id


def test_every_clause_is_read_whole_by_its_judge() -> None:
    assert [clause.id for clause in every_clause(meridian()) if is_trimmed(clause, meridian().styles)] == []


def test_every_judge_is_shown_both_sides() -> None:
    cards = {clause.id: card(clause, meridian().styles) for clause in meridian().clauses}

    assert [name for name, text in cards.items() if not ("## A good example" in text and "## A bad example" in text)] == []


@pytest.mark.parametrize("where", ["", "eu", "uk"])
def test_the_excerpt_of_any_area_fits_the_budget_in_any_place(where: str) -> None:
    policy = in_place(where).policy if where else meridian()
    areas: dict[str, list[str]] = {}
    for clause in policy.clauses:
        areas.setdefault(clause.id.partition(".")[0], []).append(clause.id)

    assert len(areas) >= 10
    for ids in areas.values():
        text = excerpt(policy, ids, DEFAULT_BUDGET)
        assert approx_tokens(text) <= DEFAULT_BUDGET
        assert all(full_text(clause) in text for clause in policy.clauses if clause.id in ids)


def test_rulings_reach_the_models_and_the_judges() -> None:
    ruled = [(clause, one) for clause in meridian().clauses for one in clause.examples if one.ruling and one.split == "train"]

    assert len(ruled) >= 3
    for clause, example in ruled:
        assert example.ruling is not None
        assert example.ruling.why in full_text(clause)
        assert example.ruling.by in card(clause)


# ---- The examples ----------------------------------------------------------------------------------------------------------


def test_every_rule_is_tried_both_ways_by_its_own_clauses_events() -> None:
    policy = meridian()
    tried: dict[str, set[bool | None]] = {}
    for clause in every_clause(policy):
        base = policy.clause(clause.id)
        events = [one for one in (*clause.examples, *(base.examples if base else ())) if one.event is not None]
        tried |= {f"{clause.id}/{rule.id}": {matches(rule, example) for example in events} for rule in clause.enforce}

    assert len(tried) >= 25
    assert [name for name, outcomes in tried.items() if not {True, False} <= outcomes] == []


def test_good_answers_keep_the_styles_that_can_be_tested() -> None:
    patterns = {style.id: style.pattern for style in meridian().styles if style.pattern}
    broken = [
        (clause.id, style, example.turns[-1].text)
        for clause in every_clause(meridian())
        for style in set(clause.style) & set(patterns)
        for example in clause.examples
        if example.side == "good" and example.turns and not re.search(patterns[style], example.turns[-1].text)
    ]

    assert patterns
    assert broken == []


def test_no_good_answer_gives_a_telephone_number_that_nobody_can_check() -> None:
    said = [turn.text for one in every_clause(meridian()) for example in one.examples if example.side == "good" for turn in example.turns]
    answers = [text for text in said if PHONE.search(text)]

    assert answers == []


# ---- What the rules add up to ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 120_000), min_size=1, max_size=12))
def test_no_way_of_splitting_sends_more_than_the_limit(parts: list[int]) -> None:
    sent = 0
    for cents in parts:
        effect = trial().effect(transfer(cents / 100, sent / 100))
        if effect == "allow":
            sent += cents

    assert sent <= 100_000


@pytest.mark.parametrize(
    ("mark", "effect"), [("screening-hit", "block"), ("untrusted-text", "allow"), ("payee-mismatch", "allow"), ("anything", "allow")]
)
def test_a_small_transfer_to_a_saved_payee_is_held_by_screening_alone(mark: str, effect: Effect) -> None:
    assert trial().effect(transfer(20.0, 0.0, taint=[mark])) == effect


@pytest.mark.parametrize("missing", ["sums", "calls", "taint"])
def test_a_transfer_whose_session_is_not_known_is_blocked(missing: str) -> None:
    known = {"sums": {"payments.transfer.amount": 0.0}, "calls": [], "taint": []}
    session = {key: value for key, value in known.items() if key != missing}
    args = {"customer": "C-1", "amount": 5.0, "payee": "P-1"}
    event = {"on": "tool_call", "tool": "payments.transfer", "args": args, "principal": CUSTOMER, "session": session}

    assert trial().effect(Example("bad", event=event)) == "block"


@pytest.mark.parametrize(
    "tool", ["accounts.read", "cards.block", "customers.update_contact", "loans.quote", "payments.refund", "records.delete"]
)
def test_nothing_is_done_for_another_customer(tool: str) -> None:
    args = {"customer": "C-2", "amount": 1.0, "months": 1, "kind": "chat_transcript"}
    foreign = call(tool, args, ("strong-login",), sums={"payments.refund.amount": 0.0})

    assert trial().effect(foreign) == "block"


# ---- Where it holds ----------------------------------------------------------------------------------------------------------

PROFILE = call("records.delete", {"customer": "C-1", "kind": "marketing_profile"})
CHATS = call("records.delete", {"customer": "C-1", "kind": "chat_transcript"})
MISNAMED = call(
    "payments.transfer",
    {"customer": "C-1", "amount": 5.0, "iban": "DE02120300000000202051", "name": "Jo Maas"},
    sums={"payments.transfer.amount": 0.0},
    calls=["payees.verify"],
    taint=["payee-mismatch"],
)
QUOTE = call("loans.quote", {"customer": "C-1", "amount": 900.0, "months": 12}, ("breathing-space",))


@pytest.mark.parametrize(
    ("example", "elsewhere", "eu", "uk"),
    [
        pytest.param(PROFILE, "require_approval", "allow", "require_approval", id="a marketing profile goes at once in the EU"),
        pytest.param(CHATS, "require_approval", "require_approval", "require_approval", id="chats wait for the privacy office"),
        pytest.param(MISNAMED, "require_approval", "block", "require_approval", id="a payee whose name differs is blocked in the EU"),
        pytest.param(QUOTE, "allow", "allow", "block", id="nothing is quoted in a breathing space in the UK"),
    ],
)
def test_each_place_has_rules_of_its_own(example: Example, elsewhere: Effect, eu: Effect, uk: Effect) -> None:
    effects = [Trial(in_place(name).policy).effect(example) for name in (effective.ELSEWHERE, "eu", "uk")]

    assert effects == [elsewhere, eu, uk]


def test_what_nobody_signed_loosens_nothing() -> None:
    unsigned, signed = in_place("eu", signed=False), in_place("eu")

    assert Trial(unsigned.policy).effect(PROFILE) == "require_approval"
    assert [reason.kind for reason in signed.reasons["records.deletion"]] == ["stated", "loosened"]
    assert not any(reason.kind == "loosened" for reason in unsigned.reasons["records.deletion"])


@pytest.mark.parametrize("where", ["eu", "uk"])
def test_no_two_laws_contradict_each_other_and_every_example_comes_out_as_told(where: str) -> None:
    policy = in_place(where).settled()
    local = Trial(policy)
    events = [(clause, one) for clause in policy.clauses for one in clause.examples if one.event is not None]
    let_through = [(clause.id, one.note) for clause, one in events if one.side == "bad" and local.effect(one) == "allow"]
    stopped = [(clause.id, one.note) for clause, one in events if one.side == "good" and local.effect(one) != (one.expect or "allow")]

    assert let_through == []
    assert stopped == []
