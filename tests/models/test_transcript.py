"""The parser of thinking and answer is strict: whatever is not exactly one leading think block has neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.models.transcript import CLOSE, OPEN, parse, render

few = settings(deadline=None, max_examples=300)
TAGS = (
    OPEN,
    CLOSE,
    "<THINK>",
    "</Think>",
    "< think >",
    "</ think>",
    "<think lang=en>",
    "\uff1cthink\uff1e",
    "\u3008think\u3009",
    "<thinking>",
)

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<\uff1c\u2039\u3008"), max_size=40)
said = words.filter(str.strip)
shard = st.one_of(words, st.sampled_from([*TAGS, "<", ">", "/", "think", "\n", " ", "<thi", "nk>"]))
anything = st.lists(shard, max_size=12).map("".join)


@pytest.mark.slow
@few
@given(said, said)
def test_what_is_rendered_parses_back(thinking: str, answer: str) -> None:
    found = parse(render(thinking, answer))

    assert (found.thinking, found.answer, found.fault) == (thinking.strip(), answer.strip(), "")


@pytest.mark.slow
@few
@given(words)
def test_a_bare_answer_parses_back(answer: str) -> None:
    found = parse(render("", answer), thinking=False)

    assert (found.thinking, found.answer, found.fault) == ("", answer.strip(), "" if answer.strip() else "no answer")


@pytest.mark.slow
@few
@given(anything, st.booleans())
def test_no_text_whatsoever_gives_an_answer_or_a_thought_with_a_think_tag_in_it(raw: str, thinking: bool) -> None:
    found = parse(raw, thinking=thinking)

    assert not any(tag.lower() in part.lower() for tag in TAGS for part in (found.answer, found.thinking))


@pytest.mark.slow
@few
@given(anything, st.booleans(), st.sampled_from(["stop", "length", "refused", "error"]))
def test_a_fault_leaves_neither_thinking_nor_answer(raw: str, thinking: bool, finish: str) -> None:
    found = parse(raw, finish, thinking)  # type: ignore[arg-type]  # a Finish, drawn

    assert found.raw == raw
    assert not found.fault or (found.thinking, found.answer) == ("", "")


@pytest.mark.slow
@few
@given(anything)
def test_a_sound_completion_is_one_block_then_an_answer_and_nothing_else(raw: str) -> None:
    found = parse(raw)

    assert found.fault or found.answer
    assert found.fault or "".join(raw.split()) == "".join(f"{OPEN}{found.thinking}{CLOSE}{found.answer}".split())


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a bare answer",
        "<think>never closed",
        "never opened</think> answer",
        "<think>thought</think>",
        "<think>thought</think> \n\t ",
        "before <think>thought</think> answer",
        "<think>a</think> answer <think>b</think>",
        "<think>a</think><think>b</think> answer",
        "<think>a <think>b</think> answer",
        "<think>a <think>b</think> c</think> answer",
        "<think>a</think> b</think> answer",
        "<think>a</think> answer <think>",
        "<think>a</think> answer <think",
        "</think>a<think> answer",
        "<THINK>a</THINK> answer",
        "<Think>a</think> answer",
        "< think>a</think> answer",
        "<think >a</think > answer",
        "<think>a< /think> answer",
        "<think>a</ think> answer",
        "<think\n>a</think> answer",
        "<think id=1>a</think> answer",
        "<thinking>a</thinking> answer",
        "<think>a</think> answer <thinking>",
        "<think>a</think> answer </THINK>",
        "<think/>a</think> answer",
        "\uff1cthink\uff1ea\uff1c/think\uff1e answer",
        "<think>a</think> answer \uff1cthink\uff1e",
        "<think>a</think> answer \u3008think\u3009",
        "<think>a</think> answer \u2039/think\u203a",
        "<think>a</think> answer <thin\u212a>",
        "<think>a</think> answer <th\u0131nk>",
        "<think>a \uff1c/think\uff1e b</think> answer",
        "<think>a</think> answer \uff1c\uff0fthink\uff1e",
        "<think>a</think> answer \ufe64think\ufe65",
        "<think>a</think> answer \u27e8think\u27e9",
        "<think>a</think> answer \u00ab/think\u00bb",
        "<think>a</think> answer \u276ethink\u276f",
        "<think>a</think> answer <\uff54hink>",
        "<think>a</think> answer <\u200bthink>",
        "<think>a</think> answer <th\u00adink>",
        "<think>a</think> answer <|think|>",
        "<\u200bthink>a</think> answer",
        "<think>a</\u2060think> answer",
    ],
)
def test_every_hole_is_a_fault(raw: str) -> None:
    found = parse(raw)

    assert found.fault
    assert (found.thinking, found.answer, found.raw) == ("", "", raw)


@pytest.mark.parametrize("finish", ["length", "refused", "error"])
def test_a_reply_that_did_not_end_by_itself_is_a_fault_however_well_it_looks(finish: str) -> None:
    found = parse("<think>a</think> answer", finish)  # type: ignore[arg-type]  # a Finish

    assert found.fault
    assert (found.thinking, found.answer, found.finish) == ("", "", finish)


def test_a_think_block_that_nobody_asked_for_is_a_fault() -> None:
    found = parse("<think>a</think> answer", thinking=False)

    assert found.fault
    assert found.answer == ""


def test_white_space_before_the_block_is_no_fault() -> None:
    found = parse("\n <think> a </think> b \n")

    assert (found.thinking, found.answer, found.fault) == ("a", "b", "")


def test_an_empty_thought_is_no_thought() -> None:
    found = parse("<think> </think> b")

    assert (found.thinking, found.answer, found.fault) == ("", "", "an empty think block")


def test_words_about_thinking_are_no_tags() -> None:
    found = parse("<think> i think 3 < 4 </think> i think so , rethink > think")

    assert found.fault == ""
