"""The vendors' own clients as people use them: tools, structured answers, their stream helpers, async; allowed, waiting and blocked."""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest
from pydantic import BaseModel

from bylaw.govern.quorum import Person
from tests.figures import stands
from tests.serve import test_chat, test_chat_streams, test_messages, test_responses
from tests.serve.rig import Rig, rigged

EVE = Person("eve", ("lead",))


class Refund(BaseModel):
    """Pay money back."""

    order: int
    amount: float


class Answer(BaseModel):
    """What is said."""

    total: int


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


HELLO: Any = [{"role": "user", "content": "Hello"}]
TOOL: Any = openai.pydantic_function_tool(Refund, name="refund")


def test_openais_parser_reads_tool_calls_and_structured_answers(rig: Rig) -> None:
    client = test_chat.client(rig)
    call = test_chat.call("refund", '{"order": 81, "amount": 45.0}')
    rig.speaker.replies += [test_chat.completion("", calls=[call]), test_chat.completion('{"total": 4}')]
    called = client.chat.completions.parse(model="m", messages=HELLO, tools=[TOOL])
    said = client.chat.completions.parse(model="m", messages=HELLO, response_format=Answer)

    assert called.choices[0].message.tool_calls is not None
    assert called.choices[0].message.tool_calls[0].function.parsed_arguments == Refund(order=81, amount=45.0)
    assert said.choices[0].message.parsed == Answer(total=4)
    assert rig.speaker.asked[1]["response_format"]["json_schema"]["name"] == "Answer"


def test_a_structured_answer_that_is_blocked_is_no_answer_to_openais_parser(rig: Rig) -> None:
    rig.speaker.replies.append(test_chat.completion('{"total": "sk-abcd1234"}'))
    with pytest.raises(openai.ContentFilterFinishReasonError):
        test_chat.client(rig).chat.completions.parse(model="m", messages=HELLO, response_format=Answer)

    assert rig.book.kinds()[-1] == ("decision", "output", "block")


@pytest.mark.slow
def test_openais_stream_helper_hears_a_structured_answer_and_a_call(rig: Rig) -> None:
    calls = [test_chat_streams.call(0, "refund", "", "c1"), test_chat_streams.call(0, arguments='{"order": 81, "amount": 45}')]
    rig.speaker.replies += [
        test_chat_streams.spoken('{"to', 'tal": 4}'),
        test_chat_streams.spoken("Now.", calls=calls, finish="tool_calls"),
    ]
    found: list[Any] = []
    for more in ({"response_format": Answer}, {"tools": [TOOL]}):
        with test_chat.client(rig).chat.completions.stream(model="m", messages=HELLO, **more) as stream:
            stream.until_done()
            found.append(stream.get_final_completion().choices[0].message)

    assert found[0].parsed == Answer(total=4)
    assert found[1].tool_calls[0].function.parsed_arguments == Refund(order=81, amount=45)


