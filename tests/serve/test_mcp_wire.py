"""What is no message, or says two things, is refused with a JSON-RPC error."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.serve.mcp_texts import WORDS, cut, gathered
from bylaw.serve.mcp_wire import MODERN, VERSION_KEY, Rpc, agree, decoded, encoded, kind_of, mirrored, mirrors, read, takes_forms
from bylaw.types import Hit

CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "a", "arguments": {}, "_meta": {VERSION_KEY: MODERN}},
}
HEADERS = [(b"mcp-protocol-version", MODERN.encode()), (b"mcp-method", b"tools/call"), (b"mcp-name", b"a")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"no", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * 80 + b"1" + b"}" * 80 + b"}", -32600),
    ],
)
def test_what_is_no_message_is_refused(line: bytes, code: int) -> None:
    with pytest.raises(Rpc) as refused:
        read(line)

    assert refused.value.code == code


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": True, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1.5, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
        {"jsonrpc": "2.0", "id": 1},
    ],
)
def test_a_message_that_is_none_of_the_three_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(Rpc):
        kind_of(message)


def test_of_a_key_given_twice_only_the_one_that_is_judged_is_sent() -> None:
    message = read(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","name":"refund"}}')

    assert orjson.dumps(message).count(b"refund") == 1
    assert b"safe" not in orjson.dumps(message)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        HEADERS[:2],
        [*HEADERS[:2], (b"mcp-name", b"b")],
        [HEADERS[0], (b"mcp-method", b"tools/list"), HEADERS[2]],
        [(b"mcp-protocol-version", b"2025-11-25"), *HEADERS[1:]],
        [*HEADERS, (b"mcp-name", b"a")],
    ],
)
def test_headers_that_say_something_else_than_the_body_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Rpc) as refused:
        agree(headers, CALL)

    assert refused.value.code == -32020


def test_headers_that_agree_pass() -> None:
    agree(HEADERS, CALL)

    assert kind_of(CALL) == "request"


def test_a_mirrored_argument_must_be_the_argument() -> None:
    schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    wanted = mirrored(schema, {"region": "eu"})
    mirrors([(b"mcp-param-region", b"eu")], wanted, 1)
    with pytest.raises(Rpc):
        mirrors([(b"mcp-param-region", b"us")], wanted, 1)

    assert wanted == {"mcp-param-region": "eu"}


@given(st.text())
def test_any_text_crosses_a_header_whole(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return

    assert decoded(encoded(value)) == value
    assert encoded(value).isascii()


def test_who_takes_forms_says_so() -> None:
    kinds: tuple[Any, ...] = ({"elicitation": {}}, {"elicitation": {"form": {}}}, {"elicitation": {"url": {}}}, {}, None)
    said = [takes_forms(one) for one in kinds]

    assert said == [True, True, False, False, False]


@given(
    st.recursive(st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3))
)
def test_whatever_a_message_says_is_in_the_text_that_is_judged(value: Any) -> None:
    def strings(one: Any) -> list[str]:
        if isinstance(one, str):
            return [one]
        if isinstance(one, dict):  # a value that the protocol itself gives says nothing
            return [text for inner in one.values() if str(inner) not in WORDS for text in strings(inner)]
        return [text for inner in one for text in strings(inner)]

    whole = gathered({"result": {"content": value}}).whole

    assert all(text in whole for text in strings(value))


def test_a_finding_over_two_texts_is_cut_out_of_both() -> None:
    body = {"content": [{"type": "text", "text": "ab"}, {"type": "text", "text": "cd"}]}
    cut(body, gathered(body), [Hit("r", 1, 4)])

    assert body["content"][0]["text"].startswith("a")
    assert body["content"][1]["text"].endswith("d")
    assert "b" not in body["content"][0]["text"][1:2]
