"""A stream of `/v1/messages`: text blocks pass the hold-back filter, thinking stays, and from the first tool call on all waits for the end.

Blocks keep their order. Blocks of a kind we do not know wait as well, and are judged as text when the message is complete. What begins in
one text block and ends in the next is found (`lanes`), so that the end of a text block waits for the beginning of the next one, or for the
end of the message.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from bylaw.serve import owned
from bylaw.serve.beside import is_mark, left, word
from bylaw.serve.in_order import InOrder
from bylaw.serve.lanes import Lane, Spoken, Stopped
from bylaw.serve.messages import AROUND, reason, said
from bylaw.serve.route import Finished, Gates, Halt, Step
from bylaw.serve.sse import Sent, sent
from bylaw.serve.wire import MAX_CALLS, Asked, BadBody, JsonMap, a_map, arguments, dump, kind_of, load

MAX_BLOCKS: Final = 4 * MAX_CALLS
_PING: Final = sent(dump({"type": "ping"}), "ping")
_END: Final = sent(dump({"type": "message_stop"}), "message_stop")


class MessagesStream:
    """One stream."""

    def __init__(self, asked: Asked, gates: Gates) -> None:
        self._lane, self._asked, self._name = Lane(gates, gates.text() is not None), asked.body, gates.naming
        self._message: JsonMap = {"id": "msg_bylaw", "type": "message", "role": "assistant", "model": asked.model, "usage": {}}
        self._blocks: dict[int, JsonMap] = {}  # as they are to the client
        self._json: dict[int, list[str]] = {}  # inputs of calls, in pieces
        self._done: set[int] = set()  # blocks that are complete
        self._order = InOrder(lambda at: [{"type": "content_block_stop", "index": at}])  # from the first call on, all is held
        self._open = self._seen = -1  # the text block that is open: as the upstream tells it, and as the client sees it
        self._shown = -1  # the last block that the client has seen
        self._delta: JsonMap = {
            "type": "message_delta",
            "delta": {"stop_reason": None, "stop_sequence": None},
            "usage": {"output_tokens": 0},
        }
        self._begun = self._ended = self._closed = False

    # ---- In -----------------------------------------------------------------------------------------------------------

    def feed(self, event: Sent) -> Sequence[Step]:
        """What one event of the upstream becomes."""
        content = load(event.content)
        kind = content.get("type")
        if kind == "error":
            raise BadBody("the model's server broke off")
        if kind == "ping":
            return (_PING,)
        if self._closed:
            return ()
        steps: list[Step] = []
        try:
            for step in self._event(kind, content):
                steps.append(step)  # what came before a halt stays
        except Stopped as stop:
            self._closed = True
            steps += [*self._let(stop.parts), Halt(0, stop.decision)]
        return steps

    def _event(self, kind: Any, content: JsonMap) -> Iterator[Step]:
        if kind == "message_start":
            self._begun = True
            message = a_map(content.get("message"), "message")
            fixed: JsonMap = {"content": [], "stop_reason": None, "stop_sequence": None}
            self._message = {**left({key: message[key] for key in AROUND if key in message}), **fixed}
            yield self._start_bytes()
        elif not self._begun:
            raise BadBody("the model's server sent no message_start")
        elif kind == "content_block_start":
            yield from self._start(_index(content), a_map(content.get("content_block"), "content_block"))
        elif kind == "content_block_delta":
            yield from self._piece(_index(content), a_map(content.get("delta"), "delta"))
        elif kind == "content_block_stop":
            yield from self._stop(_index(content))
        elif kind == "message_delta":
            self._delta = self._ending(content)
        elif kind == "message_stop":
            yield from self._finished()

    def _start(self, at: int, block: JsonMap) -> Iterator[Step]:
        if at <= max(self._blocks, default=-1):  # else a client would read the texts in another order than they were searched
            raise BadBody("a block begins twice, or out of its place")
        kind = kind_of(block)
        block = {**block, "type": kind}
        if kind in ("thinking", "redacted_thinking"):
            if kind == "thinking":
                self._lane.think(str(block.get("thinking") or ""))
            self._blocks[at] = _sealed(block)
            yield from self._out({"type": "content_block_start", "index": at, "content_block": dict(self._blocks[at])})
        elif kind == "text":
            if self._open >= 0:
                raise BadBody("a text block begins in another one")
            self._blocks[at], self._open = {"type": "text", "text": ""}, at
            yield from self._out({"type": "content_block_start", "index": at, "content_block": dict(self._blocks[at])})
            yield from self._let(self._lane.part(at, str(block.get("text") or "")))
        else:
            self._order.hold()
            self._blocks[at] = dict(block)
            self._json[at] = []

    def _piece(self, at: int, delta: JsonMap) -> Iterator[Step]:
        block, kind = self._block(at), delta.get("type")
        if kind == "text_delta" and block["type"] == "text":
            if at != self._open:
                raise BadBody("a piece of a block that is not open")
            yield from self._let(self._lane.part(at, str(delta.get("text") or "")))
        elif kind == "thinking_delta":
            self._lane.think(str(delta.get("thinking") or ""))
        elif kind == "signature_delta" and block["type"] == "thinking" and is_mark("signature", str(delta.get("signature") or "")):
            block["signature"] = str(block.get("signature") or "") + str(delta.get("signature") or "")
            delta = {"type": kind, "signature": str(delta.get("signature") or "")}
            yield from self._out({"type": "content_block_delta", "index": at, "delta": delta})
        elif kind == "input_json_delta" and at in self._json:
            piece = str(delta.get("partial_json") or "")
            self._lane.keep(len(piece))
            self._json[at].append(piece)
        # what else there may be, citations for one, is left out: it could be text that nobody has searched

    def _stop(self, at: int) -> Iterator[Step]:
        block = self._block(at)
        self._done.add(at)
        if at in self._json:
            if pieces := "".join(self._json[at]):
                block["input"] = _input(pieces)
            yield from self._out(*_whole(at, block))
            return
        if block["type"] == "text" and at == self._open:
            yield from self._let(self._lane.border())
            self._open = -1
            yield from self._sent(self._order.end(at, waits=at in self._lane.waiting))
        else:
            yield from self._out({"type": "content_block_stop", "index": at})

    def _finished(self) -> Iterator[Step]:
        if self._done != self._blocks.keys():
            raise BadBody("the model's message is not complete")
        yield from self._let(self._lane.rest())
        yield from self._sent(self._order.caught_up())
        self._closed = self._ended = True
        choice = said(self._reply(), self._asked).choices[0]
        loose = tuple(text for text in choice.texts if not text.path)
        said_here = tuple(text.text for text in choice.texts if text.path or text.parts)
        yield Finished(0, choice.calls, said_here, self._lane.met, loose, "".join(self._lane.thinking))

    def _ending(self, content: JsonMap) -> JsonMap:
        """Why the message ended, and what it cost."""
        delta = a_map(content.get("delta") or {}, "delta")
        stopped, stops = delta.get("stop_sequence"), self._asked.get("stop_sequences")
        why = {
            "stop_reason": word(delta["stop_reason"], "end_turn") if delta.get("stop_reason") else None,
            "stop_sequence": stopped if isinstance(stops, list) and stopped in stops else None,
            **({"container": left(delta["container"])} if isinstance(delta.get("container"), dict) else {}),
        }
        return {"type": "message_delta", "delta": why, "usage": left(a_map(content.get("usage") or {}, "usage"))}

    def _block(self, at: int) -> JsonMap:
        if at not in self._blocks:
            raise BadBody("a piece of a block that has not begun")
        return self._blocks[at]

    def finish(self) -> Sequence[Step]:
        """The upstream has ended; a message without its end is not complete."""
        if not self._closed:
            raise BadBody("the model's server ended before its answer did")
        return ()

    # ---- Out ----------------------------------------------------------------------------------------------------------

    def _start_bytes(self) -> bytes:
        return self._given({"type": "message_start", "message": {**self._message, "content": []}})

    def _given(self, event: JsonMap) -> bytes:
        """An event with its ids as their owner gets them."""
        return _bytes(event if self._name is None else owned.named(owned.MESSAGES, event, self._name))

    def _let(self, spoken: Sequence[Spoken]) -> Iterator[bytes]:
        """Text that may leave; what waited for the end of a block leaves before the next one's text."""
        for one in spoken:
            yield from self._sent(self._order.caught_up(one.part))
            if one.text:
                self._blocks[one.part]["text"] += one.text
                delta = {"type": "text_delta", "text": one.text}
                yield from self._sent(self._order.leave({"type": "content_block_delta", "index": one.part, "delta": delta}))

    def _out(self, *events: JsonMap) -> Iterator[bytes]:
        return self._sent(self._order.out(*events))

    def _sent(self, events: Sequence[JsonMap]) -> Iterator[bytes]:
        """Events that leave now; what the client has seen since."""
        for event in events:
            kind, at = event["type"], event["index"]
            self._shown = max(self._shown, at)
            if kind == "content_block_start":
                self._seen = at
            elif kind == "content_block_stop":
                self._seen = -1
            yield _bytes(event)

    def release(self, done: Finished) -> bytes:
        """What was held, and the end of the message."""
        del done  # a message has one choice
        return b"".join((*map(self._given, (*self._order.held, self._delta)), _END))

    def replace(self, choice: int, text: str, told: dict[str, Any] | None = None) -> bytes:
        """The end of the message in our words."""
        del choice  # a message has one
        self._closed = True
        out = [] if self._begun else [self._start_bytes()]
        if self._seen >= 0:
            out.append(_bytes({"type": "content_block_stop", "index": self._seen}))
        out += map(_bytes, _whole(self._shown + 1, {"type": "text", "text": text}))
        finish = "stop" if told and told.get("decision") == "require_approval" else "content_filter"
        end = {**self._delta, "delta": {"stop_reason": reason(finish), "stop_sequence": None}, **({"bylaw": told} if told else {})}
        return b"".join((*out, sent(dump(end), "message_delta"), _END))

    def close(self, told: dict[str, Any] | None = None) -> bytes:
        """The end of the message is the end of the stream."""
        del told  # stands in `message_delta`
        return b""

    def fail(self, what: str) -> bytes:
        """The end of a stream that broke."""
        return sent(dump({"type": "error", "error": {"type": "api_error", "message": what}}), "error")

    def reply(self, done: Finished) -> JsonMap:
        """The message as a reply that did not stream."""
        del done  # a message has one choice
        return self._reply()

    def _reply(self) -> JsonMap:
        usage = {**a_map(self._message.get("usage") or {}, "usage"), **a_map(self._delta.get("usage") or {}, "usage")}
        delta = a_map(self._delta.get("delta") or {}, "delta")
        return {**self._message, **delta, "content": [self._blocks[at] for at in sorted(self._blocks)], "usage": usage}


