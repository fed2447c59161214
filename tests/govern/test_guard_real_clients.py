"""The real OpenAI clients under a guard, plain and async, whole and streamed, against a server that a test scripts."""

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI, OpenAI

from bylaw import Blocked, Guard
from bylaw.govern.guard import Acting
from bylaw.types import Event, Policy, Rule
from tests.govern.policies import clause, policy
from tests.govern.test_guard import Book, Switch
from tests.serve.rig import Speaker, speaking

NUMBER = "4111 1111 1111 1111"
KEY = "AKIAIOSFODNN7EXAMPLE"
CARD = Rule("card", ("output",), "redact", detect=("pii.card.plain",))
SECRET = Rule("keys", ("output", "thinking"), "block", detect=("secrets.plain",))
WORD = Rule("word", ("input",), "block", when='text.contains("forbidden")')
PROMISE = Rule("promise", ("output",), "revise", when='text.contains("guaranteed")')
NEVER = Rule("never", ("tool_call",), "block", ("payments.refund",), "args.amount > 900.0")
LIMIT = Rule("limit", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 60)
STREAMS = policy(
    clause("privacy.card", CARD), clause("security.keys", SECRET), clause("conduct.word", WORD), clause("money.limit", LIMIT, NEVER)
)
REVISES = policy(
    clause("tone.promise", PROMISE, norm="Never promise.", extra={"x-safe-completion": "Nobody can promise that."}), clause("c.w", WORD)
)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Speaker]:
    with speaking() as speaker:
        yield speaker


@pytest.fixture
def speaker(upstream: Speaker) -> Speaker:
    upstream.replies.clear()
    upstream.asked.clear()
    return upstream


@pytest.fixture(scope="module")
def plain(upstream: Speaker) -> Iterator[OpenAI]:
    with OpenAI(api_key="k", base_url=f"{upstream.url}/v1", max_retries=0) as client:
        yield client


def later(speaker: Speaker) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="k", base_url=f"{speaker.url}/v1", max_retries=0)


def guard_of(written: Policy, book: Book | None = None, stops: Any = None) -> Guard:
    return Guard(written, ledger=book, stops=stops, acting=Acting(session="s"))


def chat(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **more}
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }  # fmt: skip


def response(text: str, *items: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [*items, message],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
    return (
        b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}) + b"\n\n"
    )


END = [chunk({}, "stop"), b"data: [DONE]\n\n"]


def spoken(*pieces: str) -> list[bytes]:
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": one}) for one in pieces), *END]


def call(arguments: str) -> dict[str, Any]:
    return {"id": "t", "type": "function", "function": {"name": "payments.refund", "arguments": arguments}}


def text_of(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for one in chunks for choice in one.choices)


def test_an_answer_comes_through_the_plain_and_the_async_client_alike(speaker: Speaker, plain: OpenAI) -> None:
    speaker.replies += [chat(f"card {NUMBER}"), chat(f"card {NUMBER}")]

    async def ask() -> str | None:
        async with guard_of(STREAMS).client(later(speaker)) as client:
            said = await client.chat.completions.create(model="m", messages=HELLO)
            content: str | None = said.choices[0].message.content
            return content

    first = guard_of(STREAMS).client(plain).chat.completions.create(model="m", messages=HELLO)

    assert first.choices[0].message.content == asyncio.run(ask()) == "card [redacted: pii.card]"


