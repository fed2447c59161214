"""A stream of `/v1/responses`: parts of text pass the hold-back filter, thinking stays, and from the first call on all waits for the end.

The text comes in this API up to four times: in deltas, and whole in the events that end a part, an item and the response. Only the deltas
are read; what ends them is made anew from what has left. Events of a kind we do not know are left out: they could carry text. What begins
in one part and ends in the next is found (`lanes`), so that the end of a part waits for the beginning of the next one, or for the end of
the response; where text and refusals alternate, all waits.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bylaw.serve import owned
from bylaw.serve.beside import left, word
from bylaw.serve.in_order import InOrder
from bylaw.serve.lanes import Lane, Spoken, Stopped
from bylaw.serve.responses import said, spoken
from bylaw.serve.route import Finished, Gates, Halt, Step
from bylaw.serve.sse import DONE, Sent, sent
from bylaw.serve.wire import MAX_CALLS, Asked, BadBody, JsonMap, a_map, dump, kind_of, load

MAX_ITEMS: Final = 4 * MAX_CALLS
_BEGIN: Final = ("response.created", "response.in_progress", "response.queued")
_END: Final = ("response.completed", "response.incomplete")
_NO_PARTS: Final[dict[str, JsonMap]] = {"message": {"content": []}, "reasoning": {}}  # they come later
_TEXT: Final = {"output_text": ("response.output_text", "text"), "refusal": ("response.refusal", "refusal")}


class ResponsesStream:
    """One stream."""

    def __init__(self, asked: Asked, gates: Gates) -> None:
        self._lane, self._asked, self._name = Lane(gates, gates.text() is not None), asked.body, gates.naming
        self._response: JsonMap = {"id": "resp_bylaw", "object": "response", "model": asked.model, "status": "in_progress", "output": []}
        self._items: dict[int, JsonMap] = {}  # as they are to the client
        self._done: set[int] = set()
        self._order = InOrder(self._closing)  # from the first call on, all is held
        self._closed = False
        self._end = "response.completed"
        self._open: tuple[int, int] | None = None  # the part of text that is open, as the upstream tells it
        self._latest = (-1, -1)  # the part of text that came last
        self._kind = ""  # its kind
        self._shown: dict[int, int] = {}  # items that the client has seen begin, and how many parts of each
        self._sent: defaultdict[tuple[int, int], list[str]] = defaultdict(list)  # the text that has left, in pieces
        self._seen: tuple[int, int] | None = None  # the part of text that the client sees open
        self._seen_item = -1  # the item that it sees open
        self._number = 0

    # ---- In -----------------------------------------------------------------------------------------------------------

    def feed(self, event: Sent) -> Sequence[Step]:
        """What one event of the upstream becomes."""
        if event.content.strip() == DONE or self._closed:
            return ()
        content = load(event.content)
        kind = str(content.get("type"))
        if kind in ("error", "response.failed"):
            raise BadBody("the model's server broke off")
        steps: list[Step] = []
        try:
            for step in self._event(kind, content):
                steps.append(step)  # what came before a halt stays
        except Stopped as stop:
            self._closed = True
            steps += [*self._let(stop.parts), Halt(0, stop.decision)]
        return steps

    def _event(self, kind: str, content: JsonMap) -> Iterator[Step]:
        if kind in _BEGIN:
            self._response = self._around(content)
            yield self._event_bytes({"type": kind, "response": self._response})
        elif kind == "response.output_item.added":
            yield from self._added(_index(content, "output_index"), a_map(content.get("item"), "item"))
        elif kind == "response.content_part.added":
            yield from self._part(self._where(content), a_map(content.get("part"), "part"))
        elif kind in ("response.output_text.delta", "response.refusal.delta"):
            where = self._where(content)
            self._text_part(where)
            yield from self._let(self._lane.part(where, str(content.get("delta") or "")))
        elif kind in ("response.output_text.done", "response.refusal.done"):
            yield from self._part_done(self._where(content))
        elif "reasoning" in kind and kind.endswith(".delta"):
            self._lane.think(str(content.get("delta") or ""))
        elif kind == "response.output_item.done":
            yield from self._item_done(_index(content, "output_index"), a_map(content.get("item"), "item"))
        elif kind in _END:
            self._end = kind
            self._response = self._around(content)
            yield from self._finished()

    def _around(self, content: JsonMap) -> JsonMap:
        """A response without its output: what of it says nothing, and what the request says."""
        response = a_map(content.get("response"), "response")
        around: JsonMap = left(
            {key: value for key, value in response.items() if key not in ("output", "output_text", "bylaw")}, self._asked
        )
        return {**around, "output": []}

    def _added(self, at: int, item: JsonMap) -> Iterator[Step]:
        if at <= max(self._items, default=-1):  # else a client would read the texts in another order than they were searched
            raise BadBody("an item begins twice, or out of its place")
        kind = kind_of(item)
        item = {**item, "type": kind}
        if kind == "message":
            self._items[at] = {**left({key: item[key] for key in ("type", "id", "role", "status", "phase") if key in item}), "content": []}
        elif kind == "reasoning":
            self._items[at] = _sealed(item)
        else:
            self._order.hold()
            self._items[at] = dict(item)
            return
        yield from self._out({"type": "response.output_item.added", "output_index": at, "item": {**self._items[at]} | _NO_PARTS[kind]})

    def _part(self, where: tuple[int, int], part: JsonMap) -> Iterator[Step]:
        item = self._item(where[0])
        if item["type"] != "message":
            return
        if where[1] != len(item["content"]) or where <= self._latest or kind_of(part) not in _TEXT:
            raise BadBody("a part of text out of its place, or of unknown kind")
        self._latest = where
        if self._open:  # its text did not end by itself
            yield from self._part_done(self._open)
        key = _TEXT[part["type"]][1]
        empty = {"type": part["type"], key: "", **({"annotations": [], "logprobs": []} if key == "text" else {})}
        item["content"].append(empty)
        self._order.holding |= self._kind not in ("", part["type"])
        self._open, self._kind = where, part["type"]
        yield from self._out({"type": "response.content_part.added", **self._place(where), "part": dict(empty)})
        yield from self._let(self._lane.part(where, str(part.get(key) or "")))

    def _part_done(self, where: tuple[int, int]) -> Iterator[Step]:
        self._text_part(where)
        yield from self._let(self._lane.border())
        self._open = None
        yield from self._sent_on(self._order.end(where, waits=where in self._lane.waiting))

    def _closing(self, where: tuple[int, int]) -> list[JsonMap]:
        return self._end_of(where, self._items[where[0]]["content"][where[1]])

    def _end_of(self, where: tuple[int, int], part: JsonMap) -> list[JsonMap]:
        kind, key = _TEXT[part["type"]]
        done = {"type": f"{kind}.done", **self._place(where), key: part[key], **({"logprobs": []} if key == "text" else {})}
        return [done, {"type": "response.content_part.done", **self._place(where), "part": part}]

    def _item_done(self, at: int, item: JsonMap) -> Iterator[Step]:
        known = self._item(at)
        self._done.add(at)
        if known["type"] == "message":
            if self._open and self._open[0] == at:  # its text did not end by itself
                yield from self._part_done(self._open)
            known["status"] = word(item.get("status"), "completed")
            yield from self._out({"type": "response.output_item.done", "output_index": at, "item": known})
        elif known["type"] == "reasoning":
            item = {**item, "type": "reasoning"}
            if not self._lane.thinking:
                self._lane.think("\n".join(_words(item)))
            self._items[at] = _sealed(item)
            yield from self._out({"type": "response.output_item.done", "output_index": at, "item": self._items[at]})
        else:
            if item.get("type") != known["type"]:
                raise BadBody("an item changes its kind")
            self._items[at] = dict(item)
            self._lane.keep(sum(len(one) for one in item.values() if isinstance(one, str)))
            yield from self._out(*_whole(at, self._items[at]))

    def _finished(self) -> Iterator[Step]:
        if self._done != self._items.keys():
            raise BadBody("the model's response is not complete")
        yield from self._let(self._lane.rest())
        yield from self._sent_on(self._order.caught_up())
        self._closed = True
        choice = said(self._reply(), self._asked).choices[0]
        loose = tuple(text for text in choice.texts if not text.path)
        said_here = tuple(text.text for text in choice.texts if text.path or text.parts)
        yield Finished(0, choice.calls, said_here, self._lane.met, loose, "".join(self._lane.thinking))

    def _item(self, at: int) -> JsonMap:
        if at not in self._items:
            raise BadBody("a piece of an item that has not begun")
        return self._items[at]

    def _where(self, content: JsonMap) -> tuple[int, int]:
        return _index(content, "output_index"), _index(content, "content_index")

    def _text_part(self, where: tuple[int, int]) -> JsonMap:
        item = self._item(where[0])
        if item["type"] != "message" or self._open != where:
            raise BadBody("a piece of text out of its place")
        part: JsonMap = item["content"][where[1]]
        return part

    def finish(self) -> Sequence[Step]:
        """The upstream has ended; a response without its end is not complete."""
        if not self._closed:
            raise BadBody("the model's server ended before its answer did")
        return ()

    # ---- Out ----------------------------------------------------------------------------------------------------------

    def _let(self, spoken: Sequence[Spoken]) -> Iterator[bytes]:
        """Text that may leave; what waited for the end of a part leaves before the next one's text."""
        for where, text in spoken:
            yield from self._sent_on(self._order.caught_up(where))
            yield from self._sent_on(self._order.leave(*self._delta(where, self._items[where[0]]["content"][where[1]], text)))

    def _out(self, *events: JsonMap) -> Iterator[bytes]:
        return self._sent_on(self._order.out(*events))

    def _sent_on(self, events: Sequence[JsonMap]) -> Iterator[bytes]:
        """Events that leave now; what the client has seen since."""
        for event in events:
            kind = event["type"]
            if "delta" in event:
                self._sent[event["output_index"], event["content_index"]].append(event["delta"])
            elif kind == "response.output_item.added":
                self._seen_item = event["output_index"]
                self._shown[self._seen_item] = 0
            elif kind == "response.content_part.added":
                self._seen = (event["output_index"], event["content_index"])
                self._shown[self._seen[0]] += 1
            elif kind == "response.content_part.done":
                self._seen = None
            elif kind == "response.output_item.done":
                self._seen_item = -1
            yield self._event_bytes(event)

    def _event_bytes(self, event: JsonMap) -> bytes:
        self._number += 1
        event = {**event, "sequence_number": self._number - 1}
        return sent(dump(event if self._name is None else owned.event(event, self._name)), event["type"])

    def _place(self, where: tuple[int, int]) -> JsonMap:
        return {"item_id": self._items[where[0]].get("id", ""), "output_index": where[0], "content_index": where[1]}

    def _delta(self, where: tuple[int, int], part: JsonMap, text: str) -> list[JsonMap]:
        if not text:
            return []
        kind, key = _TEXT[part["type"]]
        part[key] += text
        return [{"type": f"{kind}.delta", **self._place(where), "delta": text, **({"logprobs": []} if key == "text" else {})}]

    def release(self, done: Finished) -> bytes:
        """What was held, and the end of the response."""
        del done  # a response has one choice
        end = {"type": self._end, "response": self._reply()}
        return b"".join(self._event_bytes(event) for event in (*self._order.held, end))

    def replace(self, choice: int, text: str, told: dict[str, Any] | None = None) -> bytes:
        """The end of the response in our words."""
        del choice  # a response has one
        self._closed = True
        events = []
        if self._seen:
            events += self._end_of(self._seen, self._part_as_seen(self._seen))
        shown = {at: self._as_seen(at) for at in self._shown}
        if self._seen_item >= 0:
            shown[self._seen_item]["status"] = "incomplete"
            events.append({"type": "response.output_item.done", "output_index": self._seen_item, "item": shown[self._seen_item]})
        at = max(shown, default=-1) + 1
        shown[at] = spoken(str(self._response.get("id") or "bylaw"), text)
        events += _whole(at, shown[at])
        output = [shown[one] for one in sorted(shown)]
        end = {**self._response, "status": "completed", "incomplete_details": None, "output": output, **({"bylaw": told} if told else {})}
        return b"".join(self._event_bytes(event) for event in (*events, {"type": "response.completed", "response": end}))

    def _as_seen(self, at: int) -> JsonMap:
        """An item as far as the client has seen it."""
        item = self._items[at]
        if item["type"] != "message":
            return dict(item)
        return {**item, "content": [self._part_as_seen((at, part)) for part in range(self._shown[at])]}

    def _part_as_seen(self, where: tuple[int, int]) -> JsonMap:
        """A part with the text that has left; what is held may be what a clause forbids."""
        part: JsonMap = self._items[where[0]]["content"][where[1]]
        return {**part, _TEXT[part["type"]][1]: "".join(self._sent[where])}

    def close(self, told: dict[str, Any] | None = None) -> bytes:
        """The end of the response is the end of the stream."""
        del told  # stands in the last event
        return b""

    def fail(self, what: str) -> bytes:
        """The end of a stream that broke."""
        return self._event_bytes({"type": "error", "code": "server_error", "message": what, "param": None})

    def reply(self, done: Finished) -> JsonMap:
        """The response as a reply that did not stream."""
        del done  # a response has one choice
        return self._reply()

    def _reply(self) -> JsonMap:
        return {**self._response, "output": [self._items[at] for at in sorted(self._items)]}


