"""An OpenAI client under a guard: nothing forbidden is sent, and nothing forbidden comes back."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from bylaw import Blocked, Guard
from bylaw.types import Event, Policy, Rule
from tests.govern.policies import clause, policy

NUMBER = "4111 1111 1111 1111"
CARD = Rule("card", ("input", "output", "tool_result"), "redact", detect=("pii.card",))
WORD = Rule("word", ("output", "thinking", "input"), "block", when='text.contains("forbidden")')
LIMIT = Rule("limit", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 60)
NEVER = Rule("never", ("tool_call",), "block", ("payments.refund",), "args.amount > 900.0")
POLICY = policy(clause("privacy.card", CARD), clause("conduct.word", WORD), clause("money.limit", LIMIT, NEVER))


class Model:
    """An OpenAI client that answers from a script and keeps what it was sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = messages
        self.sent: list[dict[str, Any]] = []
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))
        self.embeddings = "reachable"

    def create(self, **request: Any) -> ChatCompletion:
        self.sent.append(request)
        choices = [
            {"index": n, "finish_reason": "stop", "message": {"role": "assistant", **one}, "logprobs": {"content": []}}
            for n, one in enumerate(self.messages)
        ]
        return ChatCompletion.model_validate({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices})


def asked(model: Model, *messages: Any, guard: Guard | None = None, **more: Any) -> ChatCompletion:
    client = (guard or Guard(POLICY)).client(model)
    completion: ChatCompletion = client.chat.completions.create(model="m", messages=list(messages), **more)
    return completion


def says(text: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


def calls(tool: str, arguments: Any) -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"content": None, "tool_calls": [{"id": "t1", "type": "function", "function": {"name": tool, "arguments": written}}]}


def test_allowed_words_pass_both_ways_unchanged() -> None:
    model = Model({"content": "Grüße 👋"})

    completion = asked(model, says("You are kind.", "system"), says("hello"), temperature=0.5)

    assert completion.choices[0].message.content == "Grüße 👋"
    assert model.sent == [{"model": "m", "messages": [says("You are kind.", "system"), says("hello")], "temperature": 0.5}]


def test_what_must_not_reach_the_model_is_cut_or_not_sent_in_whatever_part_it_stands() -> None:
    model = Model({"content": "ok"})
    message = says([{"type": "text", "text": f"my card {NUMBER}"}])
    asked(model, message)

    assert model.sent[0]["messages"][0]["content"] == [{"type": "text", "text": "my card [redacted: pii.card]"}]
    assert NUMBER in message["content"][0]["text"]
    for hidden in (
        says("forbidden"),
        says("forbidden", "system"),
        says("forbidden", "assistant"),
        says("x", name="forbidden"),
        says([{"type": "text", "text": "x", "note": "forbidden"}]),
        says(None, "assistant", tool_calls=calls("x", "forbidden")["tool_calls"]),
    ):
        with pytest.raises(Blocked, match=r"conduct\.word"):
            asked(model, hidden)
    assert len(model.sent) == 1


def test_what_a_tool_said_is_judged_as_a_result_and_taints_the_session() -> None:
    guard, model = Guard(POLICY), Model({"content": "ok"})
    turn = [says("look"), {"role": "assistant", **calls("web.read", {})}, says(f"page {NUMBER}", "tool", tool_call_id="t1")]

    asked(model, *turn, guard=guard)

    assert model.sent[0]["messages"][2]["content"] == "page [redacted: pii.card]"
    with guard.turn() as session:
        assert session.history.taint == ("untrusted-text",)


def test_a_picture_is_let_through_only_where_the_policy_says_so() -> None:
    picture = says([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])
    model = Model({"content": "ok"})
    open_policy: Policy = policy(clause("conduct.word", WORD), extra={"x-media": "allow"})

    with pytest.raises(Blocked, match="pictures"):
        asked(model, picture)
    asked(model, picture, guard=Guard(open_policy))

    assert len(model.sent) == 1


