"""The notice that an AI speaks: on the first answer of a session, on every route, in front of the model's own words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from bylaw.errors import PolicyError
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.serve.gate import Who
from bylaw.serve.law import Law
from bylaw.serve.sayings import sayings
from bylaw.types import Policy
from tests.serve import test_chat_streams as chat
from tests.serve import test_messages as messages
from tests.serve import test_responses as responses
from tests.serve.rig import RAILS, Open, Rig, ask, post, rigged, written

TEXT = "You are talking to an AI system."
NOTICE = f"x-notice:\n  text: {TEXT}\n"
FRONT = f"{TEXT}\n\n"
KEY = "Take sk-abcd1234."


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path, more=NOTICE) as one:
        yield one


def saying(text: str | None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def asked(rig: Rig, *turns: str, session: str = "one", **more: Any) -> Any:
    said = [{"role": "assistant" if at % 2 else "user", "content": turn} for at, turn in enumerate(turns or ("Hello",))]
    reply = post(
        f"{rig.url}/v1/chat/completions",
        orjson.dumps({"model": "m", "messages": said, **more}),
        headers={"x-bylaw-session": session} if session else {},
    )
    return orjson.loads(reply.body)


def content(body: Any) -> Any:
    return body["choices"][0]["message"]["content"]


def test_the_first_answer_of_a_session_begins_with_the_notice_and_the_second_does_not(rig: Rig) -> None:
    rig.speaker.replies += [saying("One."), saying("Two."), saying("Three.")]
    first, second, other = asked(rig), asked(rig, "Hello", "One.", "And?"), asked(rig, session="other")

    assert [content(one) for one in (first, second, other)] == [f"{FRONT}One.", "Two.", f"{FRONT}Three."]
    assert (first["bylaw"]["notice"]["text"], first["bylaw"]["notice"]["shown"], "bylaw" in second) == (TEXT, "text", False)


def test_the_record_says_which_wording_was_shown(rig: Rig) -> None:
    rig.speaker.replies += [saying("One."), saying("Two.")]
    first = asked(rig)
    asked(rig, "Hello", "One.", "And?")
    noticed = [entry["facts"].get("notice") for entry in rig.book.entries]

    assert noticed == [{"wording": first["bylaw"]["notice"]["wording"], "show": "text", "clause": ""}, None]


def test_a_conversation_without_a_name_that_shows_the_notice_is_not_told_again_nor_judged_again(rig: Rig) -> None:
    rig.speaker.replies += [saying("One."), saying("Two.")]
    first = content(asked(rig, session=""))

    assert content(asked(rig, "Hello", first, "And?", session="")) == "Two."


def test_a_refusal_on_the_first_turn_carries_the_notice_too(rig: Rig) -> None:
    rig.speaker.replies.append(saying(KEY))
    body = asked(rig)

    assert content(body).startswith(f"{FRONT}I can't give this answer")
    assert (body["bylaw"]["decision"], body["bylaw"]["notice"]["text"]) == ("block", TEXT)


def test_a_first_turn_without_words_is_told_beside_and_the_first_words_carry_it(rig: Rig) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"order": 1}'}}
    rig.speaker.replies += [saying(None, tool_calls=[call]), saying("One.")]
    first, second = asked(rig), asked(rig)

    assert (content(first), first["bylaw"]["notice"]["shown"]) == (None, "beside")
    assert content(second) == f"{FRONT}One."


def test_a_structured_answer_stays_what_it_is(rig: Rig) -> None:
    rig.speaker.replies += [saying('{"a": 1}'), saying("One.")]
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    first, second = asked(rig, response_format=form), asked(rig)

    assert (content(first), first["bylaw"]["notice"]["shown"]) == ('{"a": 1}', "beside")
    assert content(second) == "One."


def test_every_choice_and_every_part_begins_with_it_once(rig: Rig) -> None:
    reply = saying("One.")
    reply["choices"].append(
        {"index": 1, "message": {"role": "assistant", "content": [{"type": "text", "text": "Two."}, {"type": "text", "text": "b"}]}}
    )
    rig.speaker.replies.append(reply)
    body = asked(rig, n=2)

    assert content(body) == f"{FRONT}One."
    assert [one["text"] for one in body["choices"][1]["message"]["content"]] == [f"{FRONT}Two.", "b"]


def test_whoever_begins_alike_without_a_name_is_told_too(rig: Rig) -> None:
    rig.speaker.replies += [saying("One."), saying("Two.")]

    assert [content(asked(rig, session="")) for _ in range(2)] == [f"{FRONT}One.", f"{FRONT}Two."]


def test_a_chat_stream_begins_with_it_and_goes_on_unchanged(rig: Rig) -> None:
    rig.speaker.replies += [chat.spoken("O", "ne ", "☃."), chat.spoken("Two.")]
    first, _, _, told = chat.heard(rig, extra_headers={"x-bylaw-session": "s"})
    second, _, _, silent = chat.heard(rig, extra_headers={"x-bylaw-session": "s"})

    assert (first[0], second[0]) == (f"{FRONT}One ☃.", "Two.")
    assert (told[0]["notice"]["text"], silent) == (TEXT, [])


def test_each_choice_of_a_stream_begins_with_it(rig: Rig) -> None:
    pieces = [chat.chunk(0, content="a"), chat.chunk(1, content="b"), chat.chunk(0, content="A"), chat.chunk(1, content="B")]
    rig.speaker.replies.append([*pieces, chat.chunk(0, finish="stop"), chat.chunk(1, finish="stop"), b"data: [DONE]\n\n"])
    texts, _, _, _ = chat.heard(rig, n=2)

    assert texts == {0: f"{FRONT}aA", 1: f"{FRONT}bB"}


def test_a_stream_that_ends_in_a_refusal_has_the_notice_and_the_reason(rig: Rig) -> None:
    rig.speaker.replies.append(chat.spoken("Take ", "sk-abcd", "1234."))
    texts, _, ends, told = chat.heard(rig)

    assert texts[0].startswith(f"{FRONT}Take \n\nI can't give this answer")
    assert (sorted(told[0]), told[-1]["decision"], ends[0]) == (["notice"], "block", "content_filter")


def test_an_answer_that_is_judged_whole_streams_with_the_notice_too(tmp_path: Path) -> None:
    with rigged(tmp_path, ("tone.whole",), more=NOTICE) as rig:
        rig.speaker.replies.append(saying("One."))
        texts, _, _, told = chat.heard(rig)

    assert (texts[0], told[0]["notice"]["shown"]) == (f"{FRONT}One.", "text")


@pytest.mark.slow
def test_messages_begin_with_it_whole_and_streamed(tmp_path: Path) -> None:
    with rigged(tmp_path, more=NOTICE) as rig:
        rig.speaker.replies.append(messages.message({"type": "thinking", "thinking": "x", "signature": "s"}, messages.text("One.")))
        whole = messages.ask(rig, extra_headers={"x-bylaw-session": "s"}).parse()
        rig.speaker.replies.append(messages.message(messages.text("Two.")))
        again = messages.ask(rig, extra_headers={"x-bylaw-session": "s"}).parse()
    with rigged(tmp_path / "b", more=NOTICE) as rig:
        rig.speaker.replies.append(messages.streamed(messages.words(0, "O", "ne.")))
        live = messages.heard(rig)

    assert [messages.said(one) for one in (whole, again, live)] == [f"{FRONT}One.", "Two.", f"{FRONT}One."]
    assert whole.content[0].type == "thinking"
    assert live.model_extra
    assert live.model_extra["bylaw"]["notice"]["text"] == TEXT


@pytest.mark.slow
def test_responses_begin_with_it_whole_and_streamed_and_say_it_everywhere(tmp_path: Path) -> None:
    item = responses.message("One.")
    cited: dict[str, Any] = {
        **item,
        "content": [
            {
                **responses.part("One."),
                "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 3}],
            }
        ],
    }
    with rigged(tmp_path, more=NOTICE) as rig:
        rig.speaker.replies.append(responses.response(cited))
        whole = responses.ask(rig).parse()
    with rigged(tmp_path / "b", more=NOTICE) as rig:
        rig.speaker.replies.append(responses.streamed([item], responses.spoken(0, item)))
        last, events = responses.heard(rig)
    deltas = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    dones = [one.text for one in events if one.type == "response.output_text.done"]
    items = [one.item.content[0].text for one in events if one.type == "response.output_item.done"]
    mark = whole.output[0].content[0].annotations[0]

    assert {whole.output_text, deltas, last.output_text, *dones, *items} == {f"{FRONT}One."}
    assert whole.output_text[mark.start_index : mark.end_index] == "One"
    assert events[0].response.model_extra["bylaw"]["notice"]["text"] == TEXT


@pytest.mark.slow
def test_each_place_has_its_own_words(tmp_path: Path) -> None:
    more = f"{NOTICE}  show: beside\n  in:\n    de: {{text: Sie sprechen mit einem KI-System., show: text}}\n"
    found = {}
    for place in ("de", "us", ""):
        who = Who({"id": "kim", "roles": [], "tenant": "", "jurisdiction": place})
        with rigged(tmp_path / f"x{place}", more=more, door=Open(who)) as rig:
            rig.speaker.replies.append(saying("One."))
            found[place] = content(asked(rig))

    assert found["de"] == "Sie sprechen mit einem KI-System.\n\nOne."
    assert found["us"] == found[""] == f"{FRONT}One."  # a place of which nothing is said is held to the strictest of all


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("x-notice: true\n", "it is no map"),
        ("x-notice: {}\n", "no text"),
        ("x-notice: {text: '  '}\n", "no text"),
        ("x-notice: {text: a, shows: text}\n", "unknown key 'shows'"),
        ("x-notice: {text: a, show: loud}\n", "show is 'loud'"),
        ("x-notice: {text: a, clause: no.such}\n", "no clause 'no.such'"),
        ("x-notice: {text: a, in: [de]}\n", "`in` is no map"),
        ("x-notice: {text: a, in: {de: b}}\n", "names 'de' with no map"),
        ("x-appeal: {text: 7}\n", "text is no text"),
        ("x-appeal: {text: a, show: text}\n", "unknown key 'show'"),
    ],
)
def test_a_policy_whose_notice_cannot_be_read_is_not_loaded(tmp_path: Path, said: str, why: str) -> None:
    policy = load(written(tmp_path, more=said))

    with pytest.raises(PolicyError) as error:
        Law(Rulebook.load(policy, RAILS), ask)
    assert why in error.value.what


def test_without_a_setting_nothing_is_said() -> None:
    said = sayings(Policy("p", "1.0.0", ()))

    assert (said.notice("eu"), said.appeal("eu")) == (None, "")


def test_openais_client_reads_a_noticed_stream(rig: Rig) -> None:
    rig.speaker.replies.append(chat.spoken("One."))
    made: openai.OpenAI = chat.client(rig)
    with made.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Hello"}]) as stream:
        final = stream.get_final_completion()

    assert final.choices[0].message.content == f"{FRONT}One."
