"""What an endpoint says beside its text: tool calls, and a gateway's own decision."""

import json
from dataclasses import replace
from pathlib import Path

from bylaw.models.endpoint import Heard, Ruling, Talk
from bylaw.types import Message, Sampling
from tests.models.asking import at
from tests.models.endpoint import Ask, Said, say, serve

TOOL = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}
TALK = Talk((Message("user", "pay 5"),), (TOOL,), "s-1")


def call(arguments: str = '{"amount": 5}') -> Said:
    function = {"name": "pay", "arguments": arguments}
    return say(None, "tool_calls", tool_calls=[{"id": "c", "type": "function", "function": function}])


def heard(said: Said, talk: Talk = TALK) -> tuple[Heard, Ask]:
    with serve(lambda _: said) as server:
        (found,) = at(server, tries=1).converse([talk], Sampling(thinking=False))
        return found, server.calls[0]


def test_tools_and_the_session_are_sent_and_calls_come_back() -> None:
    found, asked = heard(call())

    assert found.reply
    assert found.reply.tool_calls == (("pay", {"amount": 5}),)
    assert asked.body["tools"] == [TOOL]
    assert asked.headers["x-bylaw-session"] == "s-1"


def test_arguments_that_cannot_be_read_strictly_are_none() -> None:
    found, _ = heard(call('{"amount": 5, "amount": 500}'))

    assert found.reply
    assert found.reply.tool_calls == (("pay", None),)


def test_calls_nobody_offered_are_no_reply() -> None:
    found, _ = heard(call(), Talk(TALK.messages))

    assert found.reply is None
    assert "unknown reason" in found.why


def test_the_gateways_object_goes_before_its_headers() -> None:
    body = json.loads(say("no", "content_filter").body) | {"bylaw": {"decision": "block", "clauses": ["a.b"], "record": "log#7"}}
    headers = {"x-bylaw-decision": "allow", "x-bylaw-clauses": "c.d", "x-bylaw-record": "log#6"}

    found, _ = heard(Said(json.dumps(body).encode(), headers=headers))
    plain, _ = heard(replace(say("yes"), headers=headers))

    assert found.reply
    assert plain.reply
    assert found.reply.ruling == Ruling("block", ("a.b",), "log#7")
    assert found.reply.text == "no"
    assert plain.reply.ruling == Ruling("allow", ("c.d",), "log#6")


def test_a_governed_reply_is_asked_anew_every_time(tmp_path: Path) -> None:
    script = replace(say("yes"), headers={"x-bylaw-decision": "allow"})

    with serve(lambda _: script) as server:
        model = at(server, cache=tmp_path)
        for _ in range(2):
            model.converse([TALK], Sampling(thinking=False))

        assert len(server.calls) == 2


def test_the_same_words_with_other_tools_are_another_question(tmp_path: Path) -> None:
    with serve(lambda _: say("yes")) as server:
        model = at(server, cache=tmp_path)
        for talk in (TALK, replace(TALK, tools=()), TALK):
            model.converse([talk], Sampling(thinking=False))

        assert len(server.calls) == 2


def test_a_tools_result_is_told_as_the_answer_to_a_call() -> None:
    talk = Talk((Message("user", "read it"), Message("tool", "the record")), (TOOL,))

    _, asked = heard(say("ok"), talk)

    user, call, result = asked.body["messages"]
    assert user == {"role": "user", "content": "read it"}
    assert call["tool_calls"][0]["function"] == {"name": "pay", "arguments": "{}"}
    assert result == {"role": "tool", "content": "the record", "tool_call_id": call["tool_calls"][0]["id"]}
