"""`/v1/messages` (Anthropic's shape), taken apart: blocks of text, documents, tool calls and results; and put together again.

A block that has a name and an input is a call, whoever runs it: the server's own tools stand in the policy's tool list, or need a person.
Thinking stays a block, empty, with its signature: so a conversation with tools can go on, and the upstream still knows its own words.
"""

from collections.abc import Mapping
from typing import Any, Final

from bylaw.govern.thinking import OPEN, parted
from bylaw.serve.beside import gather, gather_asked, gather_strange, left, said_beside, unsealed, without
from bylaw.serve.wire import (
    Asked,
    BadBody,
    Call,
    Choice,
    Gathering,
    JsonMap,
    Path,
    Said,
    Text,
    a_flag,
    a_list,
    a_map,
    a_string,
    across,
    arguments,
    kind_of,
    not_kept,
    of_one_case,
    opening,
)
from bylaw.types import EMPTY, Surface

_READ: Final = ("tools", "output_format", "output_config")  # what else of a request is judged, as one text each
_TEXTS: Final = ("search_result", "mcp_tool_result")  # whose content is blocks of text, which a model reads as one
_SEALED: Final = ("signature", "encrypted_content")
AROUND: Final = ("id", "type", "role", "model", "container", "usage")  # of a reply; marks and numbers
_PLAIN: Final = frozenset({"type", "text", "cache_control", "citations"})


def asked(body: JsonMap) -> Asked:
    """Take a request apart; raises BadBody."""
    not_kept(body)
    messages = a_list(body, "messages")
    if not messages:
        raise BadBody("`messages` must be a list with at least one message", "messages")
    found, tools = Gathering(), dict[str, str]()
    _content(body.get("system"), ("system",), "input", found, ("system", ""))
    for at, one in enumerate(messages):
        message = a_map(one, f"messages[{at}]")
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise BadBody(f"messages[{at}].role must be user or assistant", f"messages[{at}].role")
        for block in message["content"] if isinstance(message.get("content"), list) else ():
            if isinstance(block, dict) and block.get("type") == "tool_use":
                tools[str(block.get("id"))] = str(block.get("name"))
        _content(message.get("content"), ("messages", at, "content"), "input", found, (role, ""), tools)
        gather_asked(found, without(message, "role", "content"), ("messages", at))
    for key in _READ:
        if body.get(key):
            found.loose("input", body[key], "system")
    begin = opening(found.texts)
    gather_asked(found, without(body, "system", "messages", *_READ), ())
    model, streams = a_string(body, "model"), a_flag(body, "stream")
    return Asked(body, model, streams, (*found.texts, *across(found.texts)), tuple(found.calls), begin, tuple(found.media), _schema(body))


def _schema(body: JsonMap) -> Mapping[str, Any] | None:
    form = (
        body.get("output_format") or (body.get("output_config") or {}).get("format")
        if isinstance(body.get("output_config", {}), dict)
        else None
    )
    schema = form.get("schema") if isinstance(form, dict) else None
    return schema if isinstance(schema, dict) else None


def _content(  # one walk over nested blocks: where, whose, and into what
    content: Any, path: Path, surface: Surface, found: Gathering, who: tuple[str, str], tools: Mapping[str, str] | None = None
) -> None:
    if isinstance(content, str):
        found.text(surface, content, path, *who)
    elif isinstance(content, list):
        for at, one in enumerate(content):
            _block(a_map(one, "a content block"), (*path, at), surface, found, who, tools or {})
    elif content is not None:
        raise BadBody(f"content must be a string or a list of blocks, at {'.'.join(map(str, path))}", "messages")


def _block(  # the same walk
    block: JsonMap, path: Path, surface: Surface, found: Gathering, who: tuple[str, str], tools: Mapping[str, str]
) -> None:
    kind = kind_of(block)
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise BadBody("a text block has no `text`", ".".join(map(str, path)))
        found.text(surface, block["text"], (*path, "text"), *who)
        if rest := {key: value for key, value in block.items() if key not in _PLAIN or (key == "citations" and value)}:
            gather_strange(found, surface, rest, who)
        gather_asked(found, block.get("cache_control"), (*path, "cache_control"))
    elif kind == "tool_result":
        tool = tools.get(str(block.get("tool_use_id")), "")
        _content(block.get("content"), (*path, "content"), "tool_result", found, (who[0], tool), tools)
        gather_asked(found, without(block, "content"), path)
    elif kind == "image":
        found.media.append("image")
        gather_asked(found, block, path, encoded=True)
    elif kind == "document":
        _document(block, path, found, who, tools)
    elif kind == "tool_use":
        found.call(Call(str(block.get("id") or ""), str(block.get("name") or ""), arguments(block.get("input")), path))
        found.loose(surface, [block.get("name"), block.get("input")], *who)
        gather_asked(found, without(block, "name", "input"), path)
    elif kind == "redacted_thinking":
        gather_asked(found, [without(block, "data"), {"encrypted_content": block.get("data")}], ())
    else:
        inner: Surface = "document" if kind == "search_result" or kind.endswith("_tool_result") else surface
        if kind in _TEXTS:
            _content(block.get("content"), (*path, "content"), inner, found, who, tools)
        gather_strange(found, inner, without(block, *_SEALED, *(("content",) if kind in _TEXTS else ())), who)
        gather_asked(found, {key: block[key] for key in _SEALED if key in block}, path)


