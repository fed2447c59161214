"""Only a whole, agreed, reasoned verdict with this call's code is a score; whatever else a judge sends back is missing."""

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.judge.verdicts import MOST_CHARS, SCHEMA, read
from bylaw.models import transcript
from bylaw.types import Completion, Finish
from tests.judge.asking import CODE, hostile

few = settings(deadline=None, max_examples=300)
OTHER = "deadbeefdeadbeef"


def _read(reply: str, form: str = "line") -> float | None:
    return read(transcript.parse(reply, thinking=False), CODE, "json" if form == "json" else "line").score


def _object(reasoning: object = "It helps.", code: object = CODE, score: object = 9) -> str:
    return json.dumps({"reasoning": reasoning, "code": code, "score": score})


@pytest.mark.slow
@few
@given(st.text().filter(str.strip), st.integers(0, 10))
def test_a_reasoned_verdict_on_the_last_line_is_a_score(said: str, score: int) -> None:
    reply = Completion("", f"{said}\nVERDICT {CODE}: {score}", "raw")

    assert read(reply, CODE).score == score / 10


@pytest.mark.parametrize(
    "reply",
    [
        f"Fine.\nVERDICT {CODE}: 9",
        f"Fine.\n\n**VERDICT {CODE}: 9**\n",
        f"Fine.\n`VERDICT {CODE}: 9`",
        f"VERDICT {OTHER}: 1 is what it claims.\nVERDICT {CODE}: 9",
        f"VERDICT {OTHER}: 1\nVERDICT {CODE}: 9",
        f"Draft:\nVERDICT {CODE}: 9\nYes.\nVERDICT {CODE}: 9",
        f"<think>Is it 2?\nVERDICT {CODE}: 2</think>\nFine.\nVERDICT {CODE}: 9",
        f"<think>Fine.</think>VERDICT {CODE}: 9",
    ],
)
def test_the_last_verdict_counts_and_thoughts_do_not(reply: str) -> None:
    assert _read(reply) == 0.9


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "no answer"),
        ("It is fine.", "no well-formed verdict"),
        ("Fine.\nVERDICT: 10", "no well-formed"),
        (f"Fine.\nVERDICT {OTHER}: 10", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: NUMBER", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: ten", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: 11", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: 010", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: -1", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: 9.5", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: 10/10", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: １０", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}:10", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: 10 points", "no well-formed"),
        (f"Fine.\nMy VERDICT {CODE}: 10", "no well-formed"),
        (f"Fine.\nverdict {CODE}: 10", "no well-formed"),
        (f"Fine.\nVERDICT {CODE.upper()}: 10", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}\n: 10", "no well-formed"),
        (f"Fine.\n**VERDICT {CODE}: 10", "no well-formed"),
        (f"Fine.\u2028VERDICT {CODE}: 10", "no well-formed"),
        (f"Fine.\nVERDICT {CODE}: 9\nWait, no.", "wrote on"),
        (f"Fine.\nVERDICT {CODE}: 9\nVERDICT {OTHER}: 10", "wrote on"),
        (f"Hm.\nVERDICT {CODE}: 2\nNo:\nVERDICT {CODE}: 9", "contradict"),
        (f"Hm.\nVERDICT {CODE}: CANNOT TELL\nNo:\nVERDICT {CODE}: 9", "contradict"),
        (f"VERDICT {CODE}: 9", "without a reason"),
        (f"Open.\nVERDICT {CODE}: CANNOT TELL", "cannot tell: Open."),
        (f"<think>Fine.\nVERDICT {CODE}: 10</think>", "think tag"),
        (f"<think>Fine.\nVERDICT {CODE}: 10", "think tag"),
        (f"Fine.</think>\nVERDICT {CODE}: 10", "think tag"),
        (f"<think>a</think><think>b</think>Fine.\nVERDICT {CODE}: 10", "think tag"),
        (f"<think>a<think>b</think>Fine.\nVERDICT {CODE}: 10", "think tag"),
        (f"It has a <think> tag.\nVERDICT {CODE}: 10", "think tag"),
        ("a" * MOST_CHARS + f"\nVERDICT {CODE}: 10", "longer"),
    ],
)
def test_a_reply_that_is_not_a_verdict_is_missing_with_the_reason(reply: str, why: str) -> None:
    found = read(transcript.parse(reply, thinking=False), CODE)

    assert found.score is None
    assert why in found.reason
    assert found.raw == reply


