"""Replies and streams of all three APIs with every field that real servers fill, and a text planted anywhere in them."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

KEY, CARD = "sk-abcd1234", "4111 1111 1111 1111"
Place = tuple[str | int, ...]

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    "/v1/responses": {"model": "m", "input": "Hello"},
    "/v1/messages": {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "Hello"}]},
}

# Requests with every field that clients send, and some that only some servers know.
FULL: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "name": "n",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                    {"type": "file", "file": {"filename": "f", "file_id": "i"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "audio": {"id": "a1"},
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"order": 1}'}},
                    {"id": "c2", "type": "custom", "custom": {"name": "t", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "fine"},
            {"role": "assistant", "content": "b", "function_call": {"name": "lookup", "arguments": "{}"}},
            {"role": "function", "name": "lookup", "content": "r"},
        ],
        "tools": [{"type": "function", "function": {"name": "lookup", "description": "d", "parameters": {"type": "object"}}}],
        "functions": [{"name": "f", "description": "d"}],
        "tool_choice": {"type": "function", "function": {"name": "lookup"}},
        "prediction": {"type": "content", "content": "p"},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "description": "d", "schema": {"type": "object", "description": "d"}},
        },
        "stop": ["s"],
        "user": "u",
        "metadata": {"k": "v"},
        "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "c"}}},
        "modalities": ["text"],
        "audio": {"voice": "v", "format": "wav"},
        "logit_bias": {"50256": -100},
        "safety_identifier": "x",
        "prompt_cache_key": "k",
        "reasoning_effort": "low",
        "verbosity": "low",
        "chat_template_kwargs": {"x": "y"},
        "guided_regex": "r",
        "suffix": "z",
    },
    "/v1/responses": {
        "model": "m",
        "instructions": "i",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a"},
                    {"type": "input_image", "image_url": "https://x", "detail": "low"},
                    {"type": "input_file", "filename": "f", "file_url": "u"},
                ],
            },
            {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "o"},
            {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "x"},
            {"type": "item_reference", "id": "i1"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
        ],
        "tools": [
            {"type": "function", "name": "lookup", "description": "d", "parameters": {}},
            {"type": "mcp", "server_label": "l", "server_url": "u", "headers": {"a": "b"}},
        ],
        "tool_choice": {"type": "function", "name": "lookup"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"description": "d"}}, "verbosity": "low"},
        "metadata": {"k": "v"},
        "user": "u",
        "prompt": {"id": "p", "variables": {"a": "b"}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "previous_response_id": "r0",
        "conversation": "c",
        "include": ["x"],
        "truncation": "auto",
        "context_management": [{"type": "compaction"}],
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image", "source": {"type": "url", "url": "u"}},
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                        "title": "t",
                        "context": "c",
                        "citations": {"enabled": True},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "b", "citations": [{"type": "char_location", "cited_text": "c"}]},
                    {"type": "tool_use", "id": "t1", "name": "lookup", "input": {"order": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "is_error": False, "content": [{"type": "text", "text": "r"}]},
                    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
                ],
            },
        ],
        "tools": [{"name": "lookup", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["s"],
        "metadata": {"user_id": "u"},
        "mcp_servers": [{"type": "url", "url": "u", "name": "n"}],
        "container": {"id": "c", "skills": [{"type": "anthropic", "skill_id": "x"}]},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "context_management": {"edits": [{"type": "x"}]},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"description": "d"}}},
    },
}

_TOKEN = {"token": "Fine", "logprob": -0.1, "bytes": [70, 105, 110, 101]}
_TOKENS = [{**_TOKEN, "top_logprobs": [{"token": "Good", "logprob": -2.5, "bytes": [71, 111, 111, 100]}]}]
_CITED = {"type": "url_citation", "url_citation": {"url": "https://x.example", "title": "A page", "start_index": 0, "end_index": 4}}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}
_LOOKUP = '{"order": 81}'

SAID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "logprobs": {"content": _TOKENS, "refusal": None},
                "message": {
                    "role": "assistant",
                    "content": "Fine",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "annotations": [_CITED],
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": _LOOKUP}}],
                },
            }
        ],
        "usage": _USAGE,
    },
    "/v1/responses": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": "Be kind.",
        "metadata": {"team": "a"},
        "model": "m",
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [{"type": "function", "name": "lookup", "parameters": {}}],
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low", "summary": None},
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}},
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "xyz"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {
                        "type": "output_text",
                        "text": "Fine",
                        "annotations": [{"type": "url_citation", "url": "https://x.example", "title": "A page"}],
                        "logprobs": _TOKENS,
                    }
                ],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "lookup", "arguments": _LOOKUP, "status": "completed"},
        ],
    },
    "/v1/messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "container": {"id": "container_1", "expires_at": "2026-01-01T00:00:00Z"},
        "context_management": {"applied_edits": [{"type": "clear", "cleared": 1}]},
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2, "service_tier": "standard", "server_tool_use": {"web_search_requests": 0}},
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "xyz"},
            {"type": "redacted_thinking", "data": "xyz"},
            {
                "type": "text",
                "text": "Fine",
                "citations": [{"type": "char_location", "cited_text": "a page", "document_title": "A title", "document_index": 0}],
            },
            {"type": "web_search_tool_result", "tool_use_id": "t1", "content": [{"type": "web_search_result", "title": "A result"}]},
            {"type": "tool_use", "id": "t2", "name": "lookup", "input": {"order": 81}},
        ],
    },
}


def _chat() -> list[dict[str, Any]]:
    whole = SAID["/v1/chat/completions"]
    head = {
        **{key: whole[key] for key in ("id", "created", "model", "system_fingerprint", "service_tier")},
        "object": "chat.completion.chunk",
    }

    def chunk(delta: dict[str, Any], **beside: Any) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **beside}]}

    call = whole["choices"][0]["message"]["tool_calls"][0]
    return [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "Fine", "annotations": [_CITED]}, logprobs={"content": _TOKENS, "refusal": None}),
        chunk({"content": " and well, thank you, how are you and all of yours"}),
        chunk({"tool_calls": [{"index": 0, **call, "function": {"name": "lookup", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": _LOOKUP}}]}),
        chunk({}, finish_reason="tool_calls"),
        {**head, "choices": [], "usage": _USAGE},
    ]


def _responses() -> list[dict[str, Any]]:
    whole = SAID["/v1/responses"]
    thought, message, call = whole["output"]
    part, begun = message["content"][0], {**whole, "status": "in_progress", "output": [], "usage": None}
    at, inside = {"output_index": 1, "item_id": "msg_1"}, {"output_index": 1, "item_id": "msg_1", "content_index": 0}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "summary": []}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1", "summary_index": 0, "delta": "hm"},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", **at, "item": {**message, "content": [], "status": "in_progress"}},
        {"type": "response.content_part.added", **inside, "part": {**part, "text": "", "annotations": [], "logprobs": []}},
        {"type": "response.output_text.delta", **inside, "delta": "Fine", "logprobs": _TOKENS},
        {"type": "response.output_text.annotation.added", **inside, "annotation_index": 0, "annotation": part["annotations"][0]},
        {"type": "response.output_text.done", **inside, "text": "Fine", "logprobs": _TOKENS},
        {"type": "response.content_part.done", **inside, "part": part},
        {"type": "response.output_item.done", **at, "item": message},
        {"type": "response.output_item.added", "output_index": 2, "item": {**call, "arguments": "", "status": "in_progress"}},
        {"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc_1", "delta": _LOOKUP},
        {"type": "response.function_call_arguments.done", "output_index": 2, "item_id": "fc_1", "arguments": _LOOKUP, "name": "lookup"},
        {"type": "response.output_item.done", "output_index": 2, "item": call},
        {"type": "response.completed", "response": whole},
    ]


def _messages() -> list[dict[str, Any]]:
    whole = SAID["/v1/messages"]
    thought, sealed, text, result, use = whole["content"]
    start = {**{key: value for key, value in whole.items() if key != "content"}, "content": [], "stop_reason": None}

    def block(at: int, begins: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        pieces = [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        begun = {"type": "content_block_start", "index": at, "content_block": begins}
        return [begun, *pieces, {"type": "content_block_stop", "index": at}]

    return [
        {"type": "message_start", "message": start},
        {"type": "ping"},
        *block(0, {**thought, "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "hm"}, _signed()),
        *block(1, sealed),
        *block(2, {"type": "text", "text": "", "citations": []}, {"type": "text_delta", "text": "Fine"}, _cites(text)),
        *block(3, result),
        *block(4, {**use, "input": {}}, {"type": "input_json_delta", "partial_json": _LOOKUP}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def _signed() -> dict[str, Any]:
    return {"type": "signature_delta", "signature": "xyz"}


def _cites(text: dict[str, Any]) -> dict[str, Any]:
    return {"type": "citations_delta", "citation": text["citations"][0]}


EVENTS: dict[str, list[dict[str, Any]]] = {"/v1/chat/completions": _chat(), "/v1/responses": _responses(), "/v1/messages": _messages()}


def as_bytes(path: str, events: list[Any]) -> bytes:
    """Events as a server sends them."""
    named = path != "/v1/chat/completions"
    out = b""
    for one in events:
        kind = one.get("type") if isinstance(one, dict) else ""
        out += (f"event: {kind}\n".encode() if named and isinstance(kind, str) else b"") + b"data: " + orjson.dumps(one) + b"\n\n"
    return out + (b"" if named else b"data: [DONE]\n\n")


def places(value: Any, here: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value in a value, with its place."""
    yield here, value
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*here, key))


