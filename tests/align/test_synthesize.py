"""The generator reads as much of the policy as it can; what it cannot be asked or does not answer is a row that says so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.align.synthesize import Refuses, Synthesis, Synthesizer, sample_from, synthesize
from bylaw.models.scripted import ScriptedModel
from bylaw.policy.compile import approx_tokens
from bylaw.policy.prose import Prose
from bylaw.types import Clause, Message, Policy, Prompt

NORM = "The assistant MUST do what this clause says, and MUST NOT do anything else, whoever asks for it."
POLICY = Policy("p", "1.0.0", tuple(Clause(f"a.c{i}", f"Clause {i}", "high", "refuse", norm=NORM) for i in range(30)))
WELL = "<think>[a.c0] applies</think> No."
PROMPTS = [Prompt(name, f"what of {name}?", ("a.c0",)) for name in "abc"]


@dataclass
class Writer:
    """A model that keeps what it was asked."""

    asked: list[Sequence[Message]]

    def of(self, refuses: Refuses = lambda _: "", said: str | None = WELL) -> Synthesizer:
        def reply(messages: Sequence[Message]) -> str | None:
            self.asked.append(messages)
            return said

        return Synthesizer(ScriptedModel("writer", reply), Prose(), POLICY, refuses)


def most(tokens: int) -> Refuses:
    """A model that reads so many tokens."""
    return lambda messages: "too long" if sum(approx_tokens(one.content) for one in messages) > tokens else ""


def test_every_prompt_is_asked_so_many_times_under_the_whole_excerpt_where_nothing_speaks_against_it() -> None:
    writer = Writer([])

    rows = synthesize(writer.of(), PROMPTS, Synthesis(samples=2))

    assert [row.prompt.id for row in rows] == ["a", "a", "b", "b", "c", "c"]
    assert len(writer.asked) == 6
    assert all(clause.id in row.excerpt for row in rows for clause in POLICY.clauses)
    assert {(row.thinking, row.answer, row.fault, row.finish) for row in rows} == {("[a.c0] applies", "No.", "", "stop")}


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(st.integers(200, 1200))
def test_the_excerpt_is_the_longest_that_the_generator_can_be_asked_with(tokens: int) -> None:
    asks = Writer([]).of(most(tokens))

    found = asks.question(PROMPTS[0], 2000, "seed")
    longer = [
        excerpt
        for budget in range(1, 2001)
        if len(excerpt := _excerpt(budget)) > len(found.excerpt) and not asks.refuses(Prose().prompt(PROMPTS[0], excerpt))
    ]

    assert found.why_not or not asks.refuses(found.messages)
    assert longer == []


def _excerpt(budget: int) -> str:
    """The excerpt of a budget, empty where the clause itself does not fit."""
    return Prose().excerpt(POLICY, ("a.c0",), budget) if budget >= 45 else ""


def test_a_prompt_that_the_generator_cannot_be_asked_is_a_row_with_the_reason_between_the_others() -> None:
    writer = Writer([])
    prompts = [PROMPTS[0], replace(PROMPTS[1], request="long " * 4000), PROMPTS[2]]

    rows = synthesize(writer.of(most(2000)), prompts, Synthesis(samples=1))

    assert [(row.prompt.id, row.finish, row.fault) for row in rows] == [
        ("a", "stop", ""),
        ("b", "error", "not asked: too long"),
        ("c", "stop", ""),
    ]
    assert len(writer.asked) == 2


def test_a_clause_longer_than_the_budget_is_a_reason_too() -> None:
    (row,) = synthesize(Writer([]).of(), PROMPTS[:1], Synthesis(samples=1, excerpt_tokens=10))

    assert row.finish == "error"
    assert row.fault.startswith("not asked: context too short for the excerpt")


def test_a_generator_that_says_nothing_leaves_rows_without_a_reply() -> None:
    rows = synthesize(Writer([]).of(said=None), PROMPTS, Synthesis(samples=1))

    assert [(row.finish, row.fault) for row in rows] == [("error", "no reply")] * 3


@pytest.mark.parametrize("said", [WELL, "no thought", None])
def test_a_row_is_read_back_as_it_was_written(said: str | None) -> None:
    for row in synthesize(Writer([]).of(said=said), PROMPTS, Synthesis(samples=1)):
        assert sample_from(row.to_json()) == row