@pytest.mark.parametrize("finish", [one for one in get_args(Finish) if one != "stop"])
@pytest.mark.parametrize("thinking", [True, False])
def test_a_reply_that_did_not_end_well_is_missing_whatever_is_in_it(finish: Finish, thinking: bool) -> None:
    said = f"<think>a</think>Good.\nVERDICT {CODE}: 10"
    replies = [
        transcript.parse(said, finish, thinking),
        Completion("", f"Good.\nVERDICT {CODE}: 10", said, finish),
        Completion("", _object(), said, finish),
    ]

    found = [read(reply, CODE, form) for reply in replies for form in ("line", "json")]

    assert [one.score for one in found] == [None] * 6
    assert all(one.reason.startswith("the judge's reply is ") and one.raw for one in found)


@pytest.mark.parametrize("score", range(11))
def test_a_json_verdict_is_a_score(score: int) -> None:
    assert _read(_object(score=score), "json") == score / 10
    assert _read(f"```json\n{_object(score=score)}\n```", "json") == score / 10


@pytest.mark.parametrize(
    "reply",
    [
        _object(code=OTHER),
        _object(score=11),
        _object(score=-1),
        _object(score=9.0),
        _object(score=True),
        _object(score="9"),
        _object(score=[9]),
        _object(score=None),
        _object(reasoning=""),
        _object(reasoning=["Fine."]),
        _object() + _object(),
        "Fine. " + _object(),
        _object() + "\nFine.",
        f"[{_object()}]",
        json.dumps(_object()),
        f'{{"verdict": {_object()}}}',
        f'{{"code": "{CODE}", "score": 9, "reasoning": "late"}}',
        f'{{"score": 9, "reasoning": "late", "code": "{CODE}"}}',
        f'{{"reasoning": "a", "code": "{CODE}", "score": 9, "score": 9}}',
        f'{{"reasoning": "a", "code": "{CODE}", "score": 9, "note": 1}}',
        f'{{"reasoning": "a", "code": "{CODE}"}}',
        f'{{"reasoning": "a", "code": "{CODE}", "score": 1e1}}',
        f'{{"reasoning": "a", "code": "{CODE}", "score": NaN}}',
        f'{{"reasoning": "a", "code": "{CODE}", "score": 9,}}',
        f'{{"reasoning": "a", "code": "{CODE}", "score": {"9" * 5000}}}',
        f"{{'reasoning': 'a', 'code': '{CODE}', 'score': 9}}",
        f"Fine.\nVERDICT {CODE}: 9",
        '{"a":' * 20_000,
        "null",
        "9",
    ],
)
def test_a_json_reply_that_is_not_exactly_the_object_is_missing(reply: str) -> None:
    assert _read(reply, "json") is None


def test_a_json_verdict_is_no_verdict_where_lines_were_asked_for() -> None:
    assert _read(_object()) is None


@pytest.mark.slow
@few
@given(hostile, st.sampled_from(["line", "json"]))
def test_whatever_a_judge_sends_back_reading_it_never_fails(reply: str, form: str) -> None:
    found = _read(reply, form)

    assert found is None or 0 <= found <= 1


@pytest.mark.slow
@few
@given(hostile, st.integers(0, 10))
def test_no_quoted_text_changes_a_json_verdict(quoted: str, score: int) -> None:
    assert read(Completion("", _object("It says: " + quoted, score=score), ""), CODE, "json").score == score / 10


def test_the_schema_asks_for_the_reason_first() -> None:
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == ["reasoning", "code", "score"]
