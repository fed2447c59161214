"""What a reply means, what is asked, and what a server that takes less is asked."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bylaw.models.loading import open_model
from bylaw.models.remote import RemoteModel
from bylaw.models.targets import parse
from bylaw.types import Completion, Message, Sampling
from tests.models.asking import DIRECT, KEY, THINK, ask, at, mixed, one
from tests.models.endpoint import Ask, Said, fail, say, serve, slow

BLOCK = "<think>hm</think> yes"


@pytest.mark.parametrize(
    ("said", "thinking", "answer", "fault"),
    [
        (say(BLOCK), "hm", "yes", ""),
        (say("yes"), "", "", "no think block"),
        (say("yes", reasoning_content="hm"), "hm", "yes", ""),
        (say("yes", reasoning="hm"), "hm", "yes", ""),
        (say("yes", reasoning="hm", reasoning_content="hm"), "hm", "yes", ""),
        (say(BLOCK, reasoning_content="private"), "hm", "yes", ""),
        (say("", reasoning_content="hm"), "", "", "no answer after the think block"),
        (say("yes</think> no", reasoning_content="hm"), "", "", "not exactly one think block"),
        (say("yes", reasoning_content="hm</think> no <think>"), "", "", "not exactly one think block"),
        (say(""), "", "", "no think block"),
        (say("yes", "length"), "", "", "cut off"),
        (say(BLOCK, "content_filter"), "", "", "refused by the server"),
        (say(None, refusal="I will not"), "", "", "refused by the server"),
        (say(BLOCK, refusal="I will not"), "", "", "refused by the server"),
        (fail(400, "filtered", code="content_filter"), "", "", "refused by the server"),
    ],
)
def test_thinking_and_answer_are_told_apart_strictly(said: Said, thinking: str, answer: str, fault: str) -> None:
    found, calls = one(lambda _: said, THINK)

    assert (found.thinking, found.answer, found.fault, calls) == (thinking, answer, fault, 1)


@pytest.mark.parametrize(
    ("said", "answer", "fault"),
    [
        (say("yes"), "yes", ""),
        (say("yes", reasoning_content="hm"), "yes", ""),
        (say("yes", reasoning_content="hm</think> no"), "yes", ""),
        (say(BLOCK), "", "a think tag where none was asked for"),
        (say(BLOCK, reasoning_content="hm"), "", "a think tag where none was asked for"),
        (say(None), "", "no answer"),
    ],
)
def test_reasoning_sent_apart_is_no_fault_where_none_was_asked_for(said: Said, answer: str, fault: str) -> None:
    found, _ = one(lambda _: said)

    assert (found.thinking, found.answer, found.fault) == ("", answer, fault)


def test_two_different_thoughts_are_none() -> None:
    found, _ = one(lambda _: say("yes", reasoning="a", reasoning_content="b"), THINK)

    assert found.fault == "the reply's reasoning_content and reasoning is no text after 3 tries"


def test_the_request_says_what_the_sampling_says_and_keeps_thoughts_to_itself() -> None:
    schema = {"type": "object"}
    with serve(lambda _: say("{}")) as server:
        talk = [Message("system", "s"), Message("assistant", "a", thinking="secret"), Message("user", "u\ud800")]
        at(server, key=KEY).generate([talk], Sampling(0.5, 9, False, 3, schema))
        (call,) = server.calls

    assert call.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "u\ufffd"},
        ],
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 3,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}},
    }
    assert call.headers["Authorization"] == f"Bearer {KEY}"


def picky(ask: Ask) -> Said:
    """A server that takes neither a schema nor a temperature, and says one at a time."""
    if "response_format" in ask.body:
        return fail(400, "unknown field")
    if "temperature" in ask.body:
        return fail(400, "Unsupported value", param="temperature")
    if "max_tokens" in ask.body:
        return fail(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    return say(json.dumps(sorted(ask.body)))


def test_what_a_server_does_not_take_is_left_out_once_and_for_all() -> None:
    with serve(picky) as server:
        model = at(server, concurrency=1)
        found = ask(model, *"abcd", sampling=Sampling(thinking=False, reply_schema={}))
        calls = len(server.calls)

    assert {row.answer for row in found} == {'["max_completion_tokens", "messages", "model", "seed"]'}
    assert calls == 4 + 3
    assert model.without == {"response_format", "temperature", "max_tokens"}
    assert model.spent.failed == 0


def test_a_400_that_means_something_else_does_not_cost_the_schema() -> None:
    with serve(lambda ask: fail(400, "too long") if ask.text == "long" else say("{}")) as server:
        model = at(server, concurrency=1)
        found = ask(model, "long", "short", sampling=Sampling(thinking=False, reply_schema={}))

    assert [row.fault for row in found] == ["http 400: too long", ""]
    assert model.without == frozenset()
    assert [("response_format" in call.body) for call in server.calls] == [True, False, True]


def test_no_rows_ask_nothing() -> None:
    with serve(lambda _: say("a")) as server:
        found = at(server).generate([], DIRECT)

    assert (found, server.calls) == ([], [])


def test_it_works_where_an_event_loop_is_running() -> None:
    async def inside(model: RemoteModel) -> list[Completion]:
        return ask(model, "a", "b")

    with serve(lambda ask: say(ask.text)) as server:
        found = asyncio.run(inside(at(server)))

    assert [row.answer for row in found] == ["a", "b"]
    assert not [thread for thread in threading.enumerate() if thread.name == "bylaw-remote"]


def stopped(model: RemoteModel) -> None:
    def stop(done: int, of: int) -> None:
        raise KeyError("enough")

    model.generate([[Message("user", "a")], [Message("user", "b")]], DIRECT, stop)


def stopped_inside_a_loop(model: RemoteModel) -> None:
    async def inside() -> None:
        stopped(model)

    asyncio.run(inside())


@pytest.mark.parametrize("outside", [stopped, stopped_inside_a_loop])
def test_what_a_caller_raises_in_between_ends_the_batch_and_its_threads(outside: Callable[[RemoteModel], None]) -> None:

    with serve(lambda ask: say(ask.text) if ask.text == "a" else slow(60)) as server:
        begun = time.monotonic()
        with pytest.raises(KeyError, match="enough"):
            outside(at(server))

    assert time.monotonic() - begun < 30
    assert not [thread for thread in threading.enumerate() if thread.name == "bylaw-remote"]


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background may have it ignored
from bylaw.models.manners import Manners
from bylaw.models.remote import RemoteModel
from bylaw.types import Message, Sampling
model = RemoteModel("x", "m", sys.argv[1], manners=Manners(cache=None))
def generate():
    try:
        model.generate([[Message("user", str(i))] for i in range(50)], Sampling(thinking=False))
    except KeyboardInterrupt:
        print("interrupted")
async def inside():
    generate()
if sys.argv[2] == "nested":
    import asyncio
    loop = asyncio.new_event_loop()
    loop.run_until_complete(inside())
    loop.close()
else:
    generate()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "nested"])
def test_an_interrupt_ends_it_at_once_and_leaves_nothing_hanging(kind: str) -> None:
    import signal

    with serve(lambda _: slow(600)) as server:
        line = [sys.executable, "-W", "error", "-c", INTERRUPTED, server.url, kind]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while len(server.calls) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=180)

    assert (out, err, process.returncode) == ("interrupted\n", "", 0)


@pytest.fixture
def quiet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, so that the default cache lies there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_endpoint_opens_by_its_target_and_keeps_its_replies_here(quiet_folder: Path) -> None:
    with serve(lambda _: say("yes")) as server:
        model = open_model(parse(server.target("qwen")))
        (found,) = model.generate([[Message("user", "?")]], DIRECT)

    assert (model.name, found.answer, server.calls[0].body["model"]) == (f"openai:qwen@{server.url}", "yes", "qwen")
    assert len(list((quiet_folder / ".bylaw" / "cache" / "models").rglob("*.json"))) == 1


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serve(mixed) as server:
        ask(at(server), *map(str, range(10)))

    assert not [record for record in caplog.records if record.name.split(".")[0] in ("bylaw", "aiohttp", "asyncio")]