@pytest.mark.slow
def test_nothing_forbidden_is_sent_by_any_of_the_calls(speaker: Speaker, plain: OpenAI) -> None:
    client, bad = guard_of(STREAMS).client(plain), [{"role": "user", "content": "forbidden"}]

    async def ask(**more: Any) -> None:
        async with guard_of(STREAMS).client(later(speaker)) as other:
            await other.chat.completions.create(model="m", messages=bad, **more)

    for attempt in (
        lambda: client.chat.completions.create(model="m", messages=bad),
        lambda: client.chat.completions.create(model="m", messages=bad, stream=True),
        lambda: client.chat.completions.create(model="m", messages=HELLO, tools=[{"type": "function", "function": {"name": "forbidden"}}]),
        lambda: client.responses.create(model="m", input="forbidden"),
        lambda: client.responses.create(model="m", input="x", instructions="forbidden"),
        lambda: client.responses.create(model="m", input=[{"role": "user", "content": [{"type": "input_text", "text": "forbidden"}]}]),
        lambda: client.responses.create(model="m", input=[{"type": "strange", "note": "forbidden"}], stream=True),
        lambda: asyncio.run(ask()),
        lambda: asyncio.run(ask(stream=True)),
    ):
        with pytest.raises(Blocked, match=r"conduct\.word"):
            attempt()
    assert speaker.asked == []


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.embeddings, lambda client: client.files, lambda client: client.images, lambda client: client.beta,
        lambda client: client.completions, lambda client: client.post, lambda client: client.chat.completions.with_raw_response,
        lambda client: client.chat.completions.stream, lambda client: client.responses.parse, lambda client: client.responses.retrieve,
        lambda client: client.models, lambda client: client.with_raw_response,
    ],
)  # fmt: skip
def test_what_the_guard_does_not_govern_is_refused_with_one_line(plain: OpenAI, use: Any) -> None:
    with pytest.raises(AttributeError, match="is not governed here: use"):
        use(guard_of(STREAMS).client(plain))


def test_a_client_with_other_options_is_under_the_same_guard(speaker: Speaker, plain: OpenAI) -> None:
    speaker.replies.append(chat(KEY))

    with pytest.raises(Blocked, match=r"security\.keys"):
        guard_of(STREAMS).client(plain).with_options(timeout=60).chat.completions.create(model="m", messages=HELLO)


def test_a_response_is_governed_text_thinking_and_calls(speaker: Speaker, plain: OpenAI) -> None:
    client = guard_of(STREAMS).client(plain)
    thought = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]}
    paid = {"type": "function_call", "id": "f", "call_id": "c", "name": "payments.refund", "arguments": json.dumps({"amount": 950.0})}
    odd = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "x"}}
    speaker.replies += [response(f"card {NUMBER}", thought), response("x", paid), response(KEY), response("x", odd)]
    fine = client.responses.create(model="m", input="Hello")

    assert fine.output_text == "card [redacted: pii.card]"
    assert fine.output[0].summary == []
    for why in (r"payments\.refund is withheld", r"security\.keys", "web_search is withheld"):
        with pytest.raises(Blocked, match=why):
            client.responses.create(model="m", input="Hello")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_is_revised_by_clause_and_then_the_safe_completion_is_said(speaker: Speaker, plain: OpenAI, streamed: bool) -> None:
    client = guard_of(REVISES).client(plain)
    speaker.replies += [chat("It is guaranteed."), chat("It is likely."), *[chat("It is guaranteed.")] * 3]
    said = []
    for _ in range(2):
        answer = client.chat.completions.create(model="m", messages=HELLO, stream=streamed)
        said.append(text_of(list(answer)) if streamed else answer.choices[0].message.content)

    assert said == ["It is likely.", "Nobody can promise that."]
    assert len(speaker.asked) == 5
    assert "Never promise." in speaker.asked[1]["messages"][-1]["content"]
    assert speaker.asked[1]["messages"][-2] == {"role": "assistant", "content": "It is guaranteed."}


@pytest.mark.slow
def test_a_response_is_revised_too_and_streamed_whole(speaker: Speaker, plain: OpenAI) -> None:
    speaker.replies += [response("It is guaranteed."), response("It is likely.")]
    events = list(guard_of(REVISES).client(plain).responses.create(model="m", input="Hello", stream=True))

    assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == "It is likely."
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "It is likely."


