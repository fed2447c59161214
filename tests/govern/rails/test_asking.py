"""Asking rails about an event: all its texts, cheap rails first, and a rail that breaks has failed and found nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bylaw.govern.rails import library
from bylaw.govern.rails.asking import ask, texts
from bylaw.govern.rails.rail import Rail, RailError, RailFacts
from bylaw.govern.rails.views import MOST_CHARS
from bylaw.types import Event, Hit


@dataclass(frozen=True)
class Word:
    """A rail that finds one word, and remembers that it was asked."""

    name: str = "word"
    cost: int = 0
    longest: int | None = 4
    fault: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        self.asked.append(text)
        if self.fault:
            raise self.fault
        at = text.find("evil")
        return (Hit(self.name, at, at + 4),) if at >= 0 else ()


def rails(*several: Word) -> dict[str, Rail]:
    return {one.name: one for one in several}


def test_every_string_of_a_call_is_asked_about_names_and_numbers_included() -> None:
    args = {"note": "evil one", "deep": [{"x": ["evil two"]}], "evil": 1, "card": 4111111111111111}

    answer = ask(Event("tool_call", "t", args, "evil text"), ["word"], rails(Word()))
    (card,) = ask(Event("tool_call", "t", args), ["pii.card"], library.known()).placed

    assert {one.where for one in answer.placed} == {(), ("args", "note"), ("args", "deep", 0, "x", 0), ("args", "evil", "key")}
    assert card.where == ("args", "card")


def test_a_call_is_not_read_on_surfaces_that_have_only_text() -> None:
    assert [piece.where for piece in texts(Event("output", args={"note": "evil"}, text="fine"))] == [()]


@pytest.mark.parametrize("fault", [RuntimeError("broken"), RailError("no"), TimeoutError(), MemoryError(), RecursionError()])
def test_a_rail_that_breaks_has_failed_and_the_others_still_answer(fault: Exception) -> None:
    answer = ask(Event("output", text="evil"), ["bad", "word"], rails(Word(name="bad", fault=fault), Word()))

    assert answer.failed == {"bad"}
    assert "bad" not in answer.found
    assert answer.found["word"]


def test_a_rail_that_nobody_knows_has_failed() -> None:
    assert ask(Event("output", text="x"), ["nowhere"], {}).failed == {"nowhere"}


@pytest.mark.parametrize("args", [{"a": "x" * (MOST_CHARS + 1)}, {"a": ["x"] * 3_000}, {"a": object()}])
def test_an_event_that_is_too_large_or_no_json_fails_every_rail(args: dict[str, Any]) -> None:
    answer = ask(Event("tool_call", "t", args), ["word", "injection"], {**library.known(), **rails(Word())})

    assert answer.failed == {"word", "injection"}
    assert not answer.found


def test_arguments_nested_without_end_fail_and_do_not_crash() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]

    assert ask(Event("tool_call", "t", {"a": deep}), ["word"], rails(Word())).failed == {"word"}


def test_dear_rails_are_not_asked_once_the_cheap_ones_have_decided() -> None:
    cheap, dear = Word(), Word(name="judge.x", cost=2)

    answer = ask(Event("output", text="evil"), ["judge.x", "word"], rails(cheap, dear), go_on=lambda so_far: not so_far.found["word"])

    assert not dear.asked
    assert "judge.x" not in answer.found
    assert "judge.x" not in answer.failed


def test_half_a_surrogate_pair_does_not_hide_what_stands_beside_it() -> None:
    assert ask(Event("output", text="\ud800 4111 1111 1111 1111"), ["pii.card"], library.known()).found["pii.card"]
