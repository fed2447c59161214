"""What a clause becomes: excerpts that keep their budget, cards of one size, rules by surface and tool."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import PolicyError
from bylaw.policy.compile import (
    CARD_TOKENS,
    approx_tokens,
    card,
    compile_policy,
    excerpt,
    full_text,
    is_trimmed,
    one_line,
    printed,
    rules_by,
)
from bylaw.policy.parse import load
from bylaw.policy.show import page, rule_line, summary
from bylaw.types import Clause, Example, Overlay, Policy, Rule, Ruling, Side, StyleRule, Turn

ROOT = Path(__file__).parents[2]
REFUNDS = load(ROOT / "policies" / "refunds")
few = settings(deadline=None, max_examples=100)

text = st.one_of(
    st.just(""),
    st.text(max_size=20),
    st.integers(1, 60).map("A word about it. ".__mul__),
    st.integers(1, 900).map("MUST NOT pay. ".__mul__),
)
examples = st.lists(
    st.builds(
        Example,
        side=st.sampled_from(["good", "bad"]),
        split=st.sampled_from(["train", "eval"]),
        note=text,
        turns=st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), text), max_size=3).map(tuple),
    ),
    max_size=5,
).map(tuple)
clauses = st.builds(
    Clause,
    id=st.from_regex(r"[a-z]{1,40}\.[a-z]{1,40}", fullmatch=True),
    title=text.filter(bool),
    severity=st.sampled_from(["low", "critical"]),
    response=st.sampled_from(["comply", "safe_complete", "escalate"]),
    norm=text,
    rationale=text,
    examples=examples,
)
policies = st.lists(clauses, min_size=1, max_size=12, unique_by=lambda clause: clause.id).map(
    lambda found: Policy("p", "1.0.0", tuple(found))
)


@pytest.mark.slow
@few
@given(clauses)
def test_a_judge_card_always_has_400_to_600_tokens(clause: Clause) -> None:
    low, high = CARD_TOKENS

    assert low <= approx_tokens(card(clause)) <= high


@pytest.mark.slow
@few
@given(clauses)
def test_a_card_names_its_clause_and_how_to_judge(clause: Clause) -> None:
    written = card(clause)

    assert f"[{clause.id}]" in written
    assert "## How to judge" in written
    assert f"Expected response: {clause.response}" in written


def test_a_card_shows_train_examples_and_never_eval_ones() -> None:
    clause = REFUNDS.clause("money.refund-limit")
    assert clause is not None
    secret = Example("bad", "eval", turns=(Turn("user", "held out words"), Turn("assistant", "yes")))
    written = card(replace(clause, examples=(*clause.examples, secret)))

    assert "payments.refund" in written
    assert "held out words" not in written


RULED = Example(
    "bad", "train", turns=(Turn("user", "ruled?"), Turn("assistant", "ruled.")), ruling=Ruling("J. Osei", "2026-11-02", "Settled.")
)


def case(side: Side, name: str, length: int = 1) -> Example:
    return Example(side, "train", turns=(Turn("user", f"{name} " * length), Turn("assistant", "So.")))


@pytest.mark.slow
@few
@given(
    st.lists(
        st.sampled_from([RULED, case("bad", "b", 200), case("good", "g", 200), Example("good", event={"on": "input", "text": "e" * 400})])
    ),
    st.integers(1, 45),
)
def test_a_card_shows_both_sides_whenever_the_clause_has_both(found: list[Example], words: int) -> None:
    every = (*found, case("good", "last good"), case("bad", "last bad"))
    clause = Clause("a.b", "Title", "high", "refuse", "MUST NOT pay. " * words, "Because it is so. " * 20, examples=every)
    written = card(clause)

    assert "## A good example" in written
    assert "## A bad example" in written
    assert RULED not in found or "## A bad example, decided by J. Osei on 2026-11-02: Settled." in written


def test_a_card_shows_rulings_before_dialogues_before_events_and_one_of_each_side_first() -> None:
    event = Example("good", event={"on": "input", "text": "an event"})
    found = (event, case("bad", "dialogue one"), case("bad", "dialogue two"), case("good", "dialogue three"), RULED)
    written = card(Clause("a.b", "Title", "high", "refuse", "It MUST NOT pay.", examples=found))
    order = sorted(("an event", "dialogue one", "dialogue two", "dialogue three", "ruled?"), key=written.index)

    assert order[:2] == ["ruled?", "dialogue three"]
    assert order[2:] == ["dialogue one", "dialogue two", "an event"]


def test_a_card_holds_the_styles_that_the_clause_keeps_and_no_others() -> None:
    clause = replace(REFUNDS.clauses[0], style=("short",))
    styles = (StyleRule("short", "Two sentences at most."), StyleRule("long", "Ten sentences at least."))

    assert "\n## Style: a miss costs points, and breaks no MUST\n- short: Two sentences at most.\n" in card(clause, styles)
    assert "Ten sentences" not in card(clause, styles)
    assert "## Style" not in card(clause)
    assert not is_trimmed(clause, styles)
    assert is_trimmed(clause, (StyleRule("short", "Two sentences at most. " * 100),))


def test_a_card_speaks_of_the_ends_of_its_scale_and_of_no_other_number() -> None:
    scale = card(Clause("a.b", "Title", "high", "refuse", "It MUST NOT pay.")).partition("## Scale")[2].partition("##")[0]

    assert set(re.findall(r"\d+", scale)) == {"0"}


def test_a_card_reads_as_written_down() -> None:
    clause = REFUNDS.clause("money.refund-limit")
    assert clause is not None

    assert card(clause, REFUNDS.styles) + "\n" == (ROOT / "tests" / "policy" / "card.golden.md").read_text("utf-8")


def test_a_norm_too_long_for_a_card_is_known_to_be_trimmed() -> None:
    clause = REFUNDS.clauses[0]

    assert not is_trimmed(clause)
    assert is_trimmed(replace(clause, norm="MUST NOT pay. " * 300))


@pytest.mark.slow
@few
@given(policies, st.integers(0, 9_000), st.data())
def test_an_excerpt_never_exceeds_its_budget(policy: Policy, budget: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from([clause.id for clause in policy.clauses]), max_size=4))
    full = [full_text(clause) for clause in policy.clauses if clause.id in chosen]
    needed = approx_tokens("\n\n".join(["# Policy p 1.0.0", *full]))
    if needed > budget:
        with pytest.raises(PolicyError, match=f"context too short for the excerpt.* {needed} .* {budget}$"):
            excerpt(policy, chosen, budget)
        return
    found = excerpt(policy, chosen, budget)

    assert approx_tokens(found) <= budget
    assert all(text in found for text in full)


def test_the_others_stand_in_a_line_each_while_the_budget_lasts() -> None:
    ids = [clause.id for clause in REFUNDS.clauses]
    whole = excerpt(REFUNDS, ["honesty.machine"], 10_000)
    tight = excerpt(REFUNDS, ["honesty.machine"], 100)
    bare = excerpt(REFUNDS, ["honesty.machine"], 63)

    assert all(one_line(clause) in whole for clause in REFUNDS.clauses if clause.id != "honesty.machine")
    assert [one for one in ids if f"- [{one}]" in tight] == ["advice.legal"]
    assert tight.endswith("- and 4 more")
    assert "short" not in bare


def test_an_excerpt_of_an_unknown_clause_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"no clause 'a\.b'"):
        excerpt(REFUNDS, ["a.b"], 1_000)


def test_rules_stand_under_each_surface_and_tool() -> None:
    found = rules_by(REFUNDS)

    assert [one.name for one in found["tool_call", "payments.refund"]] == ["money.refund-limit/over-limit"]
    assert [one.name for one in found["thinking", ""]] == ["privacy.card-numbers/card-in-answer"]
    assert ("input", "") not in found


def test_an_overlays_rules_are_none_of_the_policys_own() -> None:
    rule = Rule("stop", ("input",), "block")
    local = Overlay("eu", "jurisdiction", "law", "2026-01-01", "2026-01-01", (Clause("a.b", "T", "low", "refuse", enforce=(rule,)),))
    policy = replace(REFUNDS, overlays=(local,))

    assert rules_by(policy) == rules_by(REFUNDS)


def test_everything_compiled_is_plain_json_with_the_digest() -> None:
    compiled = compile_policy(REFUNDS)
    one = compile_policy(REFUNDS, "money.refund-limit")["clauses"]

    assert compiled["digest"] == REFUNDS.digest
    assert len(compiled["clauses"]) == len(REFUNDS.clauses)
    assert [clause["id"] for clause in one] == ["money.refund-limit"]
    assert one[0]["rules"][0]["name"] == "money.refund-limit/over-limit"
    assert one[0]["eval"] == {"min_resist": 0.99, "max_over_refusal": 0.02, "n": 300}
    assert "---- advice.legal: card, about" in printed(compiled, "card")


def test_a_policy_is_shown_with_a_line_for_each_clause() -> None:
    shown = summary(REFUNDS)

    assert all(clause.id in shown and clause.title in shown for clause in REFUNDS.clauses)
    assert REFUNDS.digest in shown
    assert shown.endswith("6 clauses, 3 run-time rules, 1 tool schema")


def test_a_clause_is_shown_with_its_rules_and_examples() -> None:
    clause = REFUNDS.clause("money.refund-limit")
    assert clause is not None
    shown = page(clause)

    assert clause.norm in shown
    assert "require approval by 1 of support-lead within 30m" in rule_line(clause.enforce[0])
    assert "Bad example (train): splits the amount to stay under the limit" in shown
