"""`/v1/responses`, taken apart: items of input and output, their parts, function calls and what came of them; and put together again.

An output item that is neither a message nor thinking is a call: of the tool it names, else of a tool called like its type, with all
else in it as arguments. So what a server runs by itself (search, shell, MCP) stands in the policy's tool list, or needs a person. What came
of such a call stands in the item too, and is judged as output besides. A response that is worked on in the background could be fetched past
us, and is refused.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from bylaw.govern.thinking import OPEN, parted
from bylaw.serve.beside import gather, gather_asked, gather_strange, is_mark, readable, said_beside, spelled, without
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

MEDIA: Final = frozenset({"input_image", "input_audio", "output_image", "output_audio"})
SEALED: Final = frozenset({"encrypted_content", "id", "status", "type"})  # what the upstream alone can read, and what says nothing
EMPTIED: Final = frozenset({"id", "object", "model", "metadata", "tools", "usage", "instructions", "error"})  # fields that clients expect
GIVEN: Final = {"function_call": ("name", "arguments"), "custom_tool_call": ("name", "input")}  # what is judged as a call alone
_GIVEN: Final = ("name", "arguments", "input", "action", "actions", "operation", "code", "queries")  # the same of a call of any other kind
_READ: Final = ("tools", "prompt")  # what else of a request reaches the model


def asked(body: JsonMap) -> Asked:
    """Take a request apart; raises BadBody."""
    not_kept(body, "previous_response_id", "conversation")
    if body.get("background"):
        raise BadBody("`background` is not offered here: its result could not be governed", "background")
    found, tools = Gathering(), dict[str, str]()
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        found.text("input", instructions, ("instructions",), "system")
    elif instructions is not None:
        _items(a_list(body, "instructions"), ("instructions",), found, tools)
    given = body.get("input")
    if isinstance(given, str):
        found.text("input", given, ("input",))
    else:
        _items(a_list(body, "input"), ("input",), found, tools)
    for key in _READ:
        if body.get(key):
            found.loose("input", body[key], "system")
    form = body.get("text")
    if isinstance(form, dict) and form.get("format"):
        found.loose("input", form["format"], "system")
    begin = _kept(body) or opening(found.texts)
    previous = str(body.get("previous_response_id") or "")
    gather_asked(found, without(body, "instructions", "input", "text", *_READ), ())
    gather_asked(found, without(form, "format") if isinstance(form, dict) else form, ("text",))
    model = a_string(body, "model") if "prompt" not in body or "model" in body else ""
    stream = a_flag(body, "stream")
    return Asked(
        body, model, stream, (*found.texts, *across(found.texts)), tuple(found.calls), begin, tuple(found.media), _schema(body), previous
    )


def _kept(body: JsonMap) -> tuple[str, ...]:
    """A conversation that the upstream keeps, by its id."""
    held = body.get("conversation")
    name = held.get("id") if isinstance(held, dict) else held
    return ("conversation", name) if isinstance(name, str) and name else ()


def _schema(body: JsonMap) -> Mapping[str, Any] | None:
    form = body["text"].get("format") if isinstance(body.get("text"), dict) else None
    schema = form.get("schema") if isinstance(form, dict) else None
    return schema if isinstance(schema, dict) else None


def _items(items: list[Any], path: Path, found: Gathering, tools: dict[str, str]) -> None:
    for at, one in enumerate(items):
        item, where = a_map(one, f"{path[0]}[{at}]"), (*path, at)
        kind = kind_of(item, "message" if "role" in item else "")
        if kind == "message":
            _content(item.get("content"), (*where, "content"), "input", found, (str(item.get("role") or "user"), ""))
            gather_asked(found, without(item, "content"), where)
            for index, part in enumerate(item["content"]) if isinstance(item.get("content"), list) else ():
                if part.get("type") in MEDIA:
                    gather_asked(found, part, (*where, "content", index), encoded=True)
        elif kind in ("function_call", "custom_tool_call"):
            call = call_of(item, where)
            tools[str(item.get("call_id"))] = call.tool
            found.call(call)
            found.loose("input", [call.tool, item.get("arguments") or item.get("input") or ""], "assistant")
            gather_asked(found, without(item, "name", "arguments", "input"), where)
        elif kind.endswith("_output"):
            tool = tools.get(str(item.get("call_id")), "")
            _content(item.get("output"), (*where, "output"), "tool_result", found, ("tool", tool))
            rest = without(item, "output", "call_id", *SEALED)
            if rest:
                found.loose("tool_result", rest, "tool", tool)
            gather_asked(found, {key: item[key] for key in ("call_id", *SEALED) if key in item}, where)
        else:
            gather_strange(found, "input", without(item, *SEALED), ("assistant", ""))
            found.media += [kind] if kind in MEDIA else []
            gather_asked(found, {key: item[key] for key in SEALED if key in item}, where)


def _content(content: Any, path: Path, surface: Surface, found: Gathering, who: tuple[str, str]) -> None:
    if isinstance(content, str):
        found.text(surface, content, path, *who)
    elif isinstance(content, list):
        for at, one in enumerate(content):
            _part(a_map(one, "a content part"), (*path, at), surface, found, who)
    elif isinstance(content, dict):
        gather_strange(found, surface, content, who)
    elif content is not None:
        raise BadBody(f"content must be a string or a list of parts, at {'.'.join(map(str, path))}", "input")


def _part(part: JsonMap, path: Path, surface: Surface, found: Gathering, who: tuple[str, str]) -> None:
    kind = kind_of(part)
    if kind in ("input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text"):
        key = "refusal" if kind == "refusal" else "text"
        if not isinstance(part.get(key), str):
            raise BadBody(f"a part of type {kind} has no `{key}`", ".".join(map(str, path)))
        found.text(surface, part[key], (*path, key), *who)
        rest = {name: value for name, value in part.items() if name not in ("type", key, "logprobs") and value}
        if rest:
            gather_strange(found, surface, rest, who)
    elif kind in MEDIA:
        found.media.append(str(kind))
    elif kind == "input_file":
        found.media.append("input_file")
        found.loose("document", {key: value for key, value in part.items() if key not in ("file_data", "type", "file_id")}, *who)
    else:
        gather_strange(found, surface, part, who)


def call_of(item: JsonMap, path: Path) -> Call:
    """An output item that is neither a message nor thinking, as a call."""
    kind = kind_of(item)
    call_id = str(item.get("call_id") or item.get("id") or "")
    if kind == "function_call":
        return Call(call_id, str(item.get("name") or ""), arguments(item.get("arguments", "")), path)
    if kind == "custom_tool_call":
        return Call(call_id, str(item.get("name") or ""), {"input": item.get("input")}, path)
    tool = kind.removesuffix("_call")
    return Call(call_id, tool, {key: value for key, value in item.items() if key not in ("call_id", *SEALED)}, path)


def said(body: JsonMap, sent: Mapping[str, Any] = EMPTY) -> Said:
    """Take a reply apart; raises BadBody. `sent` is the request: what it says itself is nothing new in the reply."""
    if not isinstance(body.get("output"), list) or body.get("status") in ("queued", "in_progress"):
        raise BadBody("the reply has no output", "output")
    of_one_case(body, *body["output"])
    body.pop("output_text", None)  # some servers repeat the text here
    found, beside = Gathering(), list[Any]([without(body, "output")])
    for at, one in enumerate(body["output"]):
        item, path = a_map(one, f"output[{at}]"), ("output", at)
        kind = kind_of(item)
        if kind == "message":
            if not found.texts:
                _part_thinking(item, found)
            _content(item.get("content"), (*path, "content"), "output", found, ("assistant", ""))
            _tokens(item, found)
            beside.append(without(item, "content"))
        elif kind == "reasoning":
            beside.append(without(item, "summary", "content"))
            thought = Gathering()
            for key in ("summary", "content"):
                if item.get(key):
                    thought.loose("thinking", item[key])
            found.thinking += [Text("thinking", text.text, (), "assistant") for text in thought.texts]
        else:
            found.call(call_of(item, path))
            beside.append(readable(without(item, *GIVEN.get(kind, _GIVEN))))
    gather(found, beside, sent)
    return Said(body, (found.choice(0),))


def _tokens(item: JsonMap, found: Gathering) -> None:
    """Drop token probabilities that do not spell the text beside them."""
    for part in item["content"] if isinstance(item.get("content"), list) else ():
        if part.get("logprobs") and not spelled(part["logprobs"], str(part.get("text") or ""), found):
            part["logprobs"] = []


def _part_thinking(item: JsonMap, found: Gathering) -> None:
    """Take a think block out of the first text."""
    for part in item["content"] if isinstance(item.get("content"), list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            if OPEN in part["text"]:
                thought, part["text"] = parted(part["text"])
                if thought:
                    part["logprobs"] = []
                    found.thinking.append(Text("thinking", thought, (), "assistant"))
            return


# ---- Put together ----------------------------------------------------------------------------------------------------


def spoken(item_id: str, text: str) -> JsonMap:
    """A message of our own, as an item."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": f"msg_{item_id}", "role": "assistant", "status": "completed", "content": [part]}


