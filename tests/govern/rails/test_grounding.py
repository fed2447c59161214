"""Grounding: a claim without support in the documents is a hit; talk and questions are no claims."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.rails.grounding import GroundingRail, claims
from bylaw.govern.rails.rail import NO_FACTS, RailError, RailFacts
from bylaw.govern.rails.sentences import read
from bylaw.policy.parse import load
from tests.growth import LINEAR, TIMES, growth

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


RULES = (
    "Your salary of 2,310.00 EUR from Nordlicht GmbH was booked on 3 November. Refunds take five working days. "
    "Travel insurance does not cover skiing. The card fee is 4.90 EUR a month and is waived from 700 EUR of income. "
    "Refunds are not possible for gifts but are possible for books. Customers may close the account at any time without notice. "
    "The loan is available only for students. Parcels up to 20 kg are free. Interest is 3.5% a year. It is paid monthly. "
    "The limit is at least 100 EUR. The branch in Jena opens at 10:30. In 2025 the bank earned 2 million EUR."
)
RECORD = {
    "title": "Account terms",
    "date": "2026-07-01",
    "section": "12.1",
    "text": "The customer may close the account at any time without notice.",
    "fee": 4.9,
    "rows": [
        {"payee": "Amazon", "amount": 12.5, "currency": "EUR"},
        {"payee": "Lidl", "amount": 40},
        {"rule": "Travel rules do not cover diving"},
    ],
}
FOOLING = [
    "Refunds take nine working days.",
    "Refunds take five working weeks.",
    "Refunds take 6 working days.",
    "Refunds take fifty working days.",
    "Travel insurance covers skiing.",
    "Travel insurance takes five working days.",
    "The card fee is 700 EUR and is waived from 4.90 EUR of income.",
    "The card fee is 4.90 USD a month.",
    "The card fee is 4.90 EUR a year.",
    "Refunds are possible for gifts.",
    "Refunds are not possible for books.",
    "Your salary from Nordland GmbH was booked on 3 November.",
    "Your salary was booked on 3 December.",
    "Your salary was booked on 4 November.",
    "Amazon refunds take five working days.",
    "Skiing is covered.",
    "Sure, travel insurance covers skiing.",
    "I can confirm that travel insurance covers skiing.",
    "Travel insurance covers skiing, right?",
    "Did you know that travel insurance covers skiing?",
    "The loan is available for everyone.",
    "The loan is available.",
    "Customers must close the account at any time without notice.",
    "Interest is 35% a year.",
    "Interest is 3.5 EUR a year.",
    "The limit is at most 100 EUR.",
    "The branch in Jena opens at 10:45.",
    "In 2025 the bank earned 2 EUR.",
    "In 2025 the bank earned 20 million EUR.",
    "Parcels up to 20 km are free.",
    "You paid 40 EUR to Amazon.",
    "You paid 12.50 EUR to Lidl.",
    'In section 12.2 of our account terms of 1 July 2026: "The customer may close the account at any time without notice."',
    'In section 12.1 of our account terms of 2 July 2026: "The customer may close the account at any time without notice."',
    "Section 675y of the Payments Act of 2019 says so.",
    "The balance is -12.50 EUR.",
    "Refunds never take five working days.",
    "Refunds take five hundred working days.",
    "Your salary of 2,310.50 EUR was booked.",
    "Your salary of 23,100.00 EUR was booked.",
    "Call us at 0800 123 456.",
    "See https://bank.example/refunds for refunds.",
    "Hello, skiing is covered by travel insurance.",
    "I can help: travel insurance covers skiing.",
    "- Skiing: covered",
    "Travel rules cover diving.",
    "Customers may not close the account.",
    "Interest is paid weekly.",
    "Nobody pays the card fee of 4.90 EUR.",
    "Of course! Gifts can be refunded.",
    '{"answer": "Travel insurance covers skiing."}',
    '{"fee": 5.9}',
]
FAIR = [
    "Refunds take five working days.",
    "Refunds take 5 working days.",
    "Travel insurance does not cover skiing.",
    "Travel insurance doesn't cover skiing.",
    "The card fee is 4.90 EUR a month.",
    "The card fee is €4.90 a month.",
    "The monthly card fee is 4.90 EUR, and it is waived from 700 EUR of income.",
    "Refunds are not possible for gifts.",
    'In section 12.1 of our account terms of 1 July 2026: "The customer may close the account at any time without notice."',
    "Your salary of 2310 EUR from Nordlicht GmbH was booked on 3 November.",
    "Interest is 3.5 percent a year.",
    "Interest is paid monthly.",
    "You paid 12.50 EUR to Amazon.",
    "Sure, refunds take five working days.",
    "I can confirm that refunds take five working days.",
    "In 2025 the bank earned 2,000,000 EUR.",
    "The loan is available only for students.",
    "Shall I book it for 12 May? I can help with that.",
    "Hello! How can I help you today?",
    "Parcels up to 20kg are free.",
    '{"answer": "Refunds take five working days.", "fee": 4.9}',
    "Thanks for asking. Is there anything else?",
]
KNOWN = RailFacts(documents=(RULES, json.dumps(RECORD)))


@pytest.mark.parametrize("text", FOOLING)
def test_what_sounds_like_the_documents_and_says_something_else_is_not_supported(text: str) -> None:
    assert unsupported(text, KNOWN)


@pytest.mark.parametrize("text", FAIR)
def test_the_same_in_other_words_numbers_and_dates_is_supported(text: str) -> None:
    assert not unsupported(text, KNOWN)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1,234.50", "1234.5"), ("five", "5"), ("twenty-five", "25"), ("twenty five", "25"), ("2 million", "2,000,000"), ("2k", "2000"),
        ("third", "3rd"), ("1 July 2026", "2026-07-01"), ("01.07.2026", "2026-07-01"), ("five hundred", "500"), ("٥", "5"),
        ("1.234,50", "1,234.5"),
    ],
)  # fmt: skip
def test_one_number_written_in_two_ways_is_one_number(left: str, right: str) -> None:
    assert read(left).numbers == read(right).numbers != frozenset()


@pytest.mark.parametrize(
    ("left", "right"),
    [("1.234", "1234"), ("5", "-5"), ("5", ".5"), ("5-7", "5"), ("10:30", "10"), ("0800", "800000"), ("2", "2 million"), ("5", "5th")],
)
def test_two_numbers_that_look_alike_are_two(left: str, right: str) -> None:
    assert not read(left).numbers & read(right).numbers


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_claim_with_another_number_never_finds_support(left: int, right: int) -> None:
    said = unsupported(f"The fee of the account is {left} EUR.", RailFacts(documents=(f"The fee of the account is {right} EUR.",)))

    assert bool(said) == (left != right)


@pytest.mark.slow
@pytest.mark.parametrize("text", [" " * 50_000, "that " * 10_000, "1," * 25_000, "a." * 25_000, "€" * 50_000, "2 million " * 5_000])
def test_hostile_texts_cost_what_they_are_long(text: str) -> None:
    def read_of(size: int) -> None:
        with suppress(RailError):  # too many claims or passages
            GroundingRail().find(text[:size], RailFacts(documents=(text[:size],)))

    assert growth(read_of, len(text) // TIMES) < LINEAR


@pytest.mark.slow
def test_of_the_shipped_examples_words_alone_support_few_good_answers_and_most_bad_ones_none() -> None:
    passed: dict[str, list[bool]] = {"good": [], "bad": []}
    for clause in load(Path(__file__).parents[3] / "policies" / "meridian").clauses:
        for example in clause.examples:
            documents = tuple(turn.text for turn in example.turns if turn.role == "tool")
            if documents:
                answer = [turn.text for turn in example.turns if turn.role == "assistant"][-1]
                passed[example.side].append(not unsupported(answer, RailFacts(documents=documents)))

    assert {side: (sum(found), len(found)) for side, found in passed.items()} == {"good": (3, 13), "bad": (1, 6)}  # as docs/guard.md says