def test_an_answer_is_cut_or_withheld_in_every_choice() -> None:
    completion = asked(Model({"content": "fine"}, {"content": f"card {NUMBER}"}), says("hi"), n=2)

    assert [one.message.content for one in completion.choices] == ["fine", "card [redacted: pii.card]"]
    assert [one.logprobs is None for one in completion.choices] == [False, True]
    for answer in ({"content": "forbidden"}, {"content": None, "refusal": "forbidden"}, {"content": "x", "odd": ["forbidden"]}):
        with pytest.raises(Blocked, match="withheld"):
            asked(Model({"content": "fine"}, answer), says("hi"))


def test_thinking_never_comes_back_and_is_judged() -> None:
    completion = asked(Model({"content": "fine", "reasoning_content": "let me see"}), says("hi"))

    assert "reasoning_content" not in completion.choices[0].message.model_dump()
    with pytest.raises(Blocked, match="thinking"):
        asked(Model({"content": "fine", "reasoning_content": "forbidden"}), says("hi"))


@pytest.mark.parametrize(
    ("arguments", "passes"),
    [({"amount": 30.0}, True), ({"amount": 640.0}, False), ({"amount": 990.0}, False), ("{", False), ("[1]", False), ({}, False)],
)
def test_a_call_the_model_asks_for_is_withheld_unless_it_is_allowed(arguments: Any, passes: bool) -> None:
    model = Model(calls("payments.refund", arguments))

    if passes:
        assert asked(model, says("refund")).choices[0].message.tool_calls
    else:
        with pytest.raises(Blocked, match=r"payments\.refund is withheld"):
            asked(model, says("refund"))


@pytest.mark.parametrize("kind", ["custom", "function"])
def test_a_call_that_is_written_in_two_ways_is_judged_in_both(kind: str) -> None:
    forbidden = {"name": "payments.refund", "arguments": '{"amount": 990.0}'}
    call = {"id": "c1", "type": kind, "function": forbidden, "custom": {"name": "note", "input": "hello"}}

    with pytest.raises(Blocked, match=r"payments\.refund is withheld"):
        asked(Model({"content": None, "tool_calls": [call]}), says("refund"))


@pytest.mark.parametrize("parts", [("quite", "wrong"), ("quite ", "wrong")])
def test_parts_are_read_with_a_blank_where_words_meet(parts: tuple[str, str]) -> None:
    two: Policy = policy(clause("conduct.two", Rule("two", ("input", "output"), "block", when='text.contains("quite wrong")')))
    model = Model({"content": "ok"})

    with pytest.raises(Blocked):
        asked(model, says([{"type": "text", "text": one} for one in parts]), guard=Guard(two))
    asked(model, says([{"type": "text", "text": one} for one in ("quite", ", wrong")]), guard=Guard(two))

    assert len(model.sent) == 1


def test_a_call_that_this_guard_runs_itself_is_counted_when_it_runs() -> None:
    guard = Guard(POLICY)
    guard.tool(lambda amount: "ran", name="payments.refund")
    completion = asked(Model(calls("payments.refund", {"amount": 640.0})), says("refund"), guard=guard)
    with guard.turn() as session:
        before = session.history.calls
    with pytest.raises(Blocked):
        asked(Model(calls("payments.refund", {"amount": 990.0})), says("refund"), guard=guard)

    assert completion.choices[0].message.tool_calls
    assert before == ()


def test_what_is_not_governed_is_out_of_reach() -> None:
    client = Guard(POLICY).client(Model({"content": "x"}))

    with pytest.raises(AttributeError, match="not governed"):
        _ = client.embeddings
    with pytest.raises(AttributeError, match="not governed"):
        client.chat.completions.parse(model="m", messages=[])
    with pytest.raises(ValueError, match="extra_body is refused"):
        client.chat.completions.create(model="m", messages=[], extra_body={"messages": []})
    with pytest.raises(ValueError, match="messages"):
        client.chat.completions.create(model="m", messages="hello")