def speak(body: JsonMap, choice: Choice, text: str, finish: str = "content_filter") -> None:
    """Let the reply say something else: our text alone."""
    del choice, finish  # a response has one choice, and is complete
    name = str(body.get("id") or "")
    body["output"] = [spoken(name if is_mark("id", name) else "bylaw", text)]
    body["status"] = "completed"
    body["incomplete_details"] = None
    for key in [key for key in body if key != "output" and said_beside({key: body[key]})]:
        if key in EMPTIED:
            body[key] = type(body[key])() if key in ("metadata", "tools") and isinstance(body[key], dict | list) else None
        else:
            del body[key]


def without_thinking(body: JsonMap) -> None:
    """Empty the thinking; what is sealed stays, so that the conversation can go on."""
    for item in body["output"]:
        if item.get("type") == "reasoning":
            item["summary"] = []
            item.pop("content", None)


def without_tokens(body: JsonMap, choice: Choice) -> None:
    """Take out the tokens: they would spell what was cut."""
    del choice  # a response has one
    for item in body["output"]:
        content = item.get("content") if item.get("type") == "message" else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and "logprobs" in part:
                part["logprobs"] = []


def solo(body: JsonMap, choice: Choice) -> JsonMap:
    """The reply itself."""
    del choice  # a response has one
    return dict(body)


def adopt(body: JsonMap, choice: Choice, other: JsonMap) -> JsonMap:
    """The other reply."""
    del body, choice  # a response has one
    return other


def fresh(model: str, reply_id: str, text: str, finish: str = "content_filter") -> JsonMap:
    """A whole reply of our own."""
    del finish  # a response is complete
    return {
        "id": f"resp_{reply_id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [spoken(reply_id, text)],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def again(body: JsonMap, said_text: str, critique: str) -> JsonMap:
    """The same request, once more: what the model said, and what must change in it."""
    given = body.get("input")
    before = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())
    return {**body, "input": [*before, {"role": "assistant", "content": said_text}, {"role": "user", "content": critique}]}


def whole(body: JsonMap) -> JsonMap:
    """The same request without streaming."""
    return {key: value for key, value in body.items() if key not in ("stream", "stream_options")}


def error(status: int, what: str, param: str = "") -> JsonMap:
    """An error as OpenAI's clients expect it."""
    kind = "invalid_request_error" if 400 <= status < 500 else "server_error"
    return {"error": {"message": what, "type": kind, "param": param or None, "code": None}}
