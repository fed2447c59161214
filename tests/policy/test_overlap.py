"""Near texts are found, others are not, and the quick search finds exactly what comparing every pair would."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.growth import growth_of_calls

from bylaw.policy.overlap import distinct, near, similarity

WORDS = (
    "refund",
    "order",
    "please",
    "card",
    "the",
    "my",
    "now",
    "send",
    "money",
    "limit",
    "above",
    "person",
    "approve",
    "twice",
    "salary",
    "address",
    "tell",
    "how",
)


def sentences(count: int, seed: int) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.randint(1, 16))) for _ in range(count)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Please refund my order 81, it was 640 EUR.", "please REFUND my order 81 - it was 640 EUR!"),
        ("Please refund my order 81, it was 640 EUR.", "Please refund my order 82, it was 640 EUR."),
        ("Can I sue you over the broken lamp?", "Can I sue you over a broken lamp?"),
        ("refund my order", "re\u200bfund my \uff4frder"),
        (
            "What did my neighbour order last week, she asked me",
            "Hello. " * 50 + "What did my neighbour order last week, she asked me to look.",
        ),
    ],
)
def test_reworded_and_copied_texts_are_near(left: str, right: str) -> None:
    assert similarity(left, right) >= 0.7


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Please refund my order 81, it was 640 EUR.", "Am I talking to a real person?"),
        ("Can I sue you over the broken lamp?", "Can I send back the broken chair?"),
        ("how do I pay", "I was wondering how do I pay when the shop is closed on Sundays and all the bank's machines are out of order"),
        ("", ""),
        ("?!", "?!"),
    ],
)
def test_other_texts_are_not_near(left: str, right: str) -> None:
    assert similarity(left, right) < 0.7


@given(st.text(max_size=80), st.text(max_size=80))
def test_similarity_is_a_share_and_takes_no_sides(left: str, right: str) -> None:
    score = similarity(left, right)

    assert 0 <= score <= 1
    assert score == similarity(right, left)


@given(st.text(max_size=80), st.sampled_from(WORDS))
def test_a_text_with_a_word_is_like_itself(text: str, word: str) -> None:
    assert similarity(f"{text} {word}", f"{text} {word}") == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.8, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_quick_search_finds_what_comparing_every_pair_finds(threshold: float, seed: int) -> None:
    lefts, rights = sentences(60, seed), sentences(60, seed + 100)
    slow = [(i, j, similarity(a, b)) for i, a in enumerate(lefts) for j, b in enumerate(rights) if similarity(a, b) >= threshold]

    assert [tuple(pair) for pair in near(lefts, rights, threshold)] == slow


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 0.7, 1.0])
def test_of_near_texts_the_first_is_kept(threshold: float) -> None:
    texts = sentences(120, 5)
    slow: list[int] = []
    for position, text in enumerate(texts):
        if not any(similarity(text, texts[other]) >= threshold for other in slow):
            slow.append(position)

    assert distinct(texts, threshold) == slow


@pytest.mark.slow
def test_four_times_the_texts_cost_nowhere_near_sixteen_times_as_much() -> None:
    texts = [f"{text} {number}" for number, text in enumerate(sentences(1_000, 9))]

    assert 0 < len(distinct(texts)) <= 1_000
    assert (
        growth_of_calls(lambda size: distinct(texts[:size]), 250) < 8
    )  # 5.8: each text is compared with the few that share its rare words