def test_a_conversation_with_a_tool_goes_round(rig: Rig) -> None:
    client, call = test_chat.client(rig), test_chat.call("lookup", '{"order": 81}')
    rig.speaker.replies += [test_chat.completion("", calls=[call]), test_chat.completion("It is a lamp.")]
    first = client.chat.completions.create(model="m", messages=HELLO).choices[0].message
    turns: Any = [*HELLO, first.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": "call_1", "content": "Order 81: a lamp"}]
    last = client.chat.completions.create(model="m", messages=turns)

    assert last.choices[0].message.content == "It is a lamp."
    assert [message["role"] for message in rig.speaker.asked[1]["messages"]] == ["user", "assistant", "tool"]


def test_the_async_clients_work_too(rig: Rig) -> None:
    rig.speaker.replies += [
        test_chat.completion("One."),
        test_chat_streams.spoken("Two ", "and more."),
        test_messages.message(test_messages.text("Three.")),
    ]

    async def ask() -> list[str]:
        async with (
            openai.AsyncOpenAI(base_url=f"{rig.url}/v1", api_key="unused", max_retries=0) as one,
            anthropic.AsyncAnthropic(base_url=rig.url, api_key="unused", max_retries=0) as other,
        ):
            whole = await one.chat.completions.create(model="m", messages=HELLO)
            stream = await one.chat.completions.create(model="m", messages=HELLO, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            third = await other.messages.create(model="m", max_tokens=9, messages=HELLO)
            return [whole.choices[0].message.content or "", "".join(pieces), test_messages.said(third)]

    assert asyncio.run(ask()) == ["One.", "Two and more.", "Three."]


@pytest.mark.slow
def test_openais_response_stream_parses_a_structured_answer_and_a_tool_call(rig: Rig) -> None:
    item = test_responses.message('{"total": 4}')
    call = test_responses.call("refund", '{"order": 81, "amount": 45}')
    tool: Any = openai.pydantic_function_tool(Refund, name="refund")["function"] | {"type": "function"}
    rig.speaker.replies += [
        test_responses.streamed([item], test_responses.spoken(0, item)),
        test_responses.streamed([call], test_responses.called(0, call)),
    ]
    client = test_responses.client(rig)
    with client.responses.stream(model="m", input="x", text_format=Answer) as stream:
        said = stream.get_final_response()
    with client.responses.stream(model="m", input="x", tools=[tool]) as stream:
        called = stream.get_final_response()

    assert said.output_parsed == Answer(total=4)
    assert called.output[0].arguments == '{"order": 81, "amount": 45}'  # type: ignore[union-attr]  # it is a call


@pytest.mark.slow
def test_anthropics_conversation_with_a_tool_goes_round_and_streams(rig: Rig) -> None:
    client = test_messages.client(rig)
    use = test_messages.use("lookup", {"order": 81})
    rig.speaker.replies += [
        test_messages.message(test_messages.text("Let me see."), use, stop="tool_use"),
        test_messages.streamed(test_messages.words(0, "It is ", "a lamp.")),
    ]
    tools: Any = [{"name": "lookup", "description": "Look up an order", "input_schema": {"type": "object"}}]
    first = client.messages.create(model="m", max_tokens=9, messages=HELLO, tools=tools)
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Order 81: a lamp"}]}
    turns: Any = [*HELLO, {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]}, result]
    with client.messages.stream(model="m", max_tokens=9, messages=turns, tools=tools) as stream:
        text = "".join(stream.text_stream)

    assert (first.stop_reason, first.content[1].type) == ("tool_use", "tool_use")
    assert text == "It is a lamp."
    assert rig.speaker.asked[1]["tools"] == tools


@pytest.mark.skipif(
    "output_format" not in inspect.signature(anthropic.resources.Messages.parse).parameters
    if hasattr(anthropic.resources.Messages, "parse")
    else True,
    reason="this client has no parser of structured answers",
)
def test_anthropics_parser_reads_a_structured_answer(rig: Rig) -> None:
    rig.speaker.replies.append(test_messages.message(test_messages.text('{"total": 4}')))
    reply = test_messages.client(rig).messages.parse(model="m", max_tokens=9, messages=HELLO, output_format=Answer)

    assert reply.parsed_output == Answer(total=4)


@pytest.mark.slow
def test_every_client_sees_what_waits_and_gets_exactly_that_after_approval(rig: Rig) -> None:
    call = test_chat.call("refund", '{"order": 81, "amount": 640}')
    item = test_responses.call("refund", '{"order": 81, "amount": 640}')
    rig.speaker.replies += [
        test_chat.completion("", calls=[call]),
        test_responses.response(item),
        test_messages.message(test_messages.use("refund", {"order": 81, "amount": 640}), stop="tool_use"),
    ]
    found = []
    for name, ask in (("chat", test_chat.ask), ("responses", test_responses.ask), ("messages", test_messages.ask)):
        first = ask(rig, extra_headers={"x-bylaw-session": name})
        told = orjson.loads(first.http_response.content)["bylaw"]
        rig.approvals.decide(told["approval"], EVE, True)
        released = ask(rig, extra_headers={"x-bylaw-session": name, "x-bylaw-approval": told["approval"]})
        given = [stands(640, one.http_response.content) for one in (first, released)]
        found.append((told["decision"], first.status_code, *given))

    assert found == [("require_approval", 200, False, True)] * 3
    assert len(rig.speaker.asked) == 3


def test_errors_are_the_ones_the_clients_know(rig: Rig) -> None:
    with pytest.raises(openai.BadRequestError):
        test_chat.client(rig).chat.completions.create(model="m", messages=[])
    with pytest.raises(anthropic.BadRequestError):
        test_messages.client(rig).messages.create(model="m", max_tokens=9, messages=[])
    rig.book.healthy = False
    with pytest.raises(openai.InternalServerError) as openais:
        test_chat.client(rig).chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(anthropic.APIStatusError) as anthropics:
        test_messages.client(rig).messages.create(model="m", max_tokens=9, messages=HELLO)

    assert (openais.value.status_code, anthropics.value.status_code) == (503, 503)
    assert rig.speaker.asked == []