def _index(content: JsonMap, key: str) -> int:
    at = content.get(key, 0)
    if not isinstance(at, int) or not 0 <= at < MAX_ITEMS:
        raise BadBody("an index is out of bounds")
    return at


def _sealed(item: JsonMap) -> JsonMap:
    """Thinking without its words."""
    return {**left({key: item[key] for key in ("type", "id", "status", "encrypted_content") if key in item}), "summary": []}


def _words(item: JsonMap) -> Iterator[str]:
    for key in ("summary", "content"):
        for part in item[key] if isinstance(item.get(key), list) else ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]


def _whole(at: int, item: JsonMap) -> list[JsonMap]:
    """An item that is complete, as events."""
    place = {"item_id": item.get("id", ""), "output_index": at}
    events: list[JsonMap] = []
    start = dict(item)
    if item.get("type") == "message":
        content = item.get("content")
        start["content"] = []
        for index, part in enumerate(content if isinstance(content, list) else ()):
            kind, key = _TEXT.get(part.get("type"), ("", ""))
            here = {**place, "content_index": index}
            if kind:
                more: JsonMap = {"annotations": [], "logprobs": []} if key == "text" else {}
                extra: JsonMap = {"logprobs": []} if key == "text" else {}
                events.append({"type": "response.content_part.added", **here, "part": {"type": part["type"], key: "", **more}})
                events.append({"type": f"{kind}.delta", **here, "delta": part[key], **extra})
                events.append({"type": f"{kind}.done", **here, key: part[key], **extra})
            else:
                events.append({"type": "response.content_part.added", **here, "part": part})
            events.append({"type": "response.content_part.done", **here, "part": part})
    elif item.get("type") == "function_call":
        start["arguments"] = ""
        events.append({"type": "response.function_call_arguments.delta", **place, "delta": item.get("arguments", "")})
        done = {
            "type": "response.function_call_arguments.done",
            **place,
            "name": item.get("name", ""),
            "arguments": item.get("arguments", ""),
        }
        events.append(done)
    added = {"type": "response.output_item.added", "output_index": at, "item": {**start, "status": "in_progress"}}
    return [added, *events, {"type": "response.output_item.done", "output_index": at, "item": item}]


def as_stream(body: JsonMap, asked: Asked) -> bytes:
    """A whole reply as the events of a stream."""
    del asked  # nothing in it changes the form
    begun = {**{key: value for key, value in body.items() if key != "bylaw"}, "status": "in_progress", "output": [], "usage": None}
    items = [event for at, item in enumerate(body["output"]) for event in _whole(at, item)]
    end = "response.incomplete" if body.get("status") == "incomplete" else "response.completed"
    events = [{"type": "response.created", "response": begun}, *items, {"type": end, "response": body}]
    return b"".join(sent(dump({**event, "sequence_number": at}), event["type"]) for at, event in enumerate(events))