@pytest.mark.slow
def test_a_stream_is_filtered_as_it_comes_however_it_is_cut(speaker: Speaker, plain: OpenAI) -> None:
    rng, text = random.Random(7), f"Grüße 👋! The card is {NUMBER}, and the other {NUMBER}; that is all."
    client, said = guard_of(STREAMS).client(plain), set()
    for _ in range(30):
        cuts = sorted(rng.sample(range(len(text)), rng.randrange(12)))
        speaker.replies.append(spoken(*(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))))
        said.add(text_of(list(client.chat.completions.create(model="m", messages=HELLO, stream=True))))

    assert said == {text.replace(NUMBER, "[redacted: pii.card]")}
    assert speaker.asked[-1]["stream"] is True


def test_a_forbidden_span_ends_the_stream_before_it_leaves_and_is_recorded(speaker: Speaker, plain: OpenAI) -> None:
    book = Book()
    speaker.replies.append(spoken("The key is ", KEY[:9], KEY[9:], " and so on."))
    stream, seen = guard_of(STREAMS, book).client(plain).chat.completions.create(model="m", messages=HELLO, stream=True), []
    with pytest.raises(Blocked, match=r"security\.keys"):
        seen.extend(iter(stream))

    assert not any(part in text_of(seen) for part in (KEY[:9], KEY[9:]))
    assert book.said()[-1] == ("output", "block")


def test_calls_of_a_stream_leave_whole_and_judged(speaker: Speaker, plain: OpenAI) -> None:
    def paid(amount: float) -> list[bytes]:
        written = json.dumps({"amount": amount})
        first, rest = call(""), {"function": {"arguments": written[3:]}}
        first["function"]["arguments"] = written[:3]
        return [chunk({"tool_calls": [{"index": 0, **first}]}), chunk({"tool_calls": [{"index": 0, **rest}]}), chunk({}, "tool_calls")]

    client = guard_of(STREAMS).client(plain)
    speaker.replies += [paid(30.0), paid(950.0), paid(640.0)]
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    calls = [one for piece in chunks for one in piece.choices[0].delta.tool_calls or []]

    assert [(one.function.name, one.function.arguments) for one in calls] == [("payments.refund", '{"amount": 30.0}')]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    for _ in range(2):
        with pytest.raises(Blocked, match=r"payments\.refund is withheld"):
            list(client.chat.completions.create(model="m", messages=HELLO, stream=True))


@pytest.mark.parametrize(
    "pieces", [[chunk({"reasoning_content": "hm, hm"})], [chunk({"content": "<thi"}), chunk({"content": "nk>hm, hm</think>"})]]
)
def test_thinking_of_a_stream_stays(speaker: Speaker, plain: OpenAI, pieces: list[bytes]) -> None:
    speaker.replies.append([*pieces, *spoken("Four.")])
    chunks = list(guard_of(STREAMS).client(plain).chat.completions.create(model="m", messages=HELLO, stream=True))

    assert text_of(chunks) == "Four."
    assert "hm" not in "".join(one.model_dump_json() for one in chunks)


def test_a_key_in_the_thinking_of_a_stream_lets_nothing_of_its_answer_out(speaker: Speaker, plain: OpenAI) -> None:
    speaker.replies.append([chunk({"reasoning_content": KEY}), *spoken("Nothing to see here, nothing at all.")])
    seen: list[Any] = []
    with pytest.raises(Blocked, match="thinking"):
        seen.extend(guard_of(STREAMS).client(plain).chat.completions.create(model="m", messages=HELLO, stream=True))

    assert text_of(seen) == ""


def test_a_stream_that_breaks_off_does_not_end_as_if_it_were_complete(speaker: Speaker, plain: OpenAI) -> None:
    speaker.replies.append([chunk({"content": "Half"})])

    with pytest.raises(Blocked, match="ended before"):
        list(guard_of(STREAMS).client(plain).chat.completions.create(model="m", messages=HELLO, stream=True))


