"""Sets of patterns: one that ran out of memory is asked again pattern by pattern, so exhausting it hides nothing."""

from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.rails.patterns import PatternSet, pattern

SOURCES = ["a", "b+", "[cd]e", "^x", "y$", r"\d"]


class Exhausted(PatternSet):
    """A set as it is when its automaton has outgrown its memory: it reports no match at all."""

    def _pass(self, raw: bytes) -> list[int] | None:
        return None


@given(
    st.lists(st.sampled_from(SOURCES), min_size=1, max_size=6), st.text("abcdexy12é", max_size=20), st.sampled_from([PatternSet, Exhausted])
)
def test_a_set_says_what_its_patterns_say_alone_exhausted_or_not(sources: list[str], text: str, kind: type[PatternSet]) -> None:
    found = kind(sources).matching(text, text.encode())

    assert list(found) == [index for index, source in enumerate(sources) if pattern(source).search(text)]
