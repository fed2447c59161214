"""A model that is asked about entailment supports what words do not, never another number, and is no yes where it gives no verdict."""

from collections.abc import Callable

import pytest

from bylaw.govern.rails.entailing import entails
from bylaw.govern.rails.grounding import GroundingRail
from bylaw.govern.rails.judging import Budget
from bylaw.govern.rails.rail import RailError, RailFacts
from tests.govern.rails.test_judging import Scripted, broken, verdict

FACTS = RailFacts(documents=("Travel insurance does not cover skiing. The card fee is 4.90 EUR.",))
OTHER_WORDS = "Skiing accidents remain uninsured for holidaymakers."


def rail(script: Callable[[str], str], model: list[Scripted] | None = None, budget: Budget | None = None) -> GroundingRail:
    made = Scripted(script)
    if model is not None:
        model.append(made)
    return GroundingRail(entails=entails(made, b"secret", budget or Budget()), cost=2)


def test_a_model_may_support_other_words_and_a_low_score_does_not() -> None:
    asked: list[Scripted] = []

    assert not rail(verdict("9"), asked).find(OTHER_WORDS, FACTS)
    assert rail(verdict("7")).find(OTHER_WORDS, FACTS)
    assert "does not cover skiing" in asked[0].asked[0]


def test_another_number_is_not_even_asked_about() -> None:
    asked: list[Scripted] = []

    assert rail(verdict("10"), asked).find("The card costs 5.90 EUR.", FACTS)
    assert asked[0].asked == []


@pytest.mark.parametrize("script", [verdict("CANNOT TELL"), lambda question: "VERDICT 0123456789abcdef: 10", lambda question: "yes"])
def test_a_model_that_gives_no_verdict_leaves_the_claim_undecided(script: Callable[[str], str]) -> None:
    with pytest.raises(RailError, match="cannot tell"):
        rail(script).find(OTHER_WORDS, FACTS)


def test_a_model_that_is_down_or_too_dear_or_shown_too_much_fails() -> None:
    with pytest.raises(Exception, match=r"down|cannot tell"):
        rail(broken).find(OTHER_WORDS, FACTS)
    with pytest.raises(RailError, match="budget"):
        rail(verdict("9"), budget=Budget(most_calls=0)).find(OTHER_WORDS, FACTS)
    with pytest.raises(RailError, match="too long"):
        rail(verdict("9"), budget=Budget(most_chars=20)).find(OTHER_WORDS, FACTS)
