"""`/v1/chat/completions`, taken apart: messages, parts, tool calls; and put together: refusals, answers as a stream.

Every role is inspected on `input`, not only the last message of a user: whoever holds the key writes all of them. What stands in a tool's
result is `tool_result`, a file is a `document`. Tool definitions and a predicted output reach the model too, and are judged as one text.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bylaw.govern.marks import strings
from bylaw.govern.thinking import OPEN, parted
from bylaw.serve.beside import gather, gather_asked, gather_strange, left, said_beside, spelled, unsealed, without
from bylaw.serve.wire import (
    MAX_CHOICES,
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
    get,
    kind_of,
    not_kept,
    of_one_case,
    opening,
)
from bylaw.types import EMPTY, Surface

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
MEDIA: Final = frozenset({"image_url", "input_audio", "audio", "image", "video_url"})
THOUGHTS: Final = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_details",
    "thinking_blocks",
)  # fields in which servers show thinking
AROUND: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")  # of a reply; marks
CALLS: Final = {"function": ("name", "arguments"), "custom": ("name", "input")}  # kinds of calls, and what is judged of them as a call
TOKENS: Final = ("logprobs", "token_ids")  # fields that spell an answer once more, and its thinking
THINKING: Final = frozenset({"thinking", "reasoning", "redacted_thinking"})  # parts in which servers show it
_READ: Final = ("tools", "functions", "prediction", "response_format")  # what else of a request is judged, as one text each


def asked(body: JsonMap) -> Asked:
    """Take a request apart; raises BadBody."""
    not_kept(body)
    messages = a_list(body, "messages")
    if not messages:
        raise BadBody("`messages` must be a list with at least one message", "messages")
    n = body.get("n", 1)
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_CHOICES):
        raise BadBody(f"`n` must be a whole number from 1 to {MAX_CHOICES}", "n")
    found = Gathering()
    tools: dict[str, str] = {}  # call id -> tool
    for at, one in enumerate(messages):
        message = a_map(one, f"messages[{at}]")
        _message(message, at, found, tools)
    for key in _READ:
        if body.get(key):
            found.loose("input", body[key], "system")
    begin = opening(found.texts)
    gather_asked(found, without(body, "messages", *_READ), ())
    return Asked(
        body,
        a_string(body, "model"),
        a_flag(body, "stream"),
        (*found.texts, *across(found.texts)),
        tuple(found.calls),
        begin,
        tuple(found.media),
        _schema(body.get("response_format")),
    )


def _schema(form: Any) -> Mapping[str, Any] | None:
    inner = form.get("json_schema") if isinstance(form, dict) else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else None


def _message(message: JsonMap, at: int, found: Gathering, tools: dict[str, str]) -> None:
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadBody(f"messages[{at}].role must be one of {', '.join(sorted(ROLES))}", f"messages[{at}].role")
    tool, surface = "", "input"
    if role in ("tool", "function"):
        surface = "tool_result"
        tool = tools.get(str(message.get("tool_call_id")), "") or str(message.get("name") or "")
    elif len(message) == 2 and isinstance(content := message.get("content"), str):  # the usual case: a role, a text, and nothing beside it
        found.text("input", content, ("messages", at, "content"), role)
        return
    _content(message, ("messages", at), surface, found, (role, tool))  # type: ignore[arg-type]  # one of two surfaces, both named above
    for call in calls_of(message, ("messages", at)):
        found.call(call)
        tools[call.id] = call.tool
        found.loose("input", [call.tool, get(message, call.path[2:]) if call.args is None else dict(call.args)], role)
    gather_asked(found, without(message, "content", "refusal", "tool_calls", "function_call", "audio"), ("messages", at))
    gather_asked(found, list(calls_beside(message)), ()) if message.get("tool_calls") or message.get("function_call") else None
    if isinstance(audio := message.get("audio"), dict):
        gather_asked(found, without(audio, "transcript"), ("messages", at, "audio"), encoded=True)
    for index, part in enumerate(message["content"]) if isinstance(message.get("content"), list) else ():
        where = ("messages", at, "content", index)
        if part.get("type") in MEDIA or part.get("type") == "file":
            gather_asked(found, part, where, encoded=True)
        else:
            gather_asked(found, {key: part[key] for key in ("cache_control", "annotations") if key in part}, where)


def _content(message: JsonMap, path: Path, surface: Surface, found: Gathering, who: tuple[str, str]) -> None:
    """The texts of a message: a string, or parts."""
    content = message.get("content")
    if isinstance(content, str):
        found.text(surface, content, (*path, "content"), *who)
    elif isinstance(content, list):
        for at, one in enumerate(content):
            _part(a_map(one, "a content part"), (*path, "content", at), surface, found, who)
    elif content is not None:
        raise BadBody(f"`content` of a message must be a string or a list of parts, at {'.'.join(map(str, path))}", "messages")
    if isinstance(refusal := message.get("refusal"), str):
        found.text(surface, refusal, (*path, "refusal"), *who)
    elif refusal:
        found.loose(surface, refusal, *who)
    if not isinstance(audio := message.get("audio"), dict):
        found.loose(surface, audio, *who)
    else:
        found.media.append("audio")
        if isinstance(audio.get("transcript"), str):
            found.text(surface, audio["transcript"], (), *who)  # the sound says the same: cutting the words out is not enough


def _part(part: JsonMap, path: Path, surface: Surface, found: Gathering, who: tuple[str, str]) -> None:
    kind = kind_of(part)
    if kind in ("text", "input_text", "output_text", "refusal"):
        key = "refusal" if kind == "refusal" else "text"
        if not isinstance(part.get(key), str):
            raise BadBody(f"a part of type {kind} has no `{key}`", ".".join(map(str, path)))
        found.text(surface, part[key], (*path, key), *who)
        rest = {name: value for name, value in part.items() if name not in ("type", key, "cache_control", "annotations")}
        if rest:
            gather_strange(found, surface, rest, who)
    elif kind in MEDIA:
        found.media.append(str(kind))
    elif kind in THINKING and surface == "output":
        found.thinking.append(Text("thinking", "\n".join(strings(without(part, "type"))), path, "assistant"))
    elif kind == "file":
        found.media.append("file")
        file = part.get("file")
        found.loose("document", {k: v for k, v in file.items() if k != "file_data"} if isinstance(file, dict) else file, *who)
    else:
        gather_strange(found, surface, part, who)


def calls_of(message: Mapping[str, Any], path: Path) -> Iterator[Call]:
    """The tool calls of a message, today's and the older `function_call`. One that is written in two ways is two: clients differ in which
    they read, and many look at `function` whatever the `type` says."""
    for at, one in enumerate(a_list(message, "tool_calls")):
        call = a_map(one, "a tool call")
        where = (*path, "tool_calls", at)
        call_id, kind = str(call.get("id") or ""), kind_of(call, "function")
        of_one_case(call, *(call.get(form) for form in CALLS))
        if isinstance(inner := call.get("function"), dict):
            yield Call(call_id, str(inner.get("name") or ""), arguments(inner.get("arguments", "")), where)
        if isinstance(inner := call.get("custom"), dict):
            yield Call(call_id, str(inner.get("name") or ""), {"input": inner.get("input")}, where)
        if kind not in CALLS or not isinstance(call.get(kind), dict):  # a kind we do not know is a tool of that name
            yield Call(call_id, str(kind), {k: v for k, v in call.items() if k not in ("id", "type")}, where)
    if message.get("function_call") is not None:
        old = a_map(message["function_call"], "function_call")
        of_one_case(old)
        yield Call("", str(old.get("name") or ""), arguments(old.get("arguments", "")), (*path, "function_call"))


def said(body: JsonMap, sent: Mapping[str, Any] = EMPTY) -> Said:
    """Take a reply apart; raises BadBody. `sent` is the request: what it says itself is nothing new in the reply."""
    choices = a_list(body, "choices", MAX_CHOICES)
    taken = []
    for at, one in enumerate(choices):
        choice = a_map(one, f"choices[{at}]")
        message = a_map(choice.get("message"), f"choices[{at}].message")
        of_one_case(body, choice, message)
        found = Gathering()
        path: Path = ("choices", at, "message")
        if isinstance(content := message.get("content"), str) and OPEN in content:
            thought, message["content"] = parted(content)
            if thought or message["content"] != content:
                _untold(choice)
                found.thinking.append(Text("thinking", thought, (), "assistant"))
        _content(message, path, "output", found, ("assistant", ""))
        for call in calls_of(message, path):
            found.call(call)
        for key in THOUGHTS:
            if message.get(key):
                found.thinking.append(Text("thinking", _thought(message[key]), (*path, key), "assistant"))
        if choice.get("logprobs") and not _same_words(choice["logprobs"], message, found):
            choice.pop("logprobs")
        rest = [without(choice, "message", "logprobs"), *_around_message(message)]
        gather(found, [without(body, "choices"), *rest] if at == 0 else rest, sent)
        taken.append(found.choice(at))
    if not taken:
        raise BadBody("the reply has no choices", "choices")
    return Said(body, tuple(taken))


def _around_message(message: JsonMap) -> Iterator[Any]:
    """What stands in a message beside its texts, its thinking, and what its calls are given."""
    yield without(message, "content", "refusal", "tool_calls", "function_call", "audio", *THOUGHTS)
    yield from calls_beside(message)
    if isinstance(audio := message.get("audio"), dict):
        yield without(audio, "data", "transcript")
    for part in message["content"] if isinstance(message.get("content"), list) else ():
        yield unsealed(part) if part.get("type") in MEDIA else [part.get("annotations"), part.get("cache_control")]


def calls_beside(message: JsonMap) -> Iterator[Any]:
    """What stands in calls beside a name and arguments."""
    for call in a_list(message, "tool_calls"):
        kind = kind_of(call, "function")
        if kind in CALLS and isinstance(call.get(kind), dict):
            yield [without(call, *CALLS), *(without(call[key], *CALLS[key]) for key in CALLS if isinstance(call.get(key), dict))]
        else:
            yield {"id": call.get("id")}
    if isinstance(old := message.get("function_call"), dict):
        yield without(old, "name", "arguments")


def _same_words(logprobs: Any, message: JsonMap, found: Gathering) -> bool:
    """Whether the token probabilities spell what the message says and no more: what is judged is the message."""
    if not isinstance(logprobs, dict) or logprobs.keys() - {"content", "refusal"}:
        return False
    texts = {key: message.get(key) or "" for key in ("content", "refusal")}
    return all(isinstance(text, str) and spelled(logprobs.get(key) or [], text, found) for key, text in texts.items())


def _thought(value: Any) -> str:
    if isinstance(value, str):
        return value
    found = Gathering()
    found.loose("thinking", value)
    return found.texts[0].text if found.texts else ""


# ---- Put together ----------------------------------------------------------------------------------------------------


def speak(body: JsonMap, choice: Choice, text: str, finish: str = "content_filter") -> None:
    """Let one choice of a reply say something else: our text, and nothing else that the upstream wrote beside it."""
    message = {"role": "assistant", "content": text, "refusal": None}
    body["choices"][choice.index] = {"index": _place(body, choice), "message": message, "finish_reason": finish}
    _strip(body)


def _place(body: JsonMap, choice: Choice) -> int:
    at = body["choices"][choice.index].get("index")
    return at if isinstance(at, int) and 0 <= at < MAX_CHOICES else choice.index


def _strip(body: JsonMap) -> None:
    """Leave of what stands around the choices only what says nothing."""
    for key in [key for key in body if key not in ("choices", "usage", *AROUND)]:
        del body[key]
    for key in body.keys() - {"choices"}:
        if said_beside({key: body[key]}):
            body[key] = left(body[key]) if key == "usage" else None


def without_thinking(body: JsonMap) -> None:
    """Take out every field in which servers show thinking."""
    for one in body["choices"]:
        for key in THOUGHTS:
            if one["message"].pop(key, None) is not None:
                _untold(one)
        if isinstance(parts := one["message"].get("content"), list):  # what was cut out of thinking left a text in its place
            one["message"]["content"] = [part for part in parts if isinstance(part, dict) and part.get("type") not in THINKING]


def without_tokens(body: JsonMap, choice: Choice) -> None:
    """Take out the tokens of a choice: they would spell what was cut."""
    _untold(body["choices"][choice.index])


def _untold(choice: JsonMap) -> None:
    for key in TOKENS:
        choice.pop(key, None)


def solo(body: JsonMap, choice: Choice) -> JsonMap:
    """A reply with this choice alone."""
    return {**body, "choices": [{**body["choices"][choice.index], "index": 0}]}


def adopt(body: JsonMap, choice: Choice, other: JsonMap) -> JsonMap:
    """A reply in which the only choice of another reply stands for this one."""
    body["choices"][choice.index] = {**other["choices"][0], "index": _place(body, choice)}
    _strip(body)  # it was judged with the answer that is gone
    return body


def fresh(model: str, reply_id: str, text: str, finish: str = "content_filter") -> JsonMap:
    """A whole reply of our own: what a client gets where no model was asked."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": f"chatcmpl-{reply_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def again(body: JsonMap, said_text: str, critique: str) -> JsonMap:
    """The same request, once more: what the model said, and what must change in it."""
    turns = [*body["messages"], {"role": "assistant", "content": said_text}, {"role": "user", "content": critique}]
    return {**body, "messages": turns}


def whole(body: JsonMap) -> JsonMap:
    """The same request without streaming."""
    return {key: value for key, value in body.items() if key not in ("stream", "stream_options")}


def error(status: int, what: str, param: str = "") -> JsonMap:
    """An error as OpenAI's clients expect it."""
    kind = "invalid_request_error" if 400 <= status < 500 else "server_error"
    return {"error": {"message": what, "type": kind, "param": param or None, "code": None}}