def test_a_stop_and_a_full_disk_end_a_stream(speaker: Speaker, plain: OpenAI) -> None:
    book, switch = Book(), Switch()
    client = guard_of(STREAMS, book, switch).client(plain)
    speaker.replies += [spoken("One. " * 60, "Two. " * 60), spoken("One.")]
    stream = iter(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    next(stream)
    switch.on = ("global: drill",)
    with pytest.raises(Blocked, match="emergency stop"):
        list(stream)
    switch.on = ()
    other = iter(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    book.broken = True

    with pytest.raises(Blocked, match="record"):
        list(other)


def test_the_async_client_streams_under_the_same_rules(speaker: Speaker) -> None:
    speaker.replies += [spoken("card 4111 1111", " 1111 1111."), spoken("And on. " * 200, "The key is ", KEY), response(f"card {NUMBER}")]

    async def before_blocked(stream: Any) -> list[Any]:
        seen = []
        try:
            async for one in stream:
                seen.append(one)
        except Blocked as refused:
            return [*seen] if refused.decision.clauses == ("security.keys",) else []
        return []

    async def ask() -> tuple[str, str, str]:
        async with guard_of(STREAMS).client(later(speaker)) as client:
            fine = [one async for one in await client.chat.completions.create(model="m", messages=HELLO, stream=True)]
            bad = await before_blocked(await client.chat.completions.create(model="m", messages=HELLO, stream=True))
            events = [one async for one in await client.responses.create(model="m", input="Hello", stream=True)]
            return text_of(fine), text_of(bad), events[-1].response.output_text

    fine, bad, said = asyncio.run(ask())

    assert (fine, said) == ("card [redacted: pii.card].", "card [redacted: pii.card]")
    assert bad
    assert KEY not in bad


def test_an_answer_without_support_is_no_result_on_both_apis(speaker: Speaker, plain: OpenAI) -> None:
    client = guard_of(policy(clause("honesty.sources", requires=("grounded",)))).client(plain)
    told = {"role": "tool", "tool_call_id": "t", "content": "Refunds take five working days."}
    turn = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call("{}")]}, told]
    items = [
        {"role": "user", "content": "Hello"},
        {"type": "function_call", "call_id": "t", "name": "payments.refund", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t", "output": told["content"]},
    ]
    speaker.replies += [
        chat("Refunds take 5 working days."),
        response("Refunds take 5 working days."),
        chat("Refunds take 6 days."),
        response("It takes 6 days."),
    ]
    fine = client.chat.completions.create(model="m", messages=turn)
    also = client.responses.create(model="m", input=items)

    assert fine.choices[0].message.content == also.output_text == "Refunds take 5 working days."
    with pytest.raises(Blocked, match="no result"):
        client.chat.completions.create(model="m", messages=turn)
    with pytest.raises(Blocked, match="no result"):
        client.responses.create(model="m", input=items)


def test_a_message_of_the_clients_own_library_may_be_sent_back(speaker: Speaker, plain: OpenAI) -> None:
    client = guard_of(STREAMS).client(plain)
    speaker.replies += [chat("Hello."), chat("Bye.")]
    first = client.chat.completions.create(model="m", messages=HELLO)
    second = client.chat.completions.create(model="m", messages=[*HELLO, first.choices[0].message, *HELLO])

    assert second.choices[0].message.content == "Bye."
    assert speaker.asked[1]["messages"][1] == {"content": "Hello.", "role": "assistant"}


def test_what_thinking_cites_is_recorded_with_the_decision(speaker: Speaker, plain: OpenAI) -> None:
    book = Book()
    speaker.replies.append(chat(KEY, reasoning_content="[security.keys] forbids it"))
    with pytest.raises(Blocked):
        guard_of(STREAMS, book).client(plain).chat.completions.create(model="m", messages=HELLO)

    assert [one["facts"]["citations"]["cited"] for one in book.entries if one["kind"] == "citations"] == [["security.keys"]]


def test_how_checks_voted_is_in_the_record() -> None:
    book = Book()
    guard_of(policy(clause("honesty.sources", requires=("grounded",))), book).check(Event("output", text="Refunds take 6 days."))

    assert book.entries[-1]["facts"]["checks"] == {"honesty.sources": {"grounded": "fail"}}
