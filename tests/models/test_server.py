"""The local model's server: who may ask, what is refused, what comes out, in what company. No model runs here: replies are written down."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bylaw.models import server_asked, server_reply, server_tools, transcript
from bylaw.models.server import Server
from bylaw.models.server_asked import BadRequest, Wanted
from bylaw.models.server_queue import Full, Queue
from bylaw.models.server_reply import Reply, Tokens

KEY = {"Authorization": "Bearer secret"}
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
COST = Tokens(3, 5)
PATIENCE_S = 60


@dataclass
class Line:
    """A row that says what it is told."""

    text: str
    ids: Sequence[int] = (1, 2, 3)
    budget: int = 8
    dropped: bool = False


@dataclass
class Writer:
    """A model that is not there: keeps the batches it was given."""

    replies: dict[str, Reply] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    broken: bool = False
    goes: threading.Event | None = None  # what a batch waits for

    def let(self) -> None:
        """Nothing waits any more."""
        if self.goes is not None:
            self.goes.set()

    def write(self, batch: Sequence[Any]) -> Sequence[object]:

        self.batches.append([row.text for row in batch])
        if self.goes is not None:
            assert self.goes.wait(PATIENCE_S)
        if self.broken:
            raise MemoryError("no room")
        return [self.replies.get(row.text, Reply("a thought", f"you said {row.text}", "stop", COST)) for row in batch]


def rows(wanted: Wanted) -> list[Any]:
    return [Line(wanted.messages[-1].content) for _ in range(wanted.n)]


async def until(there: Callable[[], bool]) -> None:
    while not there():
        await asyncio.sleep(0.005)


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await test()

    return asyncio.run(bounded())


@asynccontextmanager
async def working(queue: Queue) -> Any:
    task = asyncio.ensure_future(queue.work())
    try:
        yield queue
    finally:
        task.cancel()
        queue.close()


@asynccontextmanager
async def serving(writer: Writer, max_waiting: int = 8, made: Callable[[Wanted], list[Any]] = rows) -> Any:
    queue = Queue(writer.write, 100, max_waiting)
    runner = web.AppRunner(Server("small", "secret", made, queue).app(), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with working(queue), aiohttp.ClientSession(url) as client:
        yield client
    await runner.cleanup()


async def chat(client: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str] = KEY) -> tuple[int, str]:  # never changed
    async with client.post("/v1/chat/completions", json=body, headers=headers) as reply:
        return reply.status, await reply.text()


def joined(stream: str) -> dict[int, dict[str, Any]]:
    """The choices that a stream spells."""
    found: dict[int, dict[str, Any]] = {}
    for line in stream.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                one = found.setdefault(choice["index"], {"content": "", "reasoning_content": "", "finish_reason": None})
                for key in ("content", "reasoning_content"):
                    one[key] += choice["delta"].get(key, "")
                one["finish_reason"] = choice["finish_reason"] or one["finish_reason"]
    return found


# ---- Who may ask, and what -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer "}, {"Authorization": "secret"}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/elsewhere"])
def test_nobody_without_the_key_is_answered(path: str, headers: dict[str, str]) -> None:
    writer = Writer()

    async def ask() -> int:
        async with serving(writer) as client, client.request("POST", path, json=HELLO, headers=headers) as reply:
            return int(reply.status)

    assert run(ask) == 401
    assert writer.batches == []


@pytest.mark.parametrize(("key", "status"), [("secret", 404), ("other", 401)])
def test_a_route_that_a_local_model_has_not_is_said_to_whoever_shows_the_key_as_anthropics_clients_do(key: str, status: int) -> None:
    async def ask() -> tuple[int, str]:
        async with serving(Writer()) as client, client.post("/v1/messages", json={}, headers={"x-api-key": key}) as reply:
            return reply.status, await reply.text()

    found, said = run(ask)

    assert found == status
    assert ("/v1/chat/completions" in said) == (status == 404)


def test_health_and_the_model_are_told() -> None:
    async def ask() -> tuple[Any, Any, int]:
        async with serving(Writer()) as client:
            health, models = await client.get("/healthz"), await client.get("/v1/models", headers=KEY)
            other = await client.post("/v1/embeddings", json={}, headers=KEY)
            return await health.json(), await models.json(), other.status

    health, models, other = run(ask)

    assert (health["ok"], [one["id"] for one in models["data"]], other) == (True, ["small"], 404)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "oracle", "content": "x"}]}, "role"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, "function_call"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "half a character"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}, "tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]}, "an object"),
        (HELLO | {"tools": [{"type": "function"}]}, "tools"),
        (HELLO | {"tools": [{"type": "web_search"}]}, "tools"),
        (HELLO | {"tools": {}}, "tools"),
        (HELLO | {"tool_choice": "required"}, "tool_choice"),
        (HELLO | {"functions": [{"name": "f"}]}, "functions"),
        (HELLO | {"top_p": 0.5}, "top_p"),
        (HELLO | {"response_format": {"type": "json_object"}}, "response_format"),
        (HELLO | {"logprobs": True}, "logprobs"),
        (HELLO | {"n": 0}, "`n`"),
        (HELLO | {"n": 17}, "`n`"),
        (HELLO | {"n": True}, "`n`"),
        (HELLO | {"max_tokens": 0}, "max_tokens"),
        (HELLO | {"max_completion_tokens": 1.5}, "max_completion_tokens"),
        (HELLO | {"temperature": -1}, "temperature"),
        (HELLO | {"temperature": "hot"}, "temperature"),
        (HELLO | {"seed": "x"}, "seed"),
        (HELLO | {"stop": [""]}, "stop"),
        (HELLO | {"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        (HELLO | {"chat_template_kwargs": {"enable_thinking": "no"}}, "enable_thinking"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line_that_names_it(body: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        server_asked.read(json.dumps(body).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"temperature": NaN}', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        server_asked.read(body)


def test_what_clients_send_without_meaning_it_is_taken() -> None:
    body: dict[str, Any] = HELLO | {
        "top_p": 1,
        "presence_penalty": 0,
        "tools": [],
        "logit_bias": {},
        "user": "me",
        "stop": None,
        "stream_options": None,
    }

    assert server_asked.read(json.dumps(body).encode()) == Wanted(server_asked.read(json.dumps(HELLO).encode()).messages)


# ---- What comes out ------------------------------------------------------------------------------------------------------


def test_a_stream_spells_the_whole_answer() -> None:
    long = Reply("first this, then that, and so on and on", "an answer of some length, in pieces: é ü 漢字 \U0001f600", "length", COST)
    writer = Writer({"hello": long})

    async def ask() -> tuple[Any, str]:
        async with serving(writer) as client:
            _, whole = await chat(client, HELLO | {"n": 2})
            _, stream = await chat(client, HELLO | {"n": 2, "stream": True, "stream_options": {"include_usage": True}})
            return json.loads(whole), stream

    whole, stream = run(ask)
    spelled = joined(stream)

    assert {one["index"]: one["message"]["content"] for one in whole["choices"]} == {at: one["content"] for at, one in spelled.items()}
    assert [one["message"]["reasoning_content"] for one in whole["choices"]] == [one["reasoning_content"] for one in spelled.values()]
    assert {one["finish_reason"] for one in spelled.values()} == {"length"}
    assert json.dumps(whole["usage"]) in stream
    assert stream.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_a_malformed_reply_is_an_error_that_says_so_and_none_of_its_text_leaves(stream: bool) -> None:
    writer = Writer({"hello": Reply("", "", "stop", COST, "not exactly one think block")})

    async def ask() -> tuple[int, str]:
        async with serving(writer) as client:
            return await chat(client, HELLO | {"stream": stream})

    status, text = run(ask)

    assert status == (200 if stream else 500)  # a stream has begun before it is known
    assert "malformed: not exactly one think block" in text
    assert "[DONE]" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_is_a_500_and_the_next_request_is_answered(stream: bool) -> None:
    writer = Writer(broken=True)

    async def ask() -> list[int]:
        async with serving(writer) as client:
            first, _ = await chat(client, HELLO | {"stream": stream})
            writer.broken = False
            return [first, (await chat(client, HELLO))[0]]

    assert run(ask) == [500, 200]


words = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cf", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip()) and not transcript.parse(text, thinking=False).fault
)


@pytest.mark.slow
@given(words, words, st.data())
def test_wherever_a_completion_is_cut_no_thought_becomes_an_answer(thinking: str, answer: str, data: Any) -> None:
    raw = transcript.render(thinking, answer)
    at = data.draw(st.integers(0, len(raw)))
    thinks = data.draw(st.sampled_from([True, None]))

    found = server_reply.taken(raw[:at], "length", thinks, COST)

    head = raw[:at]
    if transcript.CLOSE in head:
        assert (found.thinking, found.answer) == (thinking.strip(), head.partition(transcript.CLOSE)[2].strip())
    else:
        assert (found.answer, found.fault) == ("", "")
    assert found.finish == "length"


@given(words, words)
def test_a_whole_completion_is_taken_apart_as_everywhere(thinking: str, answer: str) -> None:
    found = server_reply.taken(transcript.render(thinking, answer), "whole", True, COST)

    assert (found.thinking, found.answer, found.fault) == (thinking.strip(), answer.strip(), "")


@pytest.mark.parametrize("raw", ["<think>a</think>b<think>c</think>", "a<think>b</think>c", "<think>a", "a</think>b", "<think>a</think>"])
@pytest.mark.parametrize("thinking", [True, None])
def test_a_completion_that_ended_by_itself_is_read_strictly(raw: str, thinking: bool | None) -> None:
    found = server_reply.taken(raw, "whole", thinking, COST)

    assert (bool(found.fault), found.thinking, found.answer) == (True, "", "")


def test_a_model_that_must_think_and_does_not_is_malformed_and_another_is_not() -> None:
    plain = "just an answer"

    assert server_reply.taken(plain, "whole", True, COST).fault
    assert server_reply.taken(plain, "whole", None, COST).answer == plain
    assert server_reply.taken(plain, "whole", False, COST).answer == plain
    assert server_reply.taken("<think>a</think>b", "whole", False, COST).fault


@pytest.mark.parametrize(
    ("raw", "stops", "at"),
    [
        ("one two three", ("two",), 4),
        ("one two three", ("three", "two"), 4),
        ("one two three", ("four",), None),
        ("<think>two</think>one two", ("two",), 22),
        ("<think>two", ("two",), None),
        ("one", (), None),
    ],
)
def test_stop_texts_cut_the_answer_and_not_the_thought(raw: str, stops: tuple[str, ...], at: int | None) -> None:
    assert server_reply.cut_at(raw, stops) == at


# ---- Tool calls ----------------------------------------------------------------------------------------------------------

REFUND = '<tool_call>\n{"name": "payments.refund", "arguments": {"order": 81, "amount": 45.0}}\n</tool_call>'


def test_tool_calls_are_taken_out_of_the_text_and_leave_the_same_streamed_or_not() -> None:
    reply = server_tools.called(Reply("hm", f"One moment. {REFUND}{REFUND}", "stop", COST))
    writer = Writer({"hello": reply})

    async def ask() -> list[Any]:
        async with serving(writer) as client:
            own = openai.AsyncOpenAI(base_url=str(client._base_url).rstrip("/") + "/v1", api_key="secret", max_retries=0)
            messages: Any = HELLO["messages"]
            async with own:
                whole = await own.chat.completions.create(model="m", messages=messages)
                pieces = [one async for one in await own.chat.completions.create(model="m", messages=messages, stream=True)]
            deltas = [call for piece in pieces for call in piece.choices[0].delta.tool_calls or ()]
            return [whole.choices[0], deltas, pieces[-1].choices[0].finish_reason]

    whole, deltas, finish = run(ask)
    said = [(call.function.name, json.loads(call.function.arguments)) for call in whole.message.tool_calls]

    assert said == [("payments.refund", {"order": 81, "amount": 45.0})] * 2
    assert [(one.index, one.function.name, json.loads(one.function.arguments)) for one in deltas] == [(0, *said[0]), (1, *said[1])]
    assert (whole.message.content, whole.finish_reason, finish) == ("One moment.", "tool_calls", "tool_calls")


@pytest.mark.parametrize(
    "answer",
    [
        "<tool_call>{}</tool_call>",
        "<tool_call>not json</tool_call>",
        REFUND[:-3],
        REFUND[5:],
        f"<tool_call>{REFUND}",
        f"{REFUND}</tool_call>",
        '<tool_call>{"name": "a", "name": "b", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": 1, "x": 2}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": "x"}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {}, "also": 1}</tool_call>',
        REFUND * (server_tools.MAX_CALLS + 1),
    ],
)
def test_a_call_that_cannot_be_read_makes_the_reply_malformed(answer: str) -> None:
    found = server_tools.called(Reply("hm", answer, "stop", COST))

    assert (bool(found.fault), found.answer, found.calls) == (True, "", ())


def test_a_long_hostile_text_is_read_in_a_moment() -> None:
    began = time.monotonic()
    server_tools.called(Reply("", "<tool_call>" * 50_000 + "<" * 200_000, "stop", COST))

    assert time.monotonic() - began < 60  # read twice over it would take hours


# ---- In what company -----------------------------------------------------------------------------------------------------


def test_requests_that_come_together_are_one_batch_and_each_gets_its_own_answer() -> None:
    writer, come = Writer(goes=threading.Event()), list[Wanted]()

    def made(wanted: Wanted) -> list[Any]:
        come.append(wanted)
        return rows(wanted)

    async def ask() -> list[str]:
        async with serving(writer, made=made) as client:
            asked = [{"messages": [{"role": "user", "content": word}]} for word in ("one", "two", "three")]
            replying = asyncio.gather(*(chat(client, body) for body in asked))
            await until(lambda: len(come) == 3)  # nothing is written before all of them are there
            writer.let()
            replies = await replying
            return [json.loads(text)["choices"][0]["message"]["content"] for _, text in replies]

    assert run(ask) == ["you said one", "you said two", "you said three"]
    assert len(writer.batches) < 3


def test_who_finds_the_queue_full_is_asked_to_come_again() -> None:
    writer = Writer(goes=threading.Event())

    async def ask() -> list[tuple[int, str]]:
        async with serving(writer, max_waiting=2) as client:
            asking = [asyncio.ensure_future(chat(client, HELLO)) for _ in range(12)]
            await until(lambda: any(one.done() for one in asking))  # the first to be told is one who is to come again
            writer.let()
            return await asyncio.gather(*asking)

    statuses = [status for status, _ in run(ask)]

    assert set(statuses) == {200, 429}


def test_a_batch_never_needs_more_than_the_context() -> None:
    writer = Writer()
    lines = [Line("short", (1,) * 5, 10), Line("long", (1,) * 60, 10), Line("much", (1,) * 5, 60), Line("more", (1,) * 5, 10)]

    async def ask() -> None:
        async with working(Queue(writer.write, 100)) as queue:
            await queue.ask(lines)

    run(ask)

    assert writer.batches == [["short", "long"], ["much", "more"]]


def test_a_request_that_is_cancelled_is_never_written() -> None:
    writer = Writer(goes=threading.Event())
    first, gone = Line("first"), Line("gone")

    async def ask() -> None:
        async with working(Queue(writer.write, 10)) as queue:  # one row at a time
            asking = asyncio.ensure_future(queue.ask([first]))
            await until(lambda: bool(writer.batches))
            cancelled = asyncio.ensure_future(queue.ask([gone]))
            await asyncio.sleep(0)
            cancelled.cancel()
            with suppress(asyncio.CancelledError):
                await cancelled
            writer.let()
            await asking
            await queue.ask([Line("last")])

    run(ask)

    assert writer.batches == [["first"], ["last"]]
    assert gone.dropped


def test_a_client_that_goes_away_has_its_row_dropped() -> None:
    lines: list[Line] = []
    writer = Writer(goes=threading.Event())

    def kept(wanted: Wanted) -> list[Any]:
        lines.append(Line(wanted.messages[-1].content))
        return [lines[-1]]

    async def ask() -> bool:
        async with serving(writer, made=kept) as client:
            asking = asyncio.ensure_future(chat(client, HELLO))
            await until(lambda: bool(writer.batches))
            asking.cancel()
            await until(lambda: lines[0].dropped)
            found = lines[0].dropped
            writer.let()  # only now could it have its answer
        return found

    assert run(ask)


def test_a_request_larger_than_the_queue_is_refused() -> None:
    async def ask() -> None:
        async with working(Queue(Writer().write, 100, 2)) as queue:
            await queue.ask([Line("a"), Line("b"), Line("c")])

    with pytest.raises(Full):
        run(ask)