def planted(value: Any, place: Place, how: str, secret: str) -> Any:
    """A copy with a text planted: `beside` in a map, `key` of a map, `item` of a list, or `instead` of a string or null."""
    value = copy.deepcopy(value)
    at = value
    for step in place[:-1]:
        at = at[step]
    there = at[place[-1]] if place else value
    if how == "instead":
        at[place[-1]] = secret
    elif how == "key":
        there[secret] = 1
    elif how == "item":
        there.append({"type": "x_vendor", "note": secret})
    else:
        there["x_vendor"] = {"note": secret}
    return value


def ways(value: Any) -> list[tuple[Place, str]]:
    """Every place and way in which a text can be planted."""
    found = []
    for place, one in places(value):
        if isinstance(one, dict):
            found += [(place, "beside"), (place, "key")]
        elif isinstance(one, list):
            found.append((place, "item"))
        elif place and (one is None or isinstance(one, str)):
            found.append((place, "instead"))
    return found


def listing(folder: Path) -> Path:
    """A folder for a gateway whose policy lists the tools that full requests offer and the upstream runs."""
    tools = folder / "policy" / "tools"
    tools.mkdir(parents=True)
    for name in ("mcp", "prompt", "skills", "web_search"):
        (tools / f"{name}.json").write_text('{"type": "object"}')
    return folder
