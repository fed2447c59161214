"""A stream of `/v1/chat/completions`: text passes the hold-back filter, thinking stays, tool calls leave whole and judged.

Choices may come interleaved (n > 1); each has its own filter. What a delta carries that we do not know is left out: it could be text.
Token probabilities are left out where a filter holds text back, because they would spell it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bylaw.govern.marks import strings
from bylaw.serve.beside import gather, left, without, word
from bylaw.serve.chat import AROUND, THINKING, THOUGHTS, calls_beside, calls_of
from bylaw.serve.frames import Frame, learnt, made
from bylaw.serve.lanes import Lane, Stopped
from bylaw.serve.route import Finished, Gates, Halt, Step
from bylaw.serve.sse import DONE, Sent, sent
from bylaw.serve.wire import MAX_CALLS, MAX_CHOICES, Asked, BadBody, Gathering, JsonMap, a_list, a_map, dump, load

TEXTS: Final = ("content", "refusal")
PROOF: Final = "bylaw\u0001"  # stands for any text in a frame
VAIN: Final = 2  # frames that fit nothing, one after the other, before no more are learnt
_DONE: Final = sent(DONE)


@dataclass(slots=True)
class Voice:
    """One choice on its way."""

    index: int
    lane: Lane
    calls: dict[int, JsonMap] = field(default_factory=dict)
    old_call: JsonMap | None = None
    finish: str | None = None
    usage: JsonMap | None = None  # as the event says it that ends the choice
    closed: bool = False

    def message(self) -> JsonMap:
        """The choice as one message."""
        message: JsonMap = {"role": "assistant", "content": "".join(self.lane.out) or None}
        if self.calls:
            message["tool_calls"] = [self.calls[at] for at in sorted(self.calls)]
        if self.old_call is not None:
            message["function_call"] = self.old_call
        return message


class Alike(NamedTuple):
    """Pieces of text that follow each other and differ in nothing else."""

    voice: Voice
    came: Frame
    leaves: Frame


class ChatStream:
    """One stream."""

    def __init__(self, asked: Asked, gates: Gates) -> None:
        self._gates = gates
        self._voices: dict[int, Voice] = {}
        self._head: JsonMap = {"id": "chatcmpl-bylaw", "object": "chat.completion.chunk", "created": 0, "model": asked.model}
        self._around: JsonMap = {}  # as the upstream says it
        self._tail: list[bytes] = []  # usage
        self._searched = gates.text() is not None
        self._alike: Alike | None = None  # the event that came last, if it was a piece of text
        self._vain = 0

    # ---- In -----------------------------------------------------------------------------------------------------------

    def feed(self, event: Sent) -> Sequence[Step]:
        """What one event of the upstream becomes."""
        if self._alike is not None:
            if (text := self._alike.came.text(event.content)) is not None:
                self._vain = 0
                return self._more(self._alike, text)
            self._alike = None
        if not event.content.startswith(b"{") and event.content.strip() == DONE:
            return ()
        chunk = load(event.content)
        if "error" in chunk:
            raise BadBody("the model's server broke off")
        choices = a_list(chunk, "choices", MAX_CHOICES)
        if not choices:
            if chunk.get("usage") is not None:
                self._tail.append(sent(dump({**self._head, "choices": [], "usage": left(chunk["usage"])})))
            return ()
        around: JsonMap = {key: chunk[key] for key in AROUND if key in chunk}
        if around != self._around:
            self._around = around  # the same in every chunk, as a rule
            self._head |= left(around)
        steps: list[Step] = []
        for one in choices:
            choice = a_map(one, "a choice")
            voice = self._voice(choice.get("index", 0))
            if not voice.closed:
                steps += self._choice(voice, choice, chunk)
        self._alike = self._learnt(voice, event.content, chunk) if len(choices) == 1 and not voice.closed else None
        return steps

    def _learnt(self, voice: Voice, content: bytes, chunk: JsonMap) -> Alike | None:
        """How more events like this one read, if all it says is a piece of text."""
        choice = chunk["choices"][0]
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) and len(delta) == 1 and not voice.finish else None
        if not isinstance(text, str) or chunk.get("usage") or choice.get("logprobs") is not None or self._vain == VAIN:
            return None
        self._vain += 1
        came = learnt(content, chunk, delta, "content")
        leaves = made(self._chunk(voice, {"content": PROOF}, None), PROOF)
        return Alike(voice, came, leaves) if came and leaves else None

    def _more(self, alike: Alike, text: str) -> Sequence[Step]:
        """The same for one that reads as the one before it did, but for its text."""
        try:
            shown = alike.voice.lane.text("content", text)
        except Stopped as stop:
            return self._stopped(alike.voice, stop)
        return (alike.leaves.around(shown),) if shown else ()

    def _stopped(self, voice: Voice, stop: Stopped) -> Sequence[Step]:
        voice.closed, self._alike = True, None
        before = [self._chunk(voice, {"content": stop.before}, None)] if stop.before else []
        return [*before, Halt(voice.index, stop.decision)]

    def _voice(self, index: Any) -> Voice:
        if not isinstance(index, int) or not 0 <= index < MAX_CHOICES:
            raise BadBody("a choice's index is out of bounds")
        if index not in self._voices:
            self._voices[index] = Voice(index, Lane(self._gates, self._searched))
        return self._voices[index]

    def _choice(self, voice: Voice, choice: JsonMap, chunk: JsonMap) -> Sequence[Step]:
        delta = a_map(choice.get("delta") or {}, "delta")
        voice.finish = word(choice["finish_reason"], "stop") if choice.get("finish_reason") else None
        usage = {"usage": left(chunk["usage"])} if chunk.get("usage") else None
        text = delta.get("content") if len(delta) == 1 and not voice.finish else None
        try:
            if isinstance(text, str):  # a piece of text and nothing else: by far the most common
                out: JsonMap = {"content": shown} if (shown := voice.lane.text("content", text)) else {}
            else:
                self._gather(voice, delta)
                out = _shown(voice, delta)
        except Stopped as stop:
            return self._stopped(voice, stop)
        steps: list[Step] = []
        if out:
            plain = not self._searched and voice.lane.parting.over and not voice.lane.thinking
            steps.append(self._chunk(voice, out, None, choice.get("logprobs") if plain else None, None if voice.finish else usage))
        if voice.finish:
            voice.closed, voice.usage = True, usage
            message, beside = voice.message(), Gathering()
            gather(beside, list(calls_beside(message)))
            calls = tuple(calls_of(message, ("choices", 0, "message")))
            spoken, thought = "".join(voice.lane.out), "".join(voice.lane.thinking)
            steps.append(Finished(voice.index, calls, (spoken,), voice.lane.met, tuple(beside.texts), thought))
        return steps

    def _gather(self, voice: Voice, delta: JsonMap) -> None:
        """Keep the pieces of thinking and of tool calls."""
        for key in THOUGHTS:
            if isinstance(thought := delta.get(key), str):
                voice.lane.think(thought)
        for part in delta["content"] if isinstance(delta.get("content"), list) else ():
            if isinstance(part, dict) and part.get("type") in THINKING:
                voice.lane.think("\n".join(strings(without(part, "type"))))
        for one in a_list(delta, "tool_calls", MAX_CALLS):
            piece = a_map(one, "a tool call")
            at = piece.get("index", len(voice.calls))
            if not isinstance(at, int) or not 0 <= at < MAX_CALLS:
                raise BadBody("a tool call's index is out of bounds")
            _merge(voice.calls.setdefault(at, {}), {key: value for key, value in piece.items() if key != "index"}, voice.lane)
        if isinstance(old := delta.get("function_call"), dict):
            voice.old_call = voice.old_call or {}
            _merge(voice.old_call, old, voice.lane)

    def finish(self) -> Sequence[Step]:
        """The upstream has ended; a choice that it left open is not complete, and its calls do not leave."""
        if not self._voices:
            raise BadBody("the model's server sent no answer")
        if any(not voice.closed for voice in self._voices.values()):
            raise BadBody("the model's server ended before its answer did")
        return ()

    # ---- Out ----------------------------------------------------------------------------------------------------------

    def release(self, done: Finished) -> bytes:
        """The tool calls and the end of a choice that may leave."""
        voice = self._voices[done.choice]
        message = voice.message()
        out = b""
        if voice.calls:
            calls = [{"index": at, **call} for at, call in enumerate(message["tool_calls"])]
            out += self._chunk(voice, {"tool_calls": calls}, None)
        if voice.old_call is not None:
            out += self._chunk(voice, {"function_call": voice.old_call}, None)
        return out + self._chunk(voice, {}, voice.finish, None, voice.usage)

    def replace(self, choice: int, text: str, told: dict[str, Any] | None = None) -> bytes:
        """The end of a choice in our words, without its tool calls."""
        voice = self._voices[choice]
        voice.closed = True
        words = ("\n\n" if voice.lane.out else "") + text
        finish = "stop" if told and told.get("decision") == "require_approval" else "content_filter"
        extra = {**(voice.usage or {}), **({"bylaw": told} if told else {})}
        return self._chunk(voice, {"content": words}, None) + self._chunk(voice, {}, finish, None, extra)

    def close(self, told: dict[str, Any] | None = None) -> bytes:
        """The end of the stream."""
        del told  # stands in the last chunk of the choice it is about
        return b"".join(self._tail) + _DONE

    def fail(self, what: str) -> bytes:
        """The end of a stream that broke: an error, as OpenAI's clients expect it."""
        return sent(dump({"error": {"message": what, "type": "server_error", "param": None, "code": None}}))

    def reply(self, done: Finished) -> JsonMap:
        """A choice as a reply that did not stream."""
        voice = self._voices[done.choice]
        choice = {"index": 0, "message": voice.message(), "logprobs": None, "finish_reason": voice.finish}
        return {**self._head, "object": "chat.completion", "choices": [choice]}

    def _chunk(self, voice: Voice, delta: JsonMap, finish: str | None, logprobs: Any = None, extra: JsonMap | None = None) -> bytes:
        choice = {"index": voice.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        chunk = {**self._head, "choices": [choice]}
        return sent(dump(chunk | extra if extra else chunk))


def _shown(voice: Voice, delta: JsonMap) -> JsonMap:
    """What of a delta may leave; raises Stopped."""
    out: JsonMap = {"role": word(delta["role"], "assistant")} if isinstance(delta.get("role"), str) else {}
    for key in TEXTS:
        if isinstance(piece := delta.get(key), str):
            shown = voice.lane.text(key, piece)
            if shown or (piece == "" and "role" in out):
                out[key] = shown
        if voice.finish and (rest := voice.lane.end(key)):
            out[key] = out.get(key, "") + rest
    return out


def _merge(whole: JsonMap, piece: JsonMap, lane: Lane) -> None:
    """Add a piece of a tool call: strings of arguments grow, all else is said once."""
    for key, value in piece.items():
        if isinstance(value, dict):
            inner = whole.setdefault(key, {})
            if isinstance(inner, dict):
                _merge(inner, value, lane)
        elif isinstance(value, str) and key in ("arguments", "input"):
            whole[key] = str(whole.get(key) or "") + value
            lane.keep(len(value))
        elif isinstance(value, str) and key in ("name", "id") and whole.get(key) and value and whole[key] != value:
            whole[key] += value  # some servers send a name in pieces
        elif value is not None and not whole.get(key):
            whole[key] = value


def _places(choices: Sequence[JsonMap]) -> Sequence[int]:
    """The index of each choice; where two would share one, a client would put them together, so that each has its place in the list."""
    said = [choice.get("index", at) for at, choice in enumerate(choices)]
    alone = all(type(one) is int for one in said) and len(set(said)) == len(said)
    return said if alone else range(len(choices))


def as_stream(body: JsonMap, asked: Asked) -> bytes:
    """A whole reply as the events of a stream."""
    head = {key: value for key, value in body.items() if key not in ("choices", "usage", "bylaw")} | {"object": "chat.completion.chunk"}
    told = {"bylaw": body["bylaw"]} if "bylaw" in body else {}
    out = []
    for index, choice in zip(_places(body["choices"]), body["choices"], strict=True):
        message = dict(choice["message"])
        if isinstance(calls := message.get("tool_calls"), list):
            message["tool_calls"] = [{**call, "index": at} for at, call in enumerate(calls)]
        deltas = [message, {}]
        for delta in deltas:
            finish = None if delta else choice.get("finish_reason")
            one = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            out.append(sent(dump({**head, "choices": [one], **({} if delta else told)})))
    options = asked.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") and body.get("usage"):
        out.append(sent(dump({**head, "choices": [], "usage": body["usage"]})))
    return b"".join((*out, _DONE))
