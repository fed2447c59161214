"""Several checks: all pass or nothing is released; one that cannot tell is no pass; agreement is counted."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.rails.asking import Answer
from bylaw.govern.rails.ensemble import CHECKS, Vote, agree, rates
from bylaw.types import Hit

HIT = (Hit("x", 0, 1),)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(get_args(Vote)), min_size=1))
def test_an_answer_is_released_only_when_every_check_passes(votes: dict[str, Vote]) -> None:
    found = {name: HIT if vote == "fail" else () for name, vote in votes.items() if vote != "cannot tell"}

    said = agree(list(votes), Answer(found, frozenset()))

    assert said.votes == votes
    assert (said.outcome == "release") == (set(votes.values()) == {"pass"})
    assert (said.outcome == "undecided") == ("cannot tell" in votes.values())


def test_a_failed_rail_and_one_that_was_not_asked_cannot_tell() -> None:
    assert agree(["a"], Answer({"a": ()}, frozenset({"a"}))).outcome == "undecided"
    assert agree(["a"], Answer({}, frozenset())).outcome == "undecided"


def test_checks_that_differ_disagree() -> None:
    assert agree(["grounded", "schema"], Answer({"ungrounded": HIT, "schema": ()}, frozenset())).outcome == "disagree"


def test_agreement_is_counted_where_both_could_tell() -> None:
    records: list[dict[str, Vote]] = [{"a": "pass", "b": "pass"}, {"a": "pass", "b": "fail"}, {"a": "pass", "b": "cannot tell"}]

    assert [tuple(pair) for pair in rates(records)] == [("a", "b", 1, 2)]


def test_every_named_check_stands_on_a_rail_that_exists() -> None:
    from bylaw.govern.rails import library

    assert set(CHECKS.values()) <= library.known().keys()
