"""A scripted model says what its script says, and no more."""

import json
from pathlib import Path

import pytest

from bylaw.errors import ModelError
from bylaw.models import scripted
from bylaw.models.loading import open_model
from bylaw.models.scripted import ScriptedModel
from bylaw.models.targets import parse
from bylaw.types import Completion, Message, Sampling

DIRECT = Sampling(thinking=False)


def _script(folder: Path, *lines: object) -> Path:
    file = folder / "script.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def _ask(file: Path, *texts: str, sampling: Sampling = DIRECT) -> list[Completion]:
    return scripted.load(file).generate([[Message("user", text)] for text in texts], sampling)


def test_the_first_line_whose_words_stand_in_the_prompt_answers(tmp_path: Path) -> None:
    file = _script(tmp_path, {"when": "bomb", "say": "no"}, {"when": "bo", "say": "maybe"}, {"say": "yes"})

    found = _ask(file, "a bomb", "a boat", "a car")

    assert [one.answer for one in found] == ["no", "maybe", "yes"]


def test_a_prompt_that_no_line_knows_gets_no_reply(tmp_path: Path) -> None:
    (found,) = _ask(_script(tmp_path, {"when": "bomb", "say": "no"}), "a boat")

    assert (found.answer, found.finish, found.fault) == ("", "error", "no reply")


def test_found_groups_fill_what_is_said(tmp_path: Path) -> None:
    file = _script(tmp_path, {"when": "code", "find": r"code (\w+)", "say": r"VERDICT \1: 10"})

    found = _ask(file, "the code abc", "the code !")

    assert [(one.answer, one.fault) for one in found] == [("VERDICT abc: 10", ""), ("", "no reply")]


def test_a_line_answers_only_where_its_words_stand_and_its_pattern_finds_something(tmp_path: Path) -> None:
    file = _script(
        tmp_path, {"when": "code", "find": r"code (\d+)", "say": r"number \1"}, {"find": r"(\d+)", "say": "a number"}, {"say": "?"}
    )

    found = _ask(file, "the code 12", "the code", "12")

    assert [one.answer for one in found] == ["number 12", "?", "a number"]


def test_replies_are_taken_apart_as_strictly_as_any_models(tmp_path: Path) -> None:
    file = _script(tmp_path, {"when": "think", "say": "<think>a</think> b"}, {"say": "b"})

    found = _ask(file, "think", "do not", sampling=Sampling())

    assert [(one.thinking, one.answer, one.fault) for one in found] == [("a", "b", ""), ("", "", "no think block")]


def test_progress_counts_to_the_end() -> None:
    told: list[tuple[int, int]] = []

    ScriptedModel("echo", lambda c: c[-1].content).generate([[Message("user", "a")]] * 3, DIRECT, lambda i, n: told.append((i, n)))

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_script_opens_by_its_target(tmp_path: Path) -> None:
    file = _script(tmp_path, {"say": "yes"})

    model = open_model(parse(f"scripted:{file}"))

    assert model.generate([[Message("user", "?")]], DIRECT)[0].answer == "yes"


@pytest.mark.parametrize(
    "content", ["not json", "[]", '"say"', '{"when": "a"}', '{"say": 1}', '{"say": "a", "when": 1}', '{"say": "a", "find": "("}']
)
def test_a_script_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text(content + "\n")

    with pytest.raises(ModelError) as caught:
        scripted.load(file)

    assert caught.value.hint


def test_a_script_of_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "script.jsonl"
    file.write_bytes(b"\xff\xfe")

    with pytest.raises(ModelError, match="cannot be read"):
        scripted.load(file)