def test_a_stop_ends_the_conversation() -> None:
    class Stop:
        def applies(self, principal: Any, tool: str = "") -> tuple[str, ...]:
            return ("global",)

        applies_now = applies

    model = Model({"content": "x"})
    guard = Guard(POLICY, stops=Stop())

    with pytest.raises(Blocked, match="emergency stop"):
        asked(model, says("hi"), guard=guard)
    assert model.sent == []
    assert guard.check(Event("output", text="x")).effect == "stop"


def test_an_answer_that_no_document_supports_is_no_result() -> None:
    guard = Guard(policy(clause("honesty.sources", requires=("grounded",))))
    terms = {"role": "tool", "content": "Section 12.1: the customer may close the account at any time.", "tool_call_id": "t1"}
    turn = [says("may I?"), {"role": "assistant", **calls("terms.read", {})}, terms]

    fine = asked(Model({"content": "The customer may close the account at any time."}), *turn, guard=guard)

    assert fine.choices[0].message.content
    with pytest.raises(Blocked, match="no result: grounded: fail") as caught:
        asked(Model({"content": "Section 675 of the Act of 2019 says so."}), *turn, guard=guard)
    assert caught.value.decision.clauses == ("honesty.sources",)


def test_a_required_check_that_there_is_not_lets_no_answer_out() -> None:
    guard = Guard(policy(clause("honesty.sources", requires=("grounded", "no-such-check"))))

    decision = guard.check(Event("output", text="Hello, how can I help?"))

    assert (decision.effect, decision.undecided) == ("block", ("honesty.sources/requires:no-such-check",))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}},
        {"image_url": {"url": "http://x/y.png"}},
        {"type": "text", "text": "Look.", "image_url": {"url": "http://x/y.png"}},
        {"type": "odd", "inside": [{"deeper": "QUJD" * 200}]},
        {"type": "computer_screenshot", "image_url": "http://x/y.png"},
    ],
    ids=str,
)
def test_no_picture_passes_under_another_name(part: dict[str, Any]) -> None:
    model = Model({"content": "ok"})
    open_policy: Policy = policy(clause("conduct.word", WORD), extra={"x-media": "allow"})

    with pytest.raises(Blocked, match="pictures"):
        asked(model, says([part]))
    with pytest.raises(Blocked, match=r"conduct\.word"):
        asked(model, says([{**part, "words": "forbidden"}]), guard=Guard(open_policy))
    asked(model, says([part]), guard=Guard(open_policy))
    asked(model, says([{"type": "odd", "words": "Look here.", "data": '{"a":1}' * 200}]))

    assert len(model.sent) == 2


def test_a_source_that_an_answer_names_is_part_of_it() -> None:
    note = [{"type": "url_citation", "url_citation": {"url": "https://x", "title": "forbidden", "start_index": 0, "end_index": 1}}]

    with pytest.raises(Blocked, match=r"conduct\.word"):
        asked(Model({"content": "fine", "annotations": note}), says("hi"))


@pytest.mark.parametrize(
    "more", [{"tools": [{"type": "web_search_preview"}]}, {"web_search_options": {}}, {"tools": [{"type": ["x"]}]}], ids=str
)
def test_a_tool_that_the_models_server_runs_is_offered_only_where_the_policy_names_it(more: dict[str, Any]) -> None:
    model = Model({"content": "ok"})
    listed: Policy = policy(clause("conduct.word", WORD), tools={"web_search": {"type": "object"}})

    with pytest.raises(Blocked, match="not sent"):
        asked(model, says("look"), **more)
    if more.get("tools") != [{"type": ["x"]}]:
        asked(model, says("look"), guard=Guard(listed), **more)
        model.sent.pop()

    assert model.sent == []
