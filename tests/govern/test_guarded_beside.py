"""What stands beside the texts of a guarded client's requests and answers is no way around the rules, as in the gateway."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from bylaw import Blocked, Guard
from bylaw.types import EMPTY, Rule
from tests.govern.policies import clause, policy

NUMBER = "4111 1111 1111 1111"
MARK = "[redacted: pii.card]"
CARD = Rule("card", ("input", "output", "thinking"), "redact", detect=("pii.card.plain",))
SECRET = Rule("never", ("input", "output"), "block", detect=("secrets",))
KEY = "AKIAIOSFODNN7EXAMPLE"
GUARD = Guard(policy(clause("privacy.card", CARD), clause("security.key", SECRET)))
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Model:
    """An OpenAI client that gives out what was written down, whatever is in it."""

    def __init__(self, *replies: Any) -> None:
        self.replies, self.sent = list(replies), list[dict[str, Any]]()
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))
        self.responses = SimpleNamespace(create=self.create)

    def create(self, **request: Any) -> Any:
        self.sent.append(request)
        return self.replies.pop(0)


def completion(message: dict[str, Any], choice: Mapping[str, Any] = EMPTY, **more: Any) -> ChatCompletion:
    said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok", **message}, **choice}
    return ChatCompletion.model_validate({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [said], **more})


def response(*content: dict[str, Any], **more: Any) -> Response:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": list(content)}
    fixed = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return Response.model_validate({"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [item], **fixed, **more})


def part(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], **more}


def row(token: str, *others: str) -> dict[str, Any]:
    alternatives = [{"token": one, "logprob": -1.0, "bytes": list(one.encode())} for one in others]
    return {"token": token, "logprob": -0.1, "bytes": list(token.encode()), "top_logprobs": alternatives}


BESIDE: tuple[dict[str, Any], ...] = (
    {"user": f"card {NUMBER}"},
    {"metadata": {"note": f"card {NUMBER}"}},
    {"stop": ["END", f"card {NUMBER}"]},
    {"prompt_cache_key": f"card {NUMBER}"},
    {"something_new": {"deep": [f"card {NUMBER}"]}},
)


@pytest.mark.parametrize("more", BESIDE, ids=str)
def test_what_stands_beside_the_messages_of_a_request_is_cut_out_where_it_stands(more: dict[str, Any]) -> None:
    models = Model(completion({})), Model(response(part("ok")))
    GUARD.client(models[0]).chat.completions.create(**ASKED, **more)
    GUARD.client(models[1]).responses.create(model="m", input="hi", **more)

    for model in models:
        assert NUMBER not in str(model.sent[0])
        assert MARK in str(model.sent[0])


@pytest.mark.parametrize(
    "more",
    [
        {"user": KEY + " is it"},
        {"metadata": {f"{KEY} {KEY}": "x"}},
        {"messages": [{"role": "tool", "tool_call_id": f"my {KEY}", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": KEY[:9]}, {"type": "text", "text": KEY[9:]}]}]},
    ],
    ids=str,
)
def test_what_no_clause_lets_in_is_not_sent_wherever_it_stands(more: dict[str, Any]) -> None:
    model = Model()
    with pytest.raises(Blocked, match=r"security\.key"):
        GUARD.client(model).chat.completions.create(**ASKED | more)

    assert model.sent == []


REPLIES: tuple[Any, ...] = (
    completion({}, system_fingerprint=f"fp {KEY}"),
    completion({}, notes={"deep": [f"see {KEY}"]}),
    completion({}, {"finish_note": f"see {KEY}"}),
    completion({}, {"logprobs": {"content": [row("ok", KEY)]}}),
    completion({"content": None, "tool_calls": [{"id": f"id {KEY}", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
    response(part("ok"), metadata={"note": f"see {KEY}"}),
    response(part("ok"), something_new=[f"see {KEY}"]),
    response(part("ok", logprobs=[row("ok", KEY)])),
    response(part(KEY[:9]), part(KEY[9:])),
)


@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
def test_what_stands_beside_an_answer_is_judged_as_the_answer_is(reply: Any) -> None:
    model = Model(reply)
    chat = isinstance(reply, ChatCompletion)
    client = GUARD.client(model)
    with pytest.raises(Blocked, match=r"security\.key"):
        client.chat.completions.create(**ASKED) if chat else client.responses.create(model="m", input="hi")


def test_token_probabilities_that_spell_something_else_are_dropped_and_those_that_do_not_stay() -> None:
    other, same = {"logprobs": {"content": [row(KEY)]}}, {"logprobs": {"content": [row("o"), row("k", "K")]}}
    model = Model(completion({}, other), completion({}, same), response(part("ok", logprobs=[row(KEY)])))
    client = GUARD.client(model)
    found = [client.chat.completions.create(**ASKED).choices[0].logprobs for _ in range(2)]
    parts = client.responses.create(model="m", input="hi").output[0].content[0].logprobs

    assert (found[0], len(found[1].content), parts) == (None, 2, [])


def test_what_the_request_says_itself_is_nothing_new_in_the_answer() -> None:
    told = f"Say {MARK}"
    model = Model(response(part("ok"), instructions=told, metadata={"a": "one two"}))
    answer = GUARD.client(model).responses.create(model="m", input="hi", instructions=told, metadata={"a": "one two"})

    assert (answer.metadata, answer.output_text) == ({"a": "one two"}, "ok")


def test_a_stream_carries_no_words_beside_its_text() -> None:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> ChatCompletionChunk:
        said = {"index": 0, "delta": delta, "finish_reason": finish}
        return ChatCompletionChunk.model_construct(
            **ChatCompletionChunk.model_validate(
                {"id": f"see {KEY}", "object": "chat.completion.chunk", "created": 1, "model": f"m {KEY}", "choices": [said], **more}
            ).__dict__
        )

    class Live(list[Any]):
        def close(self) -> None:
            """Nothing is open."""

    model = Model(Live([chunk({"role": "assistant", "content": "ok"}, system_fingerprint=f"fp {KEY}"), chunk({}, "stop")]))
    guard = Guard(policy(clause("privacy.card", CARD)))  # so that it may stream
    pieces = list(guard.client(model).chat.completions.create(**ASKED, stream=True))

    assert "".join(one.choices[0].delta.content or "" for one in pieces) == "ok"
    assert KEY not in str(pieces)
