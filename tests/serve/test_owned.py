"""What the upstream keeps belongs to whoever got it: under one key of the gateway, nobody goes on with somebody else's conversation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.quorum import Person
from bylaw.serve import owned
from bylaw.serve.gate import Who
from bylaw.serve.owned import Owned
from bylaw.serve.wire import BadBody
from bylaw.store import database, secret_rows
from tests.serve.rig import Open, Reply, Rig, post, rigged
from tests.serve.test_answer_parts import pieces
from tests.serve.test_chat import call, completion
from tests.serve.test_messages import message as said_by_claude
from tests.serve.test_messages import streamed as streamed_by_claude
from tests.serve.test_messages import text, words
from tests.serve.test_responses import message, response
from tests.serve.test_stream_cuts import events

RESPONSES, MESSAGES, CHAT = "/v1/responses", "/v1/messages", "/v1/chat/completions"
DOOR = Open()


def somebody(name: str, tenant: str = "") -> Who:
    return Who({"id": name, "roles": [], "tenant": tenant, "jurisdiction": ""})


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    DOOR.who = somebody("ann")
    with rigged(tmp_path, door=DOOR) as one:
        one.gate.owned = Owned(b"s" * 32)
        yield one


def ask(rig: Rig, path: str = RESPONSES, **more: Any) -> Reply:
    said = {"input": "Hello"} if path == RESPONSES else {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    return post(f"{rig.url}{path}", orjson.dumps({"model": "m", **said, **more}), headers={"content-type": "application/json"})


def ids(rig: Rig, stream: bool) -> tuple[str, str]:
    """The ids of a response and of its first item, as a client gets them."""
    rig.speaker.replies.append(pieces(RESPONSES, "Hello", " you") if stream else response(message("Hello")))
    body = ask(rig, stream=stream).body
    if stream:
        every = list(events(body))
        assert {one["item_id"] for one in every if "item_id" in one} <= {one["id"] for one in every[-1]["response"]["output"]}
        assert every[0]["response"]["id"] == every[-1]["response"]["id"]
    got = every[-1]["response"] if stream else orjson.loads(body)
    return got["id"], got["output"][0]["id"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_goes_on_with_the_ids_that_were_given_and_the_upstream_sees_its_own(rig: Rig, stream: bool) -> None:
    reply, item = ids(rig, stream)
    rig.speaker.replies.append({**response(message("And?")), "previous_response_id": "resp_1"})
    given = [{"type": "item_reference", "id": item}, {"role": "user", "content": "And?"}]
    answer = ask(rig, previous_response_id=reply, input=given)
    sent = rig.speaker.asked[-1]

    assert (answer.status, orjson.loads(answer.body)["previous_response_id"]) == (200, reply)
    assert (sent["previous_response_id"], sent["input"][0]["id"]) == ("resp_1", "msg_1")
    assert "resp_1" != reply != item


@pytest.mark.parametrize("who", [somebody("bob"), somebody("ann", "other")], ids=["bob", "ann of another tenant"])
def test_nobody_else_goes_on_with_them(rig: Rig, who: Who) -> None:
    reply, item = ids(rig, stream=False)
    DOOR.who = who
    tried = [ask(rig, previous_response_id=reply), ask(rig, input=[{"type": "item_reference", "id": item}])]

    assert [one.status for one in tried] == [400, 400]
    assert b"did not give to you" in tried[0].body
    assert len(rig.speaker.asked) == 1


@pytest.mark.parametrize("answered", [False, True])
def test_nobody_is_told_what_somebody_else_waits_for(rig: Rig, answered: bool) -> None:
    rig.speaker.replies.append(completion("", calls=[call("refund", '{"order":1,"amount":250}')]))
    approval = orjson.loads(ask(rig, CHAT).body)["bylaw"]["approval"]
    if answered:
        rig.approvals.decide(approval, Person("eve", ("lead",)), False)
    DOOR.who = somebody("bob")
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    reply = post(f"{rig.url}{CHAT}", orjson.dumps(body), headers={"content-type": "application/json", "x-bylaw-approval": approval})

    assert (reply.headers["x-bylaw-decision"], reply.headers["x-bylaw-clauses"], "x-bylaw-approval" in reply.headers) == (
        "block",
        "",
        False,
    )
    assert b"This can't be released: there is no such request of yours." in reply.body


STRANGE: tuple[dict[str, Any], ...] = (
    {"previous_response_id": "resp_1"},
    {"previous_response_id": ["resp_1"]},
    {"previous_response_id": ""},
    {"conversation": "conv_1"},
    {"conversation": {"id": "conv_1"}},
    {"conversation": {}},
    {"input": [{"type": "item_reference", "id": "msg_1"}]},
    {"input": [{"id": "msg_1"}]},
    {"input": [{"type": None, "id": "msg_1"}]},
    {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
    {"input": [{"type": "image_generation_call", "id": "ig_1"}]},
    {"instructions": [{"type": "item_reference", "id": "msg_1"}]},
    {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
    {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
    {"tools": [{"type": "lookup", "container": "cntr_1"}]},
    {"tools": [{"type": "lookup", "container": {"type": "auto", "file_ids": ["file-1"]}}]},
    {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]},
)


@pytest.mark.parametrize("more", STRANGE, ids=str)
def test_an_id_that_was_never_given_is_refused(rig: Rig, more: dict[str, Any]) -> None:
    assert (ask(rig, **more).status, rig.speaker.asked) == (400, [])


def test_a_name_of_a_field_that_is_written_in_escapes_is_read_all_the_same(rig: Rig) -> None:
    body = b'{"model":"m","input":[{"role":"user","content":[{"type":"input_file","fil\\u0065_id":"file-1"}]}]}'

    assert post(f"{rig.url}{RESPONSES}", body).status == 400


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (MESSAGES, {"container": "container_1"}),
        (MESSAGES, {"container": {"id": "container_1", "skills": []}}),
        (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}, {"role": "user", "content": "And?"}]}),
    ],
    ids=str,
)
def test_files_and_containers_of_others_are_refused_on_the_other_routes(rig: Rig, path: str, more: dict[str, Any]) -> None:
    assert (ask(rig, path, **more).status, rig.speaker.asked) == (400, [])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        (MESSAGES, {"thread": {"type": "create"}}),
        (MESSAGES, {"thread": {"type": "continue", "previous_message_id": "msg_1"}}),
        (MESSAGES, {"Thread": {"type": "continue", "previous_message_id": "msg_1"}}),
        (MESSAGES, {"fallback_credit_token": "opaque"}),
        (MESSAGES, {"previous_response_id": "resp_1"}),
        (CHAT, {"conversation_id": "c-1"}),
        (CHAT, {"previous_response_id": "resp_1"}),
        (CHAT, {"session": {"id": "s"}}),
        (RESPONSES, {"thread": "t", "input": "Hello"}),
        (RESPONSES, {"parent_id": ["m"], "input": "Hello"}),
    ],
    ids=str,
)
def test_a_field_that_may_name_what_nobody_here_judged_is_refused(tmp_path: Path, path: str, more: dict[str, Any], shared: bool) -> None:
    with rigged(tmp_path, more="x-stored: shared\n" if shared else "") as rig:
        rig.gate.owned = Owned(b"s" * 32)
        reply = ask(rig, path, **more)

    assert (reply.status, rig.speaker.asked) == (400, [])
    assert f"`{next(iter(more))}` may name what is kept upstream" in reply.body.decode()


def test_a_field_that_is_only_called_so_goes_on(rig: Rig) -> None:
    more = {"request_id": "r-1", "user_id": "u", "return_token_ids": True, "thread": None, "min_token": 1, "stop_token_ids": [1]}
    rig.speaker.replies.append(completion("Hi"))
    ask(rig, CHAT, **more)

    assert {key: rig.speaker.asked[0][key] for key in more} == more


def test_what_a_tool_is_given_may_be_called_as_one_likes(rig: Rig) -> None:
    rig.speaker.replies.append(said_by_claude(text("Done")))
    called = {"type": "tool_use", "id": "t", "name": "lookup", "input": {"file_id": "7", "container": "box"}}
    schema = {"type": "object", "properties": {"container": {"type": "string"}}}
    turns = [{"role": "assistant", "content": [called]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]
    reply = ask(rig, MESSAGES, tools=[{"name": "lookup", "input_schema": schema}], messages=turns)

    assert (reply.status, rig.speaker.asked[0]["messages"]) == (200, turns)


def test_an_item_that_says_all_itself_loses_an_id_that_was_never_given(rig: Rig) -> None:
    given: list[dict[str, Any]] = [
        {"type": "message", "id": "msg_x", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
        {"role": "user", "id": "msg_y", "content": "And?"},
    ]
    rig.speaker.replies.append(response(message("Yes")))
    reply = ask(rig, input=given)

    assert reply.status == 200
    assert rig.speaker.asked[0]["input"] == [{key: value for key, value in one.items() if key != "id"} for one in given]


@pytest.mark.parametrize("stream", [False, True])
def test_a_container_is_its_owners(rig: Rig, stream: bool) -> None:
    held = {"container": {"id": "container_1", "expires_at": "2026-01-01T00:00:00Z"}}
    whole = {**said_by_claude(text("Hi")), **held}
    start = streamed_by_claude(words(0, "Hi"))
    start[0] = b"event: message_start\ndata: " + orjson.dumps({"type": "message_start", "message": {**whole, "content": []}}) + b"\n\n"
    rig.speaker.replies += [start if stream else whole, said_by_claude(text("Hi")), said_by_claude(text("Hi"))]
    body = ask(rig, MESSAGES, stream=stream).body
    got = next(iter(events(body)))["message"] if stream else orjson.loads(body)
    mine = ask(rig, MESSAGES, container=got["container"]["id"])
    DOOR.who = somebody("bob")
    others = ask(rig, MESSAGES, container=got["container"]["id"])

    assert (mine.status, others.status, rig.speaker.asked[-1]["container"]) == (200, 400, "container_1")


def test_what_a_model_said_aloud_is_gone_on_with_by_whoever_heard_it(rig: Rig) -> None:
    said = completion("Hi")
    said["choices"][0]["message"]["audio"] = {"id": "audio_1", "data": "AAAA", "transcript": "Hi", "expires_at": 1}
    rig.speaker.replies += [said, completion("Yes")]
    heard = orjson.loads(ask(rig, CHAT, modalities=["text", "audio"]).body)["choices"][0]["message"]["audio"]["id"]
    more = {"messages": [{"role": "assistant", "audio": {"id": heard}}, {"role": "user", "content": "And?"}]}
    mine = ask(rig, CHAT, **more)
    DOOR.who = somebody("bob")

    assert (mine.status, ask(rig, CHAT, **more).status) == (200, 400)
    assert rig.speaker.asked[1]["messages"][0]["audio"] == {"id": "audio_1"}


def test_where_the_policy_says_so_everybody_shares(tmp_path: Path) -> None:
    with rigged(tmp_path, more="x-stored: shared\n") as rig:
        rig.gate.owned = Owned(b"s" * 32)
        rig.speaker.replies.append(response(message("Hello")))
        body = orjson.loads(ask(rig, previous_response_id="resp_0", conversation="conv_1").body)

    assert (body["id"], rig.speaker.asked[0]["previous_response_id"]) == ("resp_1", "resp_0")


@pytest.mark.parametrize(
    "path", ["/v1/responses/resp_1", "/v1/responses/resp_1/input_items", "/v1/conversations/c", "/v1/files", "/v1/containers/c"]
)
def test_what_is_kept_is_on_no_route(path: str) -> None:
    from bylaw.serve.gateway import _passed_on  # looked at here alone
    from bylaw.serve.routes import ROUTES  # the same

    assert (path in ROUTES, _passed_on("GET", path), _passed_on("POST", path)) == (False, False, False)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_an_id_opens_for_its_owner_alone(owner: str, other: str, name: str) -> None:
    bound = Owned(b"s" * 32)
    sealed = bound.given(owner, name)

    assert bound.taken(owner, sealed, "id") == name
    for who, text_, how in [(other + "x" + owner, sealed, bound), (owner, sealed + "A", bound), (owner, sealed, Owned(b"t" * 32))]:
        with pytest.raises(BadBody):
            how.taken(who, text_, "id")


def test_all_processes_on_one_store_share_the_secret(tmp_path: Path) -> None:
    stores = [database.open(tmp_path / "store.sqlite") for _ in range(2)]
    found = [secret_rows.shared(one, owned.PURPOSE) for one in stores]
    for one in stores:
        one.close()

    assert (len(found[0]), found[0] == found[1]) == (32, True)


CHOSEN = ("input", "schema", "parameters", "metadata", "arguments", "input_schema", "tools", "container", "file_id")
HIDDEN: tuple[dict[str, Any], ...] = (
    *({"prompt": {"id": "pmpt_1", "variables": {name: {"type": "input_file", "file_id": "file-1"}}}} for name in CHOSEN),
    {"prompt": {"id": "pmpt_1", "variables": {"a": {"metadata": {"file_id": "file-1"}}}}},
    {"prompt": {"id": "pmpt_1", "variables": [{"file_id": "file-1"}]}},
    {"type": "tool_use", "input": {"file_id": "file-1"}},
    {"input": [{"role": "user", "content": [{"metadata": {"file_id": "file-1"}, "type": "input_image"}]}]},
    {"input": [{"role": "user", "content": [{"type": "input_file", "file_ids": "file-1"}]}]},
    {"input": [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]},
)


@pytest.mark.parametrize("more", HIDDEN, ids=str)
def test_an_id_hides_under_no_name_that_somebody_chose(rig: Rig, more: dict[str, Any]) -> None:
    assert (ask(rig, **more).status, rig.speaker.asked) == (400, [])


FREE: tuple[tuple[str, dict[str, Any]], ...] = (
    (RESPONSES, {"prompt": {"id": "pmpt_1", "variables": {"file_id": "a", "container": "b", "file_ids": "c", "id": "d"}}}),
    (RESPONSES, {"metadata": {"file_id": "abc"}}),
    (RESPONSES, {"tools": [{"type": "function", "name": "lookup", "parameters": {"properties": {"file_id": {"const": "x"}}}}]}),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"default": {"file_id": "x"}}}}}),
    (RESPONSES, {"input": [{"type": "mcp_list_tools", "tools": [{"name": "t", "annotations": {"file_id": "x"}}]}]}),
    (MESSAGES, {"tools": [{"name": "lookup", "input_schema": {"type": "object"}, "input_examples": [{"file_id": "abc"}]}]}),
    (CHAT, {"tools": [{"type": "function", "function": {"name": "lookup", "parameters": {"default": {"file_id": "x"}}}}]}),
)


@pytest.mark.parametrize(("path", "more"), FREE, ids=str)
def test_what_people_call_their_own_fields_is_no_id(path: str, more: dict[str, Any]) -> None:
    body = orjson.loads(orjson.dumps(more))
    Owned(b"s" * 32).admit(path, body, "ann")

    assert body == more
    assert owned.named(path, more, Owned(b"s" * 32).naming("ann")) == more


SAID: tuple[tuple[str, dict[str, Any]], ...] = (
    (RESPONSES, {"type": "file_search_call", "id": "fs_1", "results": [{"file_id": "file-1", "attributes": {"file_id": "x"}}]}),
    (RESPONSES, {"type": "shell_call", "id": "sh_1", "environment": {"type": "container_reference", "container_id": "cntr_1"}}),
    (RESPONSES, {"type": "local_shell_call", "id": "ls_1", "action": {"type": "exec", "env": {"file_id": "x"}}}),
    (RESPONSES, {"type": "mcp_call", "id": "mcp_1", "approval_request_id": "mcpr_1", "arguments": "{}"}),
    (RESPONSES, {"type": "mcp_list_tools", "id": "mcpl_1", "tools": [{"name": "t", "annotations": {"file_id": "x"}}]}),
    (RESPONSES, {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "annotations": [{"file_id": "file-1"}]}]}),
    (MESSAGES, {"type": "code_execution_tool_result", "content": {"content": [{"type": "code_execution_output", "file_id": "file_1"}]}}),
    (MESSAGES, {"type": "text", "text": "Hi", "citations": [{"type": "char_location", "file_id": "file_1"}]}),
    (MESSAGES, {"type": "server_tool_use", "id": "t", "name": "run", "input": {"file_id": "x", "container": "y"}}),
)


@pytest.mark.parametrize(("path", "said"), SAID, ids=str)
def test_what_was_said_can_be_said_again_and_what_others_made_up_gets_no_tag(path: str, said: dict[str, Any]) -> None:
    bound = Owned(b"s" * 32)
    whole = {"id": "resp_1", "output": [said]} if path == RESPONSES else {"content": [said]}
    before = orjson.dumps(whole)
    given = orjson.loads(orjson.dumps(owned.named(path, whole, bound.naming("ann"))))
    again = {"input": given["output"]} if path == RESPONSES else {"messages": [{"role": "assistant", "content": given["content"]}]}
    bound.admit(path, again, "ann")

    assert orjson.dumps(whole) == before
    assert (again["input"] if path == RESPONSES else again["messages"][0]["content"]) == [said]
    assert b'"x.' not in orjson.dumps(given)


def test_what_a_server_asks_is_answered_by_whoever_was_asked(rig: Rig) -> None:
    bound = Owned(b"s" * 32)
    asked = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "lookup", "arguments": "{}", "server_label": "s"}
    seen = owned.event({"type": "response.output_item.done", "item": asked}, bound.naming(DOOR.who.owner))["item"]["id"]
    rig.speaker.replies.append(response(message("Done")))
    given = [{"type": "mcp_approval_response", "approval_request_id": seen, "approve": True}]
    mine = ask(rig, input=given)
    DOOR.who = somebody("bob")

    assert (mine.status, ask(rig, input=given).status) == (200, 400)
    assert rig.speaker.asked[0]["input"][0]["approval_request_id"] == "mcpr_1"


def test_a_container_that_is_named_at_the_end_of_a_stream_is_its_owners(rig: Rig) -> None:
    pieces_ = streamed_by_claude(words(0, "Hi"))
    held = {"container": {"id": "container_1", "expires_at": "2026-01-01T00:00:00Z"}, "stop_reason": "end_turn"}
    pieces_[-2] = b"event: message_delta\ndata: " + orjson.dumps({"type": "message_delta", "delta": held, "usage": {}}) + b"\n\n"
    rig.speaker.replies += [pieces_, said_by_claude(text("Hi"))]
    every = list(events(ask(rig, MESSAGES, stream=True).body))
    got = next(one for one in every if one["type"] == "message_delta")["delta"]["container"]["id"]
    mine = ask(rig, MESSAGES, container=got)

    assert (mine.status, rig.speaker.asked[-1]["container"], got == "container_1") == (200, "container_1", False)


def test_a_file_that_a_tool_made_is_named_in_a_stream_as_its_owner_may_name_it(rig: Rig) -> None:
    made = {"type": "code_execution_tool_result", "tool_use_id": "t", "content": {"content": [{"type": "output", "file_id": "file_1"}]}}
    block = [
        b"data: " + orjson.dumps({"type": "content_block_start", "index": 0, "content_block": made}) + b"\n\n",
        b'data: {"type":"content_block_stop","index":0}\n\n',
    ]
    rig.speaker.replies.append(streamed_by_claude(block))
    body = ask(rig, MESSAGES, stream=True).body
    got = next(one for one in events(body) if one["type"] == "content_block_start")["content_block"]

    assert got["content"]["content"][0]["file_id"] == Owned(b"s" * 32).given(DOOR.who.owner, "file_1")


def test_where_everybody_shares_an_id_of_before_is_still_understood(tmp_path: Path) -> None:
    DOOR.who = somebody("ann")
    with rigged(tmp_path, more="x-stored: shared\n", door=DOOR) as rig:
        rig.gate.owned = bound = Owned(b"s" * 32)
        rig.speaker.replies.append(response(message("Hello")))
        given = [{"type": "item_reference", "id": bound.given(DOOR.who.owner, "msg_1")}, {"type": "message", "id": "msg_2", "role": "user"}]
        ask(rig, previous_response_id=bound.given(DOOR.who.owner, "resp_0"), input=given)
        sent = rig.speaker.asked[0]

    assert (sent["previous_response_id"], [one["id"] for one in sent["input"]]) == ("resp_0", ["msg_1", "msg_2"])
