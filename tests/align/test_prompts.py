"""Prompts and capability rows come from examples and files; what is wrong in a file is named with its line."""

import json
from pathlib import Path

import pytest

from bylaw import runs
from bylaw.align import prompts, replay
from bylaw.errors import RunError
from bylaw.policy.parse import load
from bylaw.types import Clause, Example, Policy, Turn

REFUNDS = load(Path(__file__).parents[2] / "policies" / "refunds")
ID = REFUNDS.clauses[0].id


def _file(folder: Path, *lines: object) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def _example(text: str, split: str = "train", *before: Turn) -> Example:
    return Example("good", split, turns=(*before, Turn("user", text), Turn("assistant", "a")))  # type: ignore[arg-type]  # a Split


def test_the_last_user_turn_of_an_example_is_asked_and_what_came_before_is_its_history() -> None:
    before = (Turn("system", "s"), Turn("user", "first ?"), Turn("assistant", "yes ."))
    events_only = Example("bad", event={"on": "tool_call"})
    no_user = Example("bad", turns=(Turn("assistant", "hello"),))
    clause = Clause("a.a", "t", "high", "refuse", examples=(_example("one"), events_only, no_user, _example("two", "eval", *before)))
    policy = Policy("p", "1", (clause, Clause("a.b", "t", "high", "refuse", examples=(_example("three"),))))

    found = prompts.from_examples(policy, "train")
    tested = prompts.from_examples(policy, "eval")

    assert [(prompt.request, prompt.clauses, prompt.history) for prompt in found] == [("one", ("a.a",), ()), ("three", ("a.b",), ())]
    assert [(prompt.request, prompt.history) for prompt in tested] == [("two", before)]


def test_one_request_under_two_clauses_is_one_prompt_of_both() -> None:
    clauses = [Clause(name, "t", "high", "refuse", examples=(_example(text),)) for name, text in (("a.a", "May I ?"), ("a.b", "may i"))]

    found = prompts.from_examples(Policy("p", "1", tuple(clauses)), "train")

    assert [(prompt.request, prompt.clauses) for prompt in found] == [("May I ?", ("a.a", "a.b"))]


def test_the_same_words_after_another_history_are_another_prompt(tmp_path: Path) -> None:
    turns = [{"role": "user", "text": "hi"}, {"role": "assistant", "content": "hello"}]
    file = _file(tmp_path, {"prompt": "yes"}, {"prompt": "yes", "history": turns}, {"prompt": "Yes!", "history": turns})

    found = prompts.from_file(file, REFUNDS)

    assert [prompt.history for prompt in found] == [(), (Turn("user", "hi"), Turn("assistant", "hello"))]
    assert len({prompt.id for prompt in found}) == 2


def test_a_written_row_is_read_back_as_it_was(tmp_path: Path) -> None:
    turns = (Turn("user", "hi\u2028"), Turn("tool", "\ud800"))
    row = prompts.row_of(prompts.asked("x\x1b[2J", (ID,), turns), "boundary", "some family", "scripted:w")
    file = tmp_path / "train.jsonl"
    runs.write_rows(file, [row.to_json("sha256:0")])

    assert prompts.rows_of_file(file, REFUNDS) == [row]


def test_a_file_gives_prompts_once_each_with_their_category(tmp_path: Path) -> None:
    file = _file(tmp_path, {"prompt": "one", "clauses": [ID]}, "", {"prompt": "two"}, {"prompt": "one"})

    found = prompts.from_file(file, REFUNDS)

    assert [(prompt.request, prompt.clauses) for prompt in found] == [("one", (ID,)), ("two", ())]
    assert len({prompt.id for prompt in found}) == 2
    assert [prompt.id for prompt in prompts.from_file(file, REFUNDS)] == [prompt.id for prompt in found]


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"prompt": ""},
        {"prompt": "  \n"},
        {"prompt": 1},
        {"prompt": None},
        {"prompt": ["a"]},
        {"text": "a"},
        {"prompt": "a", "clauses": ID},
        {"prompt": "a", "clauses": None},
        {"prompt": "a", "clauses": {}},
        {"prompt": "a", "clauses": ["no.such"]},
        {"prompt": "a", "clauses": [ID, "no.such"]},
        {"prompt": "a", "clauses": [1]},
        {"prompt": "a", "clauses": [[ID]]},
        {"prompt": "a", "clause": ID},
        {"prompt": "a", "family": 1},
        {"prompt": "a", "kind": "nice"},
        {"prompt": "a", "kind": ["given"]},
        {"prompt": "a", "source": None},
        {"prompt": "a", "history": "hi"},
        {"prompt": "a", "history": ["hi"]},
        {"prompt": "a", "history": [{"role": "user"}]},
        {"prompt": "a", "history": [{"role": "judge", "text": "b"}]},
        {"prompt": "a", "history": [{"role": "user", "text": "b", "content": "c"}]},
        {"prompt": "a", "history": [{"role": "user", "text": 1}]},
        {"prompt": "a", "history": [{"role": "user", "text": "b"}] * 201},
        [],
        "not json",
        '{"prompt": "a"',
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: object) -> None:
    file = _file(tmp_path, {"prompt": "fine"}, line)

    with pytest.raises(RunError, match=r"rows\.jsonl:2: ") as caught:
        prompts.from_file(file, REFUNDS)

    assert caught.value.hint


