"""Cutting: what was found is gone, and all else stays where it was."""

import re

from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.rails import library
from bylaw.govern.rails.rail import NO_FACTS
from bylaw.govern.rails.redacting import redact
from bylaw.types import Hit

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["a", "b"])), max_size=6)


@given(st.text("xyz", min_size=1, max_size=30), SPANS)
def test_what_is_not_in_a_hit_stays_as_it_is_and_where_it_is(text: str, spans: list[tuple[int, int, str]]) -> None:
    hits = [Hit(rail, start, end) for start, end, rail in spans]
    cut = {at for hit in hits for at in range(hit.start, min(hit.end, len(text)))}

    kept = re.sub(r"\[redacted: [ab, ]+\]", "", redact(text, hits))

    assert kept == "".join(char for at, char in enumerate(text) if at not in cut)


def test_a_mark_names_what_was_there() -> None:
    text = "pay 4111 1111 1111 1111 now"

    assert redact(text, library.known()["pii.card"].find(text, NO_FACTS)) == "pay [redacted: pii.card] now"


def test_spans_that_overlap_become_one_mark_with_both_names() -> None:
    assert redact("abcdef", [Hit("x", 1, 4), Hit("y", 2, 5)]) == "a[redacted: x, y]f"
