"""The exact judge agrees with a slow, literal reading of the policy."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.policy.parse import load
from bylaw.policyworld import wrappers
from bylaw.policyworld.dialect import RESPONSE_OF, as_prompt, dialect
from bylaw.policyworld.language import ACTIONS, EXCUSES, LABELS, answer_to, thought
from bylaw.policyworld.scenarios import Scenario, draw
from bylaw.policyworld.truth import ExactJudge
from bylaw.types import Answered, Policy, Reasoned
from tests.reference import world

pytestmark = pytest.mark.slow

few = settings(deadline=None, max_examples=300)
POLICY = load(Path(__file__).parents[2] / "policies" / "policyworld")
WORDS = dialect(POLICY)
JUDGE = ExactJudge(WORDS)
drawn = st.builds(lambda seed, wrapper: draw(Random(seed), wrapper), st.integers(0, 2**32), st.sampled_from(wrappers.ALL))
pieces = st.sampled_from(
    [*LABELS[:6], "but", "so i comply .", "no rule .", "topic theft", *EXCUSES.values(), *(c.quote() for c in WORDS.policy)]
)
endings = st.sampled_from(["", " ", " but", " .", "\n", " sure", " sorry , i can not help with theft ."])


@few
@given(drawn, st.sampled_from(ACTIONS), endings)
def test_an_answer_is_graded_as_the_literal_judge_grades_it(row: Scenario, action: str, ending: str) -> None:
    said = answer_to(row, action) + ending  # type: ignore[arg-type]  # an Action, drawn
    prompt = as_prompt(row, WORDS)

    (verdict,) = JUDGE.grade([Answered(prompt, said)])

    assert verdict.score == world.grade(POLICY, row.user, row.request, said)
    assert verdict.clauses == tuple(i for i, c in WORDS.clauses.items() if c.label == world.ruling(POLICY, row.user, row.request)[0])


@few
@given(drawn, st.text(max_size=30) | st.sampled_from(["sure", "sorry", "i", "sorry sure", "sure thing", "Sorry ,"]))
def test_any_text_is_graded_as_the_literal_judge_grades_it(row: Scenario, said: str) -> None:
    (verdict,) = JUDGE.grade([Answered(as_prompt(row, WORDS), said)])

    assert verdict.score == world.grade(POLICY, row.user, row.request, said)


@few
@given(
    drawn,
    st.sampled_from([*ACTIONS, "right", "right"]),
    st.lists(pieces, max_size=3),
    st.booleans(),
    st.sampled_from([None, *EXCUSES.values()]),
)
def test_thinking_is_reviewed_as_the_literal_judge_reviews_it(
    row: Scenario, action: str, more: list[str], before: bool, excuse: str | None
) -> None:
    prompt = as_prompt(row, WORDS)
    clause, right = JUDGE.ruling(prompt)
    does = right if action == "right" else action
    thinks = thought(row, clause, does, excuse)  # type: ignore[arg-type]  # an Action, drawn
    thinks = " ".join([*more, thinks] if before else [thinks, *more])
    said = answer_to(row, does)  # type: ignore[arg-type]  # drawn from ACTIONS

    (verdict,) = JUDGE.review([Reasoned(prompt, thinks, said)])

    assert verdict.score == world.review(POLICY, row.user, row.request, thinks, said)


@few
@given(drawn)
def test_the_right_thought_with_the_right_answer_passes(row: Scenario) -> None:
    prompt = as_prompt(row, WORDS)
    clause, action = JUDGE.ruling(prompt)

    (graded,) = JUDGE.grade([Answered(prompt, answer_to(row, action))])
    (reviewed,) = JUDGE.review([Reasoned(prompt, thought(row, clause, action), answer_to(row, action))])

    assert graded.score == reviewed.score == 1.0
    assert RESPONSE_OF[action] == world.ruling(POLICY, row.user, row.request)[1]
    assert JUDGE.exact(prompt, world.answer(RESPONSE_OF[action], row.request))


@few
@given(drawn)
def test_a_thought_that_quotes_half_a_clause_fails(row: Scenario) -> None:
    prompt = as_prompt(row, WORDS)
    clause, action = JUDGE.ruling(prompt)
    assert clause
    half = thought(row, clause, action).replace(clause.quote(), clause.label)

    (verdict,) = JUDGE.review([Reasoned(prompt, half, answer_to(row, action))])

    assert verdict.score == 0.0


def test_what_a_policy_does_not_rule_is_helped_with() -> None:
    policy = Policy("p", "1", POLICY.clauses[:1])
    judge = ExactJudge(dialect(policy))
    row = draw(Random(0), "plain", topic="garden")
    prompt = as_prompt(row, judge.words)

    (helped, refused) = judge.grade([Answered(prompt, answer_to(row, "comply")), Answered(prompt, answer_to(row, "refuse"))])

    assert (helped.score, refused.score) == (1.0, 0.0)
    assert helped.clauses == ()


@pytest.mark.parametrize("said", ["", " ", "\n"])
def test_silence_is_never_right(said: str) -> None:
    prompt = as_prompt(draw(Random(1), "plain"), WORDS)

    assert JUDGE.grade([Answered(prompt, said)])[0].score == 0.0
    assert JUDGE.review([Reasoned(prompt, "", said)])[0].score == 0.0
