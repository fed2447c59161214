"""Grounding: a claim without support in the documents is a hit; talk and questions are no claims."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.rails.grounding import GroundingRail, claims
from bylaw.govern.rails.rail import NO_FACTS, RailError, RailFacts

DOCUMENT = (
    "Your salary of 2,310.00 EUR from Nordlicht GmbH was booked on 3 November. Refunds take five working days. "
    "Travel insurance does not cover skiing. The card fee is 4.90 EUR a month and is waived from 700 EUR of income."
)
FACTS = RailFacts(documents=(DOCUMENT,))


def unsupported(text: str, facts: RailFacts = FACTS) -> list[str]:
    return [text[hit.start : hit.end] for hit in GroundingRail().find(text, facts)]


@pytest.mark.parametrize(
    "text",
    [
        "Your salary of 2310 EUR from Nordlicht GmbH was booked.",
        "Refunds take five working days.",
        "Travel insurance does not cover skiing.",
        "The monthly card fee is 4.90 EUR, and it is waived from 700 EUR of income.",
        "Hello! Shall I book it for 12 May? I can help with that.",
        "",
    ],
)
def test_what_the_documents_say_is_supported(text: str) -> None:
    assert not unsupported(text)


@pytest.mark.parametrize(
    "text",
    [
        "Your salary of 2,410.00 EUR was booked.",
        "Refunds from Amazon take five working days.",
        "The bank opens new branches in spring.",
        "The card fee is 4.90 EUR a year for students in Jena.",
        "Refunds never take five working weeks without reasons given.",
    ],
)
def test_another_number_name_or_statement_is_not_supported(text: str) -> None:
    assert unsupported(text) == [text]


def test_only_the_sentence_without_support_is_hit() -> None:
    assert unsupported("Refunds take five working days. Pensions rise by 9 percent.") == ["Pensions rise by 9 percent."]


@given(st.text(max_size=80))
def test_without_documents_no_claim_is_supported(text: str) -> None:
    assert len(GroundingRail().find(text, NO_FACTS)) == len(set(claims(text)))


def test_an_entailment_model_may_support_other_words_and_never_other_numbers() -> None:
    yes = GroundingRail(entails=lambda claim, documents: True)

    assert not yes.find("Skiing accidents remain uninsured for holidaymakers.", FACTS)
    assert yes.find("Your pay of 9,999 EUR has arrived.", FACTS)


def test_an_entailment_model_that_cannot_tell_is_a_failure() -> None:
    with pytest.raises(RailError, match="cannot tell"):
        GroundingRail(entails=lambda claim, documents: None).find("Skiing accidents remain uninsured for holidaymakers.", FACTS)


def test_a_passage_that_denies_is_needed_where_a_claim_denies() -> None:
    assert unsupported(
        "Your salary from Nordlicht GmbH was not booked.", RailFacts(documents=("Your salary from Nordlicht GmbH was booked.",))
    )