def test_a_line_is_counted_with_the_empty_ones_above_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"rows\.jsonl:4: a prompt row has no key 'promt'"):
        prompts.from_file(_file(tmp_path, {"prompt": "fine"}, "", "  ", {"promt": "b"}), REFUNDS)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        prompts.from_file(tmp_path / "missing.jsonl", REFUNDS)


def test_any_text_is_a_prompt(tmp_path: Path) -> None:
    odd = ["\ud800", "a\u2028b", "\0", "<think>", "x" * 100_000]

    found = prompts.from_file(_file(tmp_path, *({"prompt": text} for text in odd)), REFUNDS)

    assert [prompt.request for prompt in found] == odd


def test_what_is_tested_never_trains(tmp_path: Path) -> None:
    known = prompts.from_file(_file(tmp_path, *({"prompt": name} for name in "abc")), REFUNDS)

    assert [prompt.request for prompt in prompts.without(known, known[1:2])] == ["a", "c"]


def test_what_is_nearly_tested_never_trains_and_nothing_trains_twice(tmp_path: Path) -> None:
    tested = prompts.from_file(_file(tmp_path, {"prompt": "Please refund my whole order number 81 today, it was 640 EUR."}), REFUNDS)
    near = {"prompt": "please refund my whole order number 81 TODAY: it was 650 EUR"}
    known = prompts.from_file(_file(tmp_path, near, {"prompt": "Where is my parcel?"}), REFUNDS)

    assert [prompt.request for prompt in prompts.without((*known, *known), tested)] == ["Where is my parcel?"]


def test_what_is_of_a_tested_family_never_trains_however_far_its_words(tmp_path: Path) -> None:
    lamp, light, other = (
        {"prompt": text, "family": name} for text, name in (("My 640 EUR?", "lamp"), ("Wo ist es?", "lamp"), ("Hi!", "b"))
    )
    tested = prompts.from_file(_file(tmp_path, lamp), REFUNDS)
    known = prompts.from_file(_file(tmp_path, light, other), REFUNDS)

    assert [prompt.request for prompt in prompts.without(known, tested)] == ["Hi!"]


def test_nothing_to_learn_from_is_an_error_with_a_hint(tmp_path: Path) -> None:
    known = prompts.from_file(_file(tmp_path, {"prompt": "a"}), REFUNDS)

    for left in (known, ()):
        with pytest.raises(RunError, match="no prompts to learn from") as caught:
            prompts.without(left, known)

        assert "--prompts" in caught.value.hint


def test_an_empty_file_has_no_prompts(tmp_path: Path) -> None:
    assert prompts.from_file(_file(tmp_path), REFUNDS) == ()


def test_capability_rows_think_where_there_is_thinking(tmp_path: Path) -> None:
    file = _file(tmp_path, {"prompt": "a", "answer": "b"}, {"prompt": "c", "thinking": "d", "answer": "e"})

    found = replay.from_file(file)

    assert [(row.think, row.thinking, row.answer, row.source) for row in found] == [(False, "", "b", "replay"), (True, "d", "e", "replay")]


@pytest.mark.parametrize(
    "line", [{}, {"prompt": "a"}, {"answer": "a"}, {"prompt": "a", "answer": 1}, {"prompt": "a", "answer": "b", "thinking": None}]
)
def test_a_wrong_capability_row_is_named(tmp_path: Path, line: object) -> None:
    with pytest.raises(RunError, match=r"rows\.jsonl:2: not a capability row") as caught:
        replay.from_file(_file(tmp_path, {"prompt": "a", "answer": "b"}, line))

    assert caught.value.hint


def test_capability_rows_are_drawn_by_seed_without_a_row_twice(tmp_path: Path) -> None:
    rows = replay.from_file(_file(tmp_path, *({"prompt": str(i), "answer": "b"} for i in range(30))))

    some = replay.take(rows, "s", 10)

    assert replay.take(rows, "s", 10) == some != replay.take(rows, "t", 10)
    assert len({row.id for row in some}) == 10
    assert sorted(row.id for row in replay.take(rows, "s", 99)) == sorted(row.id for row in rows)