def _index(content: JsonMap) -> int:
    at = content.get("index")
    if not isinstance(at, int) or not 0 <= at < MAX_BLOCKS:
        raise BadBody("a block's index is out of bounds")
    return at


def _input(pieces: str) -> Any:
    """A call's input: the object, or the text itself where it cannot be read, which no rule can then be decided on."""
    read = arguments(pieces)
    return pieces if read is None else dict(read)


def _sealed(block: JsonMap) -> JsonMap:
    """Thinking without its words: what is sealed stays."""
    if block["type"] == "thinking":
        return {"type": "thinking", "thinking": "", "signature": left({"signature": block.get("signature") or ""})["signature"] or ""}
    sealed = block.get("data")
    return {"type": "redacted_thinking", "data": sealed if isinstance(sealed, str) and is_mark("signature", sealed) else ""}


def _bytes(event: JsonMap) -> bytes:
    return sent(dump(event), event["type"])


def _whole(at: int, block: JsonMap) -> list[JsonMap]:
    """A block that is complete, as events."""
    start, deltas = dict(block), []
    if block.get("type") == "text":
        start["text"] = ""
        deltas = [{"type": "text_delta", "text": block["text"]}]
    elif "input" in block:
        start["input"] = {}
        deltas = [{"type": "input_json_delta", "partial_json": dump(block["input"]).decode()}]
    return [
        {"type": "content_block_start", "index": at, "content_block": start},
        *({"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": at},
    ]


def as_stream(body: JsonMap, asked: Asked) -> bytes:
    """A whole reply as the events of a stream."""
    del asked  # nothing in it changes the form
    head = {key: value for key, value in body.items() if key not in ("content", "stop_reason", "stop_sequence", "bylaw")}
    start = {**head, "content": [], "stop_reason": None, "stop_sequence": None}
    out = [sent(dump({"type": "message_start", "message": start}), "message_start")]
    for at, block in enumerate(body["content"]):
        out += map(_bytes, _whole(at, block))
    delta = {"stop_reason": body.get("stop_reason"), "stop_sequence": body.get("stop_sequence")}
    told = {"bylaw": body["bylaw"]} if "bylaw" in body else {}
    end = {"type": "message_delta", "delta": delta, "usage": body.get("usage") or {"output_tokens": 0}, **told}
    return b"".join((*out, sent(dump(end), "message_delta"), _END))
