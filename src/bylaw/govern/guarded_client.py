"""An OpenAI client under a guard: what is said to the model is judged before it leaves, and what it answers before the caller sees it.

Only `chat.completions.create` without streaming; everything else of the client is out of reach from here, for the gateway to govern.
A call that the model asks for is withheld as a whole with its answer, unless it is allowed, or this guard runs that tool itself and a
person must approve: then it is judged again when it runs. What waits for a person here is refused: the gateway can hold it back.
"""

import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

from bylaw.govern.cutting import cut_text
from bylaw.govern.guard import Guard, blocked
from bylaw.types import EMPTY, Decision, Event, Surface

SURFACES: Final[Mapping[str, Surface]] = {"user": "input", "tool": "tool_result", "function": "tool_result"}  # all else is input, too
TEXTS: Final = ("text", "input_text", "output_text", "refusal")  # parts that are text
PLAIN: Final = ("role", "content", "refusal", "tool_call_id")
MEDIA: Final = ("image_url", "input_audio", "file", "input_image", "input_file")
THOUGHTS: Final = ("reasoning_content", "reasoning")  # withheld
MAX_MESSAGES: Final = 5_000


class Client:
    """What of an OpenAI client is governed."""

    def __init__(self, guard: Guard, client: Any) -> None:
        self.chat = Chat(guard, client)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name!r} is not governed here: use chat.completions.create, or the gateway (`bylaw serve`)")


class Chat:
    """`client.chat`."""

    def __init__(self, guard: Guard, client: Any) -> None:
        self.completions = Completions(guard, client)


class Completions:
    """`client.chat.completions`."""

    def __init__(self, guard: Guard, client: Any) -> None:
        if inspect.iscoroutinefunction(client.chat.completions.create):
            raise TypeError("a guard takes the synchronous client; for the asynchronous one use the gateway (`bylaw serve`)")
        self._guard, self._client = guard, client

    def create(self, **request: Any) -> Any:
        """Ask the model; raises Blocked where the clauses forbid what is asked, or what is answered."""
        if request.get("stream"):
            raise NotImplementedError("a guard does not stream: use the gateway (`bylaw serve`), which holds back what it must")
        messages = request.get("messages")
        if not isinstance(messages, list) or len(messages) > MAX_MESSAGES:
            raise ValueError(f"messages must be a list of at most {MAX_MESSAGES}")
        asked = {**request, "messages": _admitted(self._guard, json.loads(json.dumps(messages)))}
        completion = self._client.chat.completions.create(**asked)
        body, facts = completion.model_dump(), _facts(self._guard, asked["messages"])
        for choice in body.get("choices") or []:
            _settle(self._guard, choice, facts)
        return type(completion).model_validate(body)


# ---- What goes in ------------------------------------------------------------------------------------------------------------


