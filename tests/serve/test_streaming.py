"""The law of the hold-back filter: whatever the cut, the pieces say what the filter of the whole text says."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern.streaming import CONTEXT, Cut, HoldBack, filtered, joined, redacted
from bylaw.types import Decision, Effect, Hit
from tests.reference.parts import redacted as redacted_parts

CHUNKINGS = (20_000, pytest.param(120_000, marks=pytest.mark.slow))


@dataclass(frozen=True)
class Pattern:
    """A fake rail: a pattern, the longest span it can match, and what its clause says."""

    name: str
    source: str
    longest: int
    effect: Effect


RAILS = (
    Pattern("pair", "aa", 2, "redact"),
    Pattern("card", r"(?<!\d)\d(?:[ -]?\d){5,8}(?!\d)", 17, "redact"),
    Pattern("word", r"\bfoo\b", 3, "redact"),
    Pattern("greedy", "x{2,6}", 6, "redact"),
    Pattern("seen", r"[ab]{3}", 3, "allow"),
    Pattern("key", r"sk-[a-z0-9]{4}", 7, "block"),
    Pattern("smile", "😀😀|é", 2, "redact"),
    Pattern("phrase", r"(?:foo|[ab])[ \n](?:foo|[ab])", 7, "redact"),
)
ALPHABET = ["a", "b", "x", "foo", "1", "2", " ", "-", "sk-", "k1", "😀", "é", "e\u0301", "\u200d", "\n", "ß", "漢"]


def looks(rails: Sequence[Pattern]) -> Callable[[str], list[Hit]]:
    compiled = [(rail.name, re.compile(rail.source)) for rail in rails]
    return lambda text: [Hit(name, found.start(), found.end()) for name, one in compiled for found in one.finditer(text)]


def weighs(rails: Sequence[Pattern]) -> Callable[[str, Sequence[Hit]], Decision]:
    effects = {rail.name: rail.effect for rail in rails}
    order: list[Effect] = ["allow", "redact", "block"]

    def weigh(text: str, hits: Sequence[Hit]) -> Decision:
        effect = max((effects[hit.rail] for hit in hits), key=order.index)
        return Decision(effect, (), (), "sha256:0", hits=tuple(hit for hit in hits if effects[hit.rail] == effect))

    return weigh


def of_whole(text: str, rails: Sequence[Pattern]) -> tuple[str, bool]:
    try:
        return filtered(text, looks(rails), weighs(rails)), False
    except Cut as cut:
        return cut.before, True


def of_pieces(pieces: Sequence[str], rails: Sequence[Pattern]) -> tuple[str, bool]:
    gate = HoldBack(looks(rails), weighs(rails), max(rail.longest for rail in rails))
    out = ""
    try:
        for piece in pieces:
            out += gate.feed(piece)
        return out + gate.finish(), False
    except Cut as cut:
        return out + cut.before, True


def cut_up(text: str, rng: random.Random) -> list[str]:
    pieces, at = [], 0
    while at < len(text):
        size = rng.choice((1, 1, 2, 3, 5, 8, 21))
        pieces.append(text[at : at + size])
        at += size
    return pieces


@pytest.mark.slow
@pytest.mark.parametrize("chunkings", CHUNKINGS)
def test_random_chunkings_say_what_the_whole_text_says(chunkings: int) -> None:
    rng = random.Random(chunkings)
    wrong = []
    for _ in range(chunkings // 10):
        text = "".join(rng.choices(ALPHABET, k=rng.randint(1, 60)))
        rails = rng.sample(RAILS, rng.randint(1, 4))
        expected = of_whole(text, rails)
        wrong += [(text, rails) for _ in range(10) if of_pieces(cut_up(text, rng), rails) != expected]

    assert wrong == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(ALPHABET), max_size=200), st.lists(st.integers(1, 40), min_size=1), st.sets(st.sampled_from(RAILS), min_size=1)
)
def test_any_cut_of_any_text_says_what_the_whole_text_says(words: list[str], sizes: list[int], rails: set[Pattern]) -> None:
    text, pieces, at = "".join(words), [], 0
    for turn in range(len(text)):
        pieces.append(text[at : at + sizes[turn % len(sizes)]])
        at += len(pieces[-1])

    assert of_pieces(pieces, sorted(rails, key=lambda rail: rail.name)) == of_whole(text, sorted(rails, key=lambda rail: rail.name))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.integers(1, 5))
def test_a_text_in_which_nothing_is_found_arrives_unchanged_by_the_code_point(text: str, size: int) -> None:
    gate = HoldBack(lambda _: (), weighs(()), 7)
    out = "".join(gate.feed(text[at : at + size]) for at in range(0, len(text), size)) + gate.finish()

    assert out == text


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(ALPHABET), max_size=25).map("".join), min_size=1, max_size=5),
    st.integers(1, 30),
    st.sampled_from([rail for rail in RAILS if rail.effect == "redact"]),
)
def test_parts_that_follow_one_another_say_what_all_of_them_may_say_as_one_text(texts: list[str], size: int, rail: Pattern) -> None:
    gate, out = HoldBack(looks([rail]), weighs([rail]), rail.longest), [""]

    def take(said: str) -> None:
        *passed, said = [*gate.passed, said]
        gate.passed.clear()
        for one in passed:
            out[-1] += one
            out.append("")
        out[-1] += said

    for text in texts:
        for at in range(0, len(text), size):
            take(gate.feed(text[at : at + size]))
        gate.border()
    take(gate.finish())

    assert out == [*redacted_parts(texts, re.compile(rail.source), f"[redacted: {rail.name}]"), ""]


def test_both_halves_of_a_surrogate_pair_in_two_pieces_are_one_code_point() -> None:
    rails = [RAILS[6]]
    out, cut = of_pieces(["I am \ud83d", "\ude00\ud83d", "\ude00 today"], rails)

    assert (out, cut) == ("I am [redacted: smile] today", False)


@pytest.mark.slow
def test_many_short_parts_are_searched_no_oftener_than_one_long_one_is_by_much() -> None:
    searched = []
    for parts in (2_000, 8_000):
        seen: list[int] = []
        gate = HoldBack(lambda text, seen=seen: seen.append(len(text)) or (), weighs(()), 1_000)  # type: ignore[misc]  # counts what it is given
        for _ in range(parts):
            gate.feed("ab")
            gate.border()
        gate.finish()
        searched.append(sum(seen))

    assert searched[1] < 8 * searched[0]  # four times the text


def test_a_half_pair_that_stays_alone_leaves_as_it_came() -> None:
    gate = HoldBack(lambda _: (), weighs(()), 2)
    out = gate.feed("odd \ud83d") + gate.feed("x") + gate.feed("\udc00") + gate.feed("\ud83d") + gate.finish()

    assert out == "odd \ud83dx\udc00\ud83d"


def test_halves_that_stand_side_by_side_are_joined() -> None:
    assert joined("a\ud83d\ude00b\ud83d") == "a😀b\ud83d"


def test_nothing_leaves_after_a_cut() -> None:
    gate = HoldBack(looks([RAILS[5]]), weighs([RAILS[5]]), 7)
    before = gate.feed("the key is ")
    with pytest.raises(Cut) as cut:
        gate.feed("sk-ab12 and so on, and on and on")
    after = gate.feed("sk-ab12") + gate.finish()

    assert (before + cut.value.before, after) == ("the key is ", "")


def test_a_rail_that_fails_closes_the_stream() -> None:
    def broken(text: str) -> list[Hit]:
        raise RuntimeError("the rail is gone")

    gate = HoldBack(broken, weighs(()), 1)
    with pytest.raises(RuntimeError):
        gate.feed("x" * 40)

    assert gate.feed("more") + gate.finish() == ""


def test_the_text_held_back_is_no_longer_than_the_longest_span_and_its_context() -> None:
    gate = HoldBack(looks([RAILS[0]]), weighs([RAILS[0]]), 2)
    out = "".join(gate.feed("b") for _ in range(1000))

    assert len(out) == 1000 - 2 - CONTEXT


@pytest.mark.slow
def test_matches_without_a_gap_stay_exact_and_the_window_stays_bounded() -> None:
    rails = [RAILS[0]]
    pieces = ["a"] * 3_001

    assert of_pieces(pieces, rails) == of_whole("a" * 3_001, rails)


def test_hits_that_overlap_are_one_mark() -> None:
    hits = [Hit("one", 2, 6), Hit("two", 4, 8), Hit("three", 8, 9)]

    assert redacted("ab123456cd", hits) == "ab[redacted: one][redacted: three]d"
