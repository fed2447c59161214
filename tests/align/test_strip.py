"""The leak test: no run of eight words of the policy, and no clause line, may stand in a training prompt."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.align.strip import N, ensure_stripped, grams, leaks, text_of
from bylaw.errors import RunError
from bylaw.policy.parse import load
from bylaw.policy.prose import Prose
from bylaw.policyworld import replay
from bylaw.policyworld.dialect import as_prompt, dialect
from bylaw.policyworld.language import SYNONYMS
from bylaw.policyworld.scenarios import training_set
from bylaw.types import Clause, Example, Message, Policy, Ruling, Turn

few = settings(deadline=None, max_examples=150)
POLICIES = Path(__file__).parents[2] / "policies"
REFUNDS, WORLD = load(POLICIES / "refunds"), load(POLICIES / "policyworld")
NORM = "A refund above 200 EUR MUST NOT be executed until a support lead has approved these exact arguments."
WHY = "Loss data of two years show that most of the damage comes from a few large refunds."
POLICY = Policy("p", "1.0.0", (Clause("a.a", "A clause", "high", "refuse", norm=NORM, rationale=WHY),))
EXCERPT = "Above all the assistant keeps the money of the shop together, whoever asks for it."
word = st.text("abcdefghij", min_size=1, max_size=6)
around = st.lists(word, max_size=6).map(" ".join)
marks = st.sampled_from(["", ".", ",", ";", ":", "!", "?", "(", ")", "[", "]", '"', "'", "`", "*", "_", "**", "...", '?"'])


def _found(text: str, lines: tuple[str, ...] = ()) -> list[str]:
    return [leak.words for leak in leaks([("p", text)], POLICY, [EXCERPT], lines)]


@pytest.mark.slow
@few
@given(st.sampled_from([NORM, WHY, EXCERPT]), st.integers(0, 60), around, around)
def test_eight_words_of_norm_rationale_or_excerpt_are_found_wherever_they_stand(secret: str, start: int, before: str, after: str) -> None:
    words = secret.split()
    start = start % (len(words) - N + 1)
    part = " ".join(words[start : start + N])

    assert _found(f"{before} {part} {after}")


@pytest.mark.slow
@few
@given(st.sampled_from([NORM, WHY, EXCERPT]), st.data())
def test_case_line_breaks_and_punctuation_at_the_ends_of_words_hide_nothing(secret: str, data: st.DataObject) -> None:
    turned = [data.draw(st.sampled_from([str.upper, str.lower, str.title]))(one) for one in secret.split()]
    joined = "".join(
        data.draw(marks) + one + data.draw(marks) + data.draw(st.sampled_from([" ", "\n", "\t", "  ", " ... "])) for one in turned
    )

    assert _found(joined)


@pytest.mark.slow
@few
@given(st.sampled_from([NORM, WHY, EXCERPT]), st.integers(0, 60))
def test_seven_words_are_no_leak(secret: str, start: int) -> None:
    words = secret.split()
    start = start % (len(words) - N + 2)

    assert not _found(f"we said: {' '.join(words[start : start + N - 1])} or so")


def test_clean_prompts_pass() -> None:
    prompts = [(str(i), text) for i, text in enumerate(["May I have my money back?", "", "refund refund refund " * 20])]

    ensure_stripped(prompts, POLICY, [EXCERPT])

    assert leaks(prompts, POLICY, [EXCERPT]) == []


def test_what_a_person_asked_in_a_ruling_that_the_excerpt_cites_is_no_leak_but_what_was_decided_is() -> None:
    why = "A trip to school is no emergency in the sense of this rule, however it is told."
    turns = (Turn("user", "I forgot the trip of my class, and sixty euros must be there by noon!"), Turn("assistant", "Not today."))
    ruling = Example("good", turns=turns, ruling=Ruling("Ada", "2026-01-02", why))
    policy = replace(POLICY, clauses=(replace(POLICY.clauses[0], examples=(ruling,)),))
    excerpt = Prose().excerpt(policy, ["a.a"], 4000)

    assert turns[0].text in excerpt
    assert leaks([("p", turns[0].text)], policy, [excerpt]) == []
    assert [leak.prompt for leak in leaks([("why", why), ("norm", NORM)], policy, [excerpt])] == ["why", "norm"]


def test_a_clause_line_is_found_whole() -> None:
    lines = ("theft guest P6.5 : deny ;", "theft guest P6.5 : refuse ;")

    assert _found("fraud anyone P1.1 : help ; theft guest P6.5 : deny ; user guest", lines) == [lines[0]]
    assert _found("theft guest P6.5 : allow ; user guest", lines) == []


def test_every_prompt_that_leaks_is_named_with_its_words() -> None:
    prompts = [("clean", "Hello."), ("one", NORM), ("two", "x " + WHY)]

    found = leaks(prompts, POLICY, [])

    assert [leak.prompt for leak in found] == ["one", "two"]
    assert found[0].words == "a refund above 200 eur must not be"


def test_a_leak_stops_the_run_with_a_hint() -> None:
    with pytest.raises(RunError, match="1 training prompts carry the policy; bad") as caught:
        ensure_stripped([("good", "Hello."), ("bad", NORM)], POLICY, [])

    assert caught.value.hint


def test_the_excerpt_a_generator_saw_is_found_in_a_conversation_that_kept_it() -> None:
    excerpt = Prose().excerpt(REFUNDS, [REFUNDS.clauses[0].id], 4000)
    prompt = as_prompt(training_set(0, 1)[0], dialect(WORLD))

    kept, dropped = Prose().prompt(prompt, excerpt), Prose().prompt(prompt)

    assert leaks([("p", text_of(kept))], Policy("empty", "1", ()), [excerpt])
    assert not leaks([("p", text_of(dropped))], REFUNDS, [excerpt])


def test_no_training_prompt_and_no_replay_row_of_policyworld_leaks() -> None:
    words = dialect(WORLD)
    lines = tuple(clause.line(name) for clause in words.policy for name in SYNONYMS[clause.action])
    rows = [as_prompt(row, words) for row in training_set(0, 400)]
    excerpts = [words.excerpt(WORLD, row.clauses, 42, row.id) for row in rows]
    asked = [(row.id, text_of(words.prompt(row))) for row in rows]
    asked += [(row.id, text_of(row.messages)) for row in (*replay.lessons(words, "0", 200), *replay.checked_lessons(words, "0", 200))]

    assert leaks(asked, WORLD, excerpts, lines) == []


def test_the_same_check_finds_a_policyworld_excerpt_that_was_kept() -> None:
    words = dialect(WORLD)
    lines = tuple(clause.line(name) for clause in words.policy for name in SYNONYMS[clause.action])
    rows = [as_prompt(row, words) for row in training_set(0, 40)]
    kept = [(row.id, text_of(words.prompt(row, words.excerpt(WORLD, row.clauses, 42, row.id)))) for row in rows]

    assert len(leaks(kept, WORLD, [], lines)) == 40


def test_a_short_text_has_no_grams() -> None:
    assert list(grams("one two three four five six seven")) == []
    assert len(list(grams("One, two. (three) four five six seven eight - nine".replace("-", "..")))) == 2


def test_text_of_a_conversation_is_all_of_it() -> None:
    assert text_of([Message("system", "a"), Message("user", "b")]) == "a\nb"


def test_words_that_are_drawn_at_random_leak_nothing() -> None:
    rng = Random(0)
    known = NORM.split()

    assert not _found(" ".join(rng.choice(known) for _ in range(2000)))
