"""Of several effects the strictest holds, and of none the strictest of all."""

from hypothesis import given
from hypothesis import strategies as st

from bylaw.policy.strictest import ORDER, strictest
from bylaw.types import Effect

effects = st.lists(st.sampled_from(ORDER), min_size=1)


def test_nothing_to_choose_from_blocks() -> None:
    assert strictest([]) == "block"


def test_a_word_that_is_no_effect_blocks() -> None:
    words: list[Effect] = ["allow", "maybe"]  # type: ignore[list-item]  # what a broken caller could pass

    assert strictest(words) == "block"


def test_the_order_is_the_written_one() -> None:
    assert ORDER == ("allow", "redact", "revise", "require_approval", "block")


@given(effects, effects)
def test_more_rules_never_loosen(some: list[Effect], more: list[Effect]) -> None:
    together = strictest([*some, *more])

    assert together == strictest([*more, *some])
    assert ORDER.index(together) == max(ORDER.index(strictest(some)), ORDER.index(strictest(more)))
