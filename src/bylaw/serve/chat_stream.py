"""A stream of `/v1/chat/completions`: text passes the hold-back filter, thinking stays, tool calls leave whole and judged.

Choices may come interleaved (n > 1); each has its own filter. What a delta carries that we do not know is left out: it could be text.
Token probabilities are left out where a filter holds text back, because they would spell it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bylaw.serve.chat import THOUGHTS, calls_of
from bylaw.serve.route import Finished, Gates, Halt, Step
from bylaw.serve.sse import DONE, Sent, sent
from bylaw.serve.streaming import Cut, HoldBack
from bylaw.serve.thoughts import Parting
from bylaw.serve.wire import MAX_ARGUMENTS_BYTES, MAX_CALLS, MAX_CHOICES, Asked, BadBody, JsonMap, Text, a_list, a_map, dump, load
from bylaw.types import Decision

MAX_THINKING_CHARS: Final = 1 << 20
_DONE: Final = sent(DONE)


@dataclass(slots=True)
class Lane:
    """One choice on its way."""

    index: int
    gates: dict[str, HoldBack | None] = field(default_factory=dict)  # `content`, `refusal`
    parting: Parting = field(default_factory=Parting)
    out: list[str] = field(default_factory=list)  # what has left
    calls: dict[int, JsonMap] = field(default_factory=dict)
    old_call: JsonMap | None = None
    thinking: list[str] = field(default_factory=list)
    weight: int = 0  # characters of thinking and arguments
    unjudged: bool = False  # whether thinking has come that nobody has judged
    finish: str | None = None
    closed: bool = False

    def met(self) -> tuple[Decision, ...]:
        """What was decided on findings in the text."""
        return tuple(decision for gate in self.gates.values() if gate for decision in gate.decisions)

    def message(self) -> JsonMap:
        """The choice as one message."""
        message: JsonMap = {"role": "assistant", "content": "".join(self.out) or None}
        if self.calls:
            message["tool_calls"] = [self.calls[at] for at in sorted(self.calls)]
        if self.old_call is not None:
            message["function_call"] = self.old_call
        return message


class ChatStream:
    """One stream."""

    def __init__(self, asked: Asked, gates: Gates) -> None:
        self._gates = gates
        self._lanes: dict[int, Lane] = {}
        self._head: JsonMap = {"id": "chatcmpl-bylaw", "object": "chat.completion.chunk", "created": 0, "model": asked.model}
        self._tail: list[bytes] = []  # usage
        self._searched = gates.text() is not None
        self._plain = not self._searched

    # ---- In -----------------------------------------------------------------------------------------------------------

    def feed(self, event: Sent) -> Sequence[Step]:
        """What one event of the upstream becomes."""
        if event.content.strip() == DONE:
            return ()
        chunk = load(event.content)
        if "error" in chunk:
            raise BadBody("the model's server broke off")
        choices = a_list(chunk, "choices", MAX_CHOICES)
        if not choices:
            if chunk.get("usage") is not None:
                self._tail.append(sent(dump({**self._head, "choices": [], "usage": chunk["usage"]})))
            return ()
        self._head |= {key: value for key, value in chunk.items() if key not in ("choices", "usage", "obfuscation")}
        steps: list[Step] = []
        for one in choices:
            choice = a_map(one, "a choice")
            lane = self._lane(choice.get("index", 0))
            if not lane.closed:
                steps += self._choice(lane, choice, chunk)
        return steps

    def _lane(self, index: Any) -> Lane:
        if not isinstance(index, int) or not 0 <= index < MAX_CHOICES:
            raise BadBody("a choice's index is out of bounds")
        lane = self._lanes.get(index)
        if lane is None:
            lane = self._lanes[index] = Lane(index)
        return lane

    def _choice(self, lane: Lane, choice: JsonMap, chunk: JsonMap) -> Iterator[Step]:
        delta = a_map(choice.get("delta") or {}, "delta")
        self._think(lane, delta)
        self._gather(lane, delta)
        out: JsonMap = {"role": delta["role"]} if isinstance(delta.get("role"), str) else {}
        try:
            for key in ("content", "refusal"):
                if isinstance(piece := delta.get(key), str):
                    shown = self._text(lane, key, piece)
                    if shown or (piece == "" and "role" in out):
                        out[key] = shown
            if choice.get("finish_reason"):
                lane.finish = str(choice["finish_reason"])
                for key, rest in self._rest(lane).items():
                    out[key] = out.get(key, "") + rest
        except _Stopped as stop:
            lane.closed = True
            if stop.before:
                lane.out.append(stop.before)
                yield self._chunk(lane, {"content": stop.before}, None)
            yield Halt(lane.index, stop.decision)
            return
        if out:
            logprobs = choice.get("logprobs") if self._plain else None
            extra = {"usage": chunk["usage"]} if chunk.get("usage") else {}
            yield self._chunk(lane, out, None, logprobs, extra)
        if lane.finish:
            lane.closed = True
            yield self._finished(lane)

    def _think(self, lane: Lane, delta: JsonMap) -> None:
        for key in THOUGHTS:
            if isinstance(thought := delta.get(key), str) and thought:
                lane.thinking.append(thought)
                lane.weight += len(thought)
                lane.unjudged = True
        if lane.weight > MAX_THINKING_CHARS:
            raise BadBody("the model thinks or calls at too great a length")

    def _text(self, lane: Lane, key: str, piece: str) -> str:
        """What may leave of a piece of text."""
        if key == "content":
            piece = lane.parting.feed(piece)
            if lane.parting.thinking:
                lane.thinking.append(lane.parting.thinking)
                lane.weight += len(lane.parting.thinking)
                lane.parting.thinking, lane.unjudged = "", True
                self._plain = False
        if not piece:
            return ""
        if lane.unjudged:
            self._judge_thinking(lane)
        return self._through(lane, key, piece)

    def _through(self, lane: Lane, key: str, piece: str, last: bool = False) -> str:
        if not self._searched:
            out = piece
        else:
            gate = lane.gates.get(key)
            if gate is None:
                gate = lane.gates[key] = self._gates.text()
            try:
                out = gate.feed(piece) + (gate.finish() if last else "") if gate else piece
            except Cut as cut:
                raise _Stopped(cut.decision, cut.before) from None
        if out:
            lane.out.append(out)
        return out

    def _judge_thinking(self, lane: Lane) -> None:
        lane.unjudged = False
        decision = self._gates.thinking(Text("thinking", "".join(lane.thinking), (), "assistant"))
        if decision.effect not in ("allow", "redact"):
            raise _Stopped(decision, "")

    def _rest(self, lane: Lane) -> dict[str, str]:
        """What the filters still hold; then a choice's text is complete."""
        rest: dict[str, str] = {}
        held = lane.parting.finish()
        if lane.parting.thinking:
            lane.thinking.append(lane.parting.thinking)
            lane.unjudged = True
        if lane.unjudged:
            self._judge_thinking(lane)
        for key in ("content", "refusal"):
            if key in lane.gates or (key == "content" and held):
                shown = self._through(lane, key, held if key == "content" else "", last=True)
                if shown:
                    rest[key] = shown
        return rest

    def _gather(self, lane: Lane, delta: JsonMap) -> None:
        """Keep the pieces of tool calls."""
        for one in a_list(delta, "tool_calls", MAX_CALLS):
            piece = a_map(one, "a tool call")
            at = piece.get("index", len(lane.calls))
            if not isinstance(at, int) or not 0 <= at < MAX_CALLS:
                raise BadBody("a tool call's index is out of bounds")
            _merge(lane.calls.setdefault(at, {}), {key: value for key, value in piece.items() if key != "index"}, lane)
        if isinstance(old := delta.get("function_call"), dict):
            lane.old_call = lane.old_call or {}
            _merge(lane.old_call, old, lane)

    def finish(self) -> Sequence[Step]:
        """The upstream has ended; a choice that it left open is not complete, and its calls do not leave."""
        if not self._lanes:
            raise BadBody("the model's server sent no answer")
        if any(not lane.closed for lane in self._lanes.values()):
            raise BadBody("the model's server ended before its answer did")
        return ()

    # ---- Out ----------------------------------------------------------------------------------------------------------

    def _finished(self, lane: Lane) -> Finished:
        calls = tuple(calls_of(lane.message(), ("choices", 0, "message")))
        return Finished(lane.index, calls, "".join(lane.out), lane.met())

    def release(self, done: Finished) -> bytes:
        """The tool calls and the end of a choice that may leave."""
        lane = self._lanes[done.choice]
        message = lane.message()
        out = b""
        if lane.calls:
            calls = [{"index": at, **call} for at, call in enumerate(message["tool_calls"])]
            out += self._chunk(lane, {"tool_calls": calls}, None)
        if lane.old_call is not None:
            out += self._chunk(lane, {"function_call": lane.old_call}, None)
        return out + self._chunk(lane, {}, lane.finish)

    def replace(self, choice: int, text: str, told: dict[str, Any] | None = None) -> bytes:
        """The end of a choice in our words, without its tool calls."""
        lane = self._lanes[choice]
        lane.closed = True
        words = ("\n\n" if lane.out else "") + text
        finish = "stop" if told and told.get("decision") == "require_approval" else "content_filter"
        return self._chunk(lane, {"content": words}, None) + self._chunk(lane, {}, finish, None, {"bylaw": told} if told else {})

    def close(self, told: dict[str, Any] | None = None) -> bytes:
        """The end of the stream."""
        del told  # stands in the last chunk of the choice it is about
        return b"".join(self._tail) + _DONE

    def fail(self, what: str) -> bytes:
        """The end of a stream that broke: an error, as OpenAI's clients expect it."""
        return sent(dump({"error": {"message": what, "type": "server_error", "param": None, "code": None}}))

    def reply(self, done: Finished) -> JsonMap:
        """A choice as a reply that did not stream."""
        lane = self._lanes[done.choice]
        choice = {"index": 0, "message": lane.message(), "logprobs": None, "finish_reason": lane.finish}
        return {**self._head, "object": "chat.completion", "choices": [choice]}

    def _chunk(self, lane: Lane, delta: JsonMap, finish: str | None, logprobs: Any = None, extra: JsonMap | None = None) -> bytes:
        choice = {"index": lane.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return sent(dump({**self._head, "choices": [choice], **(extra or {})}))


class _Stopped(Exception):  # noqa: N818  # never leaves this module
    def __init__(self, decision: Decision, before: str) -> None:
        super().__init__(decision.reason)
        self.decision = decision
        self.before = before


def _merge(whole: JsonMap, piece: JsonMap, lane: Lane) -> None:
    """Add a piece of a tool call: strings of arguments grow, all else is said once."""
    for key, value in piece.items():
        if isinstance(value, dict):
            inner = whole.setdefault(key, {})
            if isinstance(inner, dict):
                _merge(inner, value, lane)
        elif isinstance(value, str) and key in ("arguments", "input"):
            whole[key] = str(whole.get(key) or "") + value
            lane.weight += len(value)
        elif isinstance(value, str) and key in ("name", "id") and whole.get(key) and value and whole[key] != value:
            whole[key] += value  # some servers send a name in pieces
        elif value is not None and not whole.get(key):
            whole[key] = value
    if lane.weight > MAX_ARGUMENTS_BYTES:
        raise BadBody("the model thinks or calls at too great a length")


def as_stream(body: JsonMap, asked: Asked) -> bytes:
    """A whole reply as the events of a stream."""
    head = {key: value for key, value in body.items() if key not in ("choices", "usage", "bylaw")} | {"object": "chat.completion.chunk"}
    told = {"bylaw": body["bylaw"]} if "bylaw" in body else {}
    out = []
    for at, choice in enumerate(body["choices"]):
        index, message = choice.get("index", at), dict(choice["message"])
        if isinstance(calls := message.get("tool_calls"), list):
            message["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
        deltas = [message, {}]
        for delta in deltas:
            finish = None if delta else choice.get("finish_reason")
            one = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            out.append(sent(dump({**head, "choices": [one], **({} if delta else told)})))
    options = asked.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") and body.get("usage"):
        out.append(sent(dump({**head, "choices": [], "usage": body["usage"]})))
    return b"".join((*out, _DONE))