def _admitted(guard: Guard, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as they may be sent; they are a copy. What they hold beside texts is searched as JSON, and never cut."""
    tools: dict[str, str] = {}
    for message in messages:
        surface = SURFACES.get(str(message.get("role")), "input")
        for call in message.get("tool_calls") or []:
            tools[str(call.get("id"))] = str((call.get("function") or {}).get("name", ""))
        tool = tools.get(str(message.get("tool_call_id")), "") if surface == "tool_result" else ""
        texts, others = _parted(message)
        for holder, key in texts:
            decision = guard.check(Event(surface, tool, EMPTY, holder[key]))
            if decision.effect == "redact":
                holder[key] = cut_text(holder[key], decision.hits)
            elif decision.effect != "allow":
                raise blocked(decision, "the request was not sent")
        if others:
            _whole(guard, surface, tool, others, "the request was not sent")
    return messages


def _parted(message: dict[str, Any]) -> tuple[list[tuple[dict[str, Any], str]], list[Any]]:
    """The texts of a message, each as the map and the key under which it stands; and all else that it says."""
    content = message.get("content")
    texts: list[tuple[dict[str, Any], str]] = [(message, key) for key in ("content", "refusal") if isinstance(message.get(key), str)]
    others = [{name: value} for name, value in message.items() if name not in PLAIN and value not in (None, [], "")]
    for part in content if isinstance(content, list) else [] if isinstance(content, str | None) else [content]:
        key = next((key for key in TEXTS if isinstance(part, dict) and isinstance(part.get(key), str) and set(part) <= {"type", key}), "")
        texts += [(part, key)] if key else []
        others += [] if key else [part]
    return texts, others


def _whole(guard: Guard, surface: Surface, tool: str, others: list[Any], what: str) -> None:
    """What is no text: searched as JSON; pictures and sounds are let through only where the policy says so."""
    media = [one for one in others if (isinstance(one, dict) and str(one.get("type", "")) in MEDIA) or "audio" in one]
    if media and guard.places.policy.extra.get("x-media") != "allow":
        digest = guard.places.policy.digest
        raise blocked(Decision("block", (), (), digest, ("media",), "no rail can look into pictures and sounds"), what)
    decision = guard.check(Event(surface, tool, EMPTY, json.dumps([one for one in others if one not in media], ensure_ascii=False)))
    if decision.effect != "allow":
        raise blocked(decision, what)


# ---- What comes out ----------------------------------------------------------------------------------------------------------


def _facts(guard: Guard, messages: list[dict[str, Any]]) -> Any:
    """What rails may know about an answer: the system prompt, the last request, and what tools said."""
    if not guard.rails:
        return None
    from bylaw.govern.rails.rail import RailFacts  # noqa: PLC0415  # RE2 loads only where a rule asks a rail

    said = [(str(message.get("role")), holder[key]) for message in messages for holder, key in _parted(message)[0]]
    system = "\n".join(text for role, text in said if role in ("system", "developer"))
    request = next((text for role, text in reversed(said) if role == "user"), "")
    return RailFacts(system=system, documents=tuple(text for role, text in said if role in ("tool", "function")), request=request)


def _settle(guard: Guard, choice: dict[str, Any], facts: Any) -> None:
    """One choice, as it may be seen: thoughts are taken away, texts cut where a clause says so; raises Blocked."""
    message = choice.get("message") or {}
    for key in THOUGHTS:
        if isinstance(thought := message.pop(key, None), str):
            decision = guard.check(Event("thinking", text=thought))
            if decision.effect not in ("allow", "redact"):
                raise blocked(decision, "the answer is withheld for its thinking")
    calls = message.get("tool_calls") or []
    texts, others = _parted({**message, "tool_calls": None})
    for _, key in [(holder, key) for holder, key in texts if key in message]:
        decision = guard.check(Event("output", text=message[key]), facts)
        if decision.effect == "redact":
            message[key] = cut_text(message[key], decision.hits)
            choice["logprobs"] = None  # they spell out what was cut
        elif decision.effect != "allow":
            raise blocked(decision, "the answer is withheld")
    if others:
        _whole(guard, "output", "", others, "the answer is withheld")
    for call in calls:
        _call(guard, call)


def _call(guard: Guard, call: dict[str, Any]) -> None:
    wanted = call.get("function") or {}
    tool, args = str(wanted.get("name", "")), _args(wanted.get("arguments"))
    event = Event("tool_call", tool, args)  # arguments that are no map are for the engine to refuse
    if tool in guard.tools:  # judged again, and counted, when it runs
        with guard.turn() as turn:
            decision = guard.recorded(guard.judge(guard.filled(event, turn)))
        if decision.effect in ("allow", "redact", "require_approval"):
            return
    else:
        decision = guard.check(event)
        if decision.effect == "allow":
            return
    raise blocked(decision, f"the model's call of {tool} is withheld")


def _args(written: Any) -> Any:
    try:
        return json.loads(written) if isinstance(written, str) else None
    except (ValueError, RecursionError):
        return None