def _document(block: JsonMap, path: Path, found: Gathering, who: tuple[str, str], tools: Mapping[str, str]) -> None:
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if isinstance(source, dict) and kind == "text":
        if not isinstance(source.get("data"), str):
            raise BadBody("a text document has no `data`", ".".join(map(str, path)))
        found.text("document", source["data"], (*path, "source", "data"), *who)
    elif isinstance(source, dict) and kind == "content":
        _content(source.get("content"), (*path, "source", "content"), "document", found, who, tools)
    else:
        found.media.append("document")
    judged = ("data", "content") if kind in ("text", "content") else ()
    gather_asked(found, without(source, *judged) if isinstance(source, dict) else source, (*path, "source"), encoded=True)
    gather_asked(found, without(block, "source", "title", "context"), path)
    if block.get("title") or block.get("context"):
        found.loose("document", [block.get("title") or "", block.get("context") or ""], *who)


def said(body: JsonMap, sent: Mapping[str, Any] = EMPTY) -> Said:
    """Take a reply apart; raises BadBody. `sent` is the request: what it says itself is nothing new in the reply."""
    content = a_list(body, "content")
    if body.get("type") != "message" or not isinstance(body.get("content"), list):
        raise BadBody("the reply is no message", "type")
    of_one_case(body, *content)
    found, beside = Gathering(), list[Any]([without(body, "content")])
    for at, one in enumerate(content):
        block, path = a_map(one, f"content[{at}]"), ("content", at)
        beside.append(_around(block))
        kind = kind_of(block)
        if kind == "thinking":
            found.thinking.append(Text("thinking", str(block.get("thinking") or ""), (*path, "thinking"), "assistant"))
        elif _is_call(block):
            given, name = block.get("input"), block.get("name")  # an input is text where it could not be read while it streamed
            args = arguments(given) if isinstance(given, dict) else None
            found.call(Call(str(block.get("id") or ""), name if isinstance(name, str) else "", args, path))
        elif kind == "text":
            if not found.texts and isinstance(block.get("text"), str) and OPEN in block["text"]:
                thought, block["text"] = parted(block["text"])
                if thought:
                    found.thinking.append(Text("thinking", thought, (), "assistant"))
            if not isinstance(block.get("text"), str):
                raise BadBody("a text block has no `text`", f"content[{at}]")
            found.text("output", block["text"], (*path, "text"), "assistant")
    gather(found, beside, sent)
    return Said(body, (found.choice(0),))


def _is_call(block: JsonMap) -> bool:
    """Whether a block asks for a tool, by what it has or by what it says it is."""
    return kind_of(block).endswith("tool_use") or (isinstance(block.get("name"), str) and "input" in block)


def _around(block: JsonMap) -> Any:
    """What stands in a block beside its text, its thinking, and what a tool is given."""
    kind = kind_of(block)
    if kind == "image":
        return unsealed(block)
    if _is_call(block):
        return without(block, "name", "input")
    if kind == "redacted_thinking":
        return [without(block, "data"), {"encrypted_content": block.get("data")}]
    return without(block, kind) if kind in ("text", "thinking") else block


# ---- Put together ----------------------------------------------------------------------------------------------------


def speak(body: JsonMap, choice: Choice, text: str, finish: str = "content_filter") -> None:
    """Let the reply say something else: our text alone."""
    del choice  # a message has one
    body["content"] = [{"type": "text", "text": text}]
    body["stop_reason"] = reason(finish)
    body["stop_sequence"] = None
    for key in body.keys() - {"content", "stop_reason", "stop_sequence"}:
        if key not in AROUND:
            del body[key]
        elif said_beside({key: body[key]}):
            body[key] = left(body[key]) if isinstance(body[key], dict) else None


def reason(finish: str) -> str:
    """Why an answer ended, in Anthropic's words."""
    return "refusal" if finish == "content_filter" else "end_turn"


def without_thinking(body: JsonMap) -> None:
    """Empty the thinking; the signature stays."""
    for block in body["content"]:
        if block.get("type") == "thinking":
            block["thinking"] = ""


def without_tokens(body: JsonMap, choice: Choice) -> None:
    """There are no token probabilities here."""


def solo(body: JsonMap, choice: Choice) -> JsonMap:
    """The reply itself."""
    del choice  # a message has one
    return dict(body)


def adopt(body: JsonMap, choice: Choice, other: JsonMap) -> JsonMap:
    """The other reply."""
    del body, choice  # a message has one
    return other


def fresh(model: str, reply_id: str, text: str, finish: str = "content_filter") -> JsonMap:
    """A whole reply of our own."""
    return {
        "id": f"msg_{reply_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": reason(finish),
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def again(body: JsonMap, said_text: str, critique: str) -> JsonMap:
    """The same request, once more: what the model said, and what must change in it."""
    turns = [*body["messages"], {"role": "assistant", "content": said_text}, {"role": "user", "content": critique}]
    return {**body, "messages": turns}


def whole(body: JsonMap) -> JsonMap:
    """The same request without streaming."""
    return {key: value for key, value in body.items() if key != "stream"}


def error(status: int, what: str, param: str = "") -> JsonMap:
    """An error as Anthropic's clients expect it."""
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
    }
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": f"{param}: {what}" if param else what}}
