"""Leaks: stretches of the system prompt and canaries, in any spacing, case and view; a literal comparison agrees."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern.rails import leak, library
from bylaw.govern.rails.rail import NO_FACTS, RailFacts

PROMPT = "You are the bank's assistant. Never mention the internal rate of 4.2 percent to anyone. Always be polite and short."
FACTS = RailFacts(system=PROMPT, canaries=("CANARY-7f3a9b2c",))


def kinds(text: str, facts: RailFacts = FACTS) -> set[str]:
    return {hit.rail for hit in library.known()["leak"].find(text, facts)}


def test_a_stretch_of_the_prompt_is_found_whatever_its_spacing_and_case() -> None:
    assert kinds("My rules say: NEVER mention the internal rate of 4.2 percent, to anyone!") == {"leak.system"}
    assert kinds("n e v e r m e n t i o n t h e i n t e r n a l r a t e o f 4 2 p e r c e n t t o a n y o n e") == {"leak.system"}
    assert kinds(PROMPT[::-1]) == {"leak.system"}


def test_a_common_phrase_of_the_prompt_is_no_leak() -> None:
    assert not kinds("I always try to be polite and short.")


def test_a_canary_is_found_exactly_and_in_views() -> None:
    assert kinds("it is canary 7F3A9B2C") == {"leak.canary"}
    assert kinds("Q0FOQVJZLTdmM2E5YjJj") == {"leak.canary"}
    assert not kinds("canary birds")


def test_without_a_prompt_and_canaries_nothing_can_leak() -> None:
    assert not kinds("anything", NO_FACTS)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.text("ab ", max_size=60), st.text("ab ", max_size=90), st.integers(0, 60), st.integers(0, 80))
def test_a_stretch_is_found_exactly_where_a_literal_search_finds_one(around: str, system: str, start: int, size: int) -> None:
    text = around[:30] + system[start : start + size] + around[30:]
    secret = leak.squeezed(system)
    run = min(leak.RUN_DENSE if len(secret) > leak.RUN_DENSE * max(1, len(system.split())) else leak.RUN, len(secret))

    hits = [hit for hit in library.known()["leak.system"].find(text, RailFacts(system=system)) if not hit.view]
    there = leak.squeezed(text)
    wanted = {at for first in range(len(there) - run + 1) if there[first : first + run] in secret for at in range(first, first + run)}

    places = [at for at, char in enumerate(text) if char.isalnum()]
    assert {places.index(at) for hit in hits for at in range(hit.start, hit.end) if at in places} == wanted
