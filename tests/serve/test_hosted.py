"""What the upstream would run by itself is judged when it is offered: afterwards it has been done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern.offers import offered
from bylaw.govern.quorum import Person
from bylaw.serve.start import Setting, prepare
from tests.serve.planted import listing
from tests.serve.rig import CLAUSES, STREAMABLE, Reply, Rig, post, rigged, written
from tests.serve.test_chat import completion

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
MCP: dict[str, Any] = {"type": "mcp", "server_url": "https://x", "server_label": "x", "require_approval": "never"}
ADDED: dict[str, Any] = {
    "type": "tool_addition",
    "tool": {"type": "tool_definition", "definition": {"type": "web_search_20250305", "name": "web_search"}},
}
WITHIN: tuple[dict[str, Any], ...] = (  # offered in the midst of a conversation
    {"input": [{"type": "additional_tools", "role": "developer", "tools": [MCP]}, {"role": "user", "content": "Hello"}]},
    {"input": [{"type": "tool_search_output", "call_id": None, "execution": "client", "status": "completed", "tools": [MCP]}]},
    {"input": [{"type": "additional_tools", "Tools": [{"type": "web_search"}]}]},
    {"instructions": [{"type": "additional_tools", "tools": [MCP]}]},
    {"tools": [{"type": "namespace", "name": "n", "description": "", "tools": [{"type": "web_search"}]}]},
)
ELSEWHERE: tuple[dict[str, Any], ...] = (  # how other providers' models search and read
    {"search_parameters": {"mode": "on"}},
    {"enable_search": True},
    {"Enable_Search": True},
    {"plugins": [{"id": "web"}]},
    {"data_sources": [{"type": "azure_search", "parameters": {"endpoint": "https://x"}}]},
    {"web_search_options": True},
)
OFFERS: tuple[tuple[str, dict[str, Any]], ...] = (
    (RESPONSES, {"tools": [{"type": "mcp", "server_url": "https://x", "server_label": "x", "require_approval": "never"}]}),
    (RESPONSES, {"tools": [{"type": "web_search_preview_2025_03_11"}]}),
    (RESPONSES, {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
    (RESPONSES, {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
    (MESSAGES, {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
    (MESSAGES, {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
    (MESSAGES, {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}),
    (CHAT, {"tools": [{"type": "web_search"}]}),
    (CHAT, {"web_search_options": {}}),
    (RESPONSES, {"prompt": {"id": "pmpt_1", "version": "2"}}),
    *((RESPONSES, more) for more in WITHIN),
    *((MESSAGES, {"messages": [{"role": "user", "content": "Hello"}, {"role": role, "content": [ADDED]}]}) for role in ("user", "system")),
    (MESSAGES, {"system": [ADDED]}),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "compaction", "content": "Before", "tool_changes": [ADDED]}]}]}),
    (MESSAGES, {"container": {"skills": [{"type": "custom", "skill_id": "skill_1", "version": "1"}]}}),
    (CHAT, {"messages": [{"role": "system", "content": "Hello", "tools": [{"type": "web_search"}]}]}),
    *((CHAT, more) for more in ELSEWHERE),
)
HARMLESS: tuple[tuple[str, dict[str, Any]], ...] = (
    (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "c"}]}),
    (
        RESPONSES,
        {"tools": [{"type": "computer_use_preview"}, {"type": "shell", "environment": {"type": "local"}}, {"type": "local_shell"}]},
    ),
    (RESPONSES, {"tools": [{"type": "lookup_2025_01_01"}]}),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}, {"type": "lookup_20250124"}]}),
    (CHAT, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    (RESPONSES, {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": {}}]}]}),
)
NO_OFFERS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"tools": [MCP]}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "x", "tool_references": [{"type": "tool_reference", "tool_name": "f"}]}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"type": "function", "id": "c", "function": {"name": "f", "arguments": "{}"}}]}]},
    {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"tools": {"type": "array"}, "tool": {"type": "x"}}}}]},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"tools": {"type": "array"}}}}}},
    {"text": {"format": {"type": "json_schema", "schema": {"properties": {"tools": {"type": "array"}}}}}},
    {"enable_search": False, "plugins": [], "web_search_options": None},
    {"tool_choice": {"type": "tool", "name": "f"}, "parallel_tool_calls": True, "max_tool_calls": 3},
    {"input": [{"type": "mcp_list_tools", "server_label": "x", "tools": [{"name": "t", "input_schema": {}}]}]},
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def ask(rig: Rig, path: str, more: dict[str, Any], **headers: str) -> Reply:
    said = {"input": "Hello"} if path == RESPONSES else {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    body = orjson.dumps({"model": "m", **said, **more})
    return post(f"{rig.url}{path}", body, headers={"content-type": "application/json", **headers})


@pytest.mark.parametrize(("path", "more"), OFFERS, ids=str)
def test_a_tool_that_the_upstream_runs_and_nobody_named_waits_for_a_person(rig: Rig, path: str, more: dict[str, Any]) -> None:
    reply = ask(rig, path, more)

    assert (reply.headers["x-bylaw-decision"], rig.speaker.asked) == ("require_approval", [])
    assert rig.book.entries[0]["decision"] == "require_approval"


def test_a_prompt_that_the_upstream_keeps_goes_on_where_the_policy_names_it(tmp_path: Path) -> None:
    with rigged(listing(tmp_path)) as rig:
        ask(rig, RESPONSES, {"prompt": {"id": "pmpt_1"}})

    assert [one["prompt"] for one in rig.speaker.asked] == [{"id": "pmpt_1"}]


@pytest.mark.parametrize(
    "name", ["Tools", "TOOLS", "tool\u017f", "Mcp_Servers", "Previous_Response_Id", "Stream", "Background", "Messages"]
)
@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_a_field_that_some_servers_take_for_another_is_refused(rig: Rig, path: str, name: str) -> None:
    replies = [ask(rig, path, {name: [{"type": "web_search"}]}), ask(rig, path, {"tools": [{"name": "f", "Type": "web_search"}]})]

    assert [one.status for one in replies] == [400, 400]
    assert rig.speaker.asked == []


@pytest.mark.parametrize(
    "tool",
    [
        {"type": ["web_search"]},
        {"type": {}},
        {"type": 1},
        {"type": True},
        {"type": ""},
        {"type": "x\0y"},
        {"type": "x" * 5000},
        {"x": {}},
        {},
        [],
        [[MCP]],
        [MCP],
        "web_search",
        7,
    ],
    ids=repr,
)
def test_a_tool_whose_kind_cannot_be_read_is_offered_to_nobody(rig: Rig, tool: Any) -> None:
    reply = ask(rig, RESPONSES, {"tools": [tool]})

    assert (reply.status, rig.speaker.asked) == (200, [])


@pytest.mark.parametrize("tools", [MCP, {"0": MCP}, "web_search", True], ids=repr)
def test_tools_that_are_no_list_are_offered_to_nobody(rig: Rig, tools: Any) -> None:
    replies = [ask(rig, path, {"tools": tools}) for path in (CHAT, RESPONSES, MESSAGES)]

    assert ([one.headers["x-bylaw-decision"] for one in replies], rig.speaker.asked) == (["block"] * 3, [])


@pytest.mark.parametrize("tool", [[MCP], {"type": "tool_definition", "definition": [MCP]}, {"type": "x"}, {"Type": "mcp"}], ids=repr)
def test_a_tool_that_comes_later_and_cannot_be_read_goes_no_further(rig: Rig, tool: Any) -> None:
    reply = ask(rig, MESSAGES, {"messages": [{"role": "user", "content": [{"type": "tool_addition", "tool": tool}]}]})

    assert (reply.headers["x-bylaw-decision"] in ("block", "require_approval"), rig.speaker.asked) == (True, [])


@pytest.mark.parametrize("body", NO_OFFERS, ids=str)
def test_calls_references_and_what_people_call_their_own_fields_offer_nothing(body: dict[str, Any]) -> None:
    assert offered(body) == []


@pytest.mark.parametrize(("path", "more"), HARMLESS, ids=str)
def test_what_the_client_runs_and_what_the_policy_lists_is_offered_as_it_is(rig: Rig, path: str, more: dict[str, Any]) -> None:
    ask(rig, path, more)

    assert [one.get("tools") for one in rig.speaker.asked] == [more["tools"]]


def test_once_people_have_approved_the_offer_the_request_goes_on(rig: Rig) -> None:
    rig.speaker.replies.append(completion("Found."))
    told = orjson.loads(ask(rig, CHAT, {"web_search_options": {}}).body)["bylaw"]
    rig.approvals.decide(told["approval"], Person("eve", ("lead", "approver")), True)
    reply = ask(rig, CHAT, {"web_search_options": {}}, **{"x-bylaw-approval": told["approval"]})

    assert (b"Found." in reply.body, len(rig.speaker.asked)) == (True, 1)


def test_an_approved_request_without_a_word_goes_on(rig: Rig) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 300}}
    more = {"web_search_options": {}, "messages": [{"role": "user", "content": [picture]}]}
    rig.speaker.replies.append(completion("Found."))
    told = orjson.loads(ask(rig, CHAT, more).body)["bylaw"]
    rig.approvals.decide(told["approval"], Person("eve", ("lead", "approver")), True)
    reply = ask(rig, CHAT, more, **{"x-bylaw-approval": told["approval"]})

    assert (b"Found." in reply.body, len(rig.speaker.asked)) == (True, 1)


PERSON = (
    "A person reads every answer",
    '    on: [output]\n    when: principal.id == "local"\n    then: require_approval\n    approvers: [lead]',
)


def test_an_approved_answer_without_a_word_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLAUSES, "shop.read", PERSON)
    with rigged(tmp_path, ("shop.read",)) as rig:
        rig.speaker.replies.append(completion(""))
        told = orjson.loads(ask(rig, CHAT, {}).body)["bylaw"]
        rig.approvals.decide(told["approval"], Person("eve", ("lead",)), True)
        reply = ask(rig, CHAT, {}, **{"x-bylaw-approval": told["approval"]})

    assert (reply.headers["x-bylaw-decision"], orjson.loads(reply.body)["choices"]) == ("allow", completion("")["choices"])


def test_a_rule_without_a_condition_and_a_stop_hold_for_an_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLAUSES, "shop.closed", ("Nobody looks anything up", "    on: tool_call\n    tool: lookup\n    then: block"))
    with rigged(tmp_path, (*STREAMABLE, "shop.closed")) as rig:
        closed = ask(rig, RESPONSES, {"tools": [{"type": "lookup"}]})
        rig.stopped.add("drill")
        stopped = ask(rig, RESPONSES, {"tools": [{"type": "refund"}]})

    assert [one.headers["x-bylaw-decision"] for one in (closed, stopped)] == ["block", "stop"]
    assert closed.headers["x-bylaw-clauses"] == "shop.closed"
    assert rig.speaker.asked == []


LATE = {
    "search.words": (
        "Nothing is searched for by name",
        '    on: tool_call\n    tool: web_search\n    when: args.query == "Ann"\n    then: block',
    ),
    "search.keys": ("No key goes into a call", "    on: tool_call\n    detect: [secrets]\n    then: block"),
    "search.again": ("A search is thought over", "    on: tool_call\n    tool: web_search\n    then: revise"),
}


@pytest.mark.slow
@pytest.mark.parametrize("clause", LATE)
@pytest.mark.parametrize("named", [False, True])
def test_a_rule_that_looks_at_a_call_comes_too_late_unless_the_policy_accepts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clause: str, named: bool
) -> None:
    monkeypatch.setitem(CLAUSES, clause, LATE[clause])
    monkeypatch.setitem(CLAUSES, "search.some", ("Some search", "    on: tool_call\n    tool: web_search\n    then: allow"))
    with rigged(tmp_path, (*STREAMABLE, "search.some", clause), more="x-hosted: [web_search]\n" if named else "") as rig:
        rig.speaker.replies.append(completion("Found."))
        reply = ask(rig, CHAT, {"web_search_options": {}})

    assert reply.headers["x-bylaw-decision"] == ("allow" if named else "block")
    assert len(rig.speaker.asked) == named
    assert named or rig.book.entries[0]["facts"]["undecided"] == [f"{clause}/r"]


def test_whoever_starts_a_gateway_is_told_which_rules_come_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for clause, rule in LATE.items():
        monkeypatch.setitem(CLAUSES, clause, rule)
    folder, said = written(tmp_path / "policy", (*STREAMABLE, *LATE), "x-hosted: [web_search, lookup]\n"), list[str]()
    prepare(Setting("http://127.0.0.1:9", data_dir=tmp_path / "data"), folder, "tester", said.append)

    assert said == [
        "TOO LATE: lookup runs at the upstream before search.keys/r can be decided, and x-hosted lets it",
        "TOO LATE: web_search runs at the upstream before search.again/r, search.keys/r, search.words/r can be decided,"
        " and x-hosted lets it",
    ]
