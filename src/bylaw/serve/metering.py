"""An upstream behind a meter: what a key with a budget uses is counted, streamed or not, and nothing is asked once it is used up.

What the upstream says it used counts. Where it does not say, no token is shorter than a byte: each byte of the request counts as one, and
each byte of text in the reply. That is more than was used, but for thinking that the upstream does not show. In a stream of chat
completions the upstream is asked to say it; a client that did not ask does not see it. An error of the upstream counts nothing.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from bylaw.govern.budgets import Meter, Spent
from bylaw.serve.door import NotIn, looked_up
from bylaw.serve.gate import Gate, Who
from bylaw.serve.sse import Reader, Sent
from bylaw.serve.upstream import Answered, Streaming, Upstream, UpstreamTrouble
from bylaw.serve.wire import JsonMap, dump

MAX_TOKENS: Final = 1 << 40  # a number above is nobody's usage
ASKED: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
TEXTS: Final = ("choices", "output", "content", "delta", "text")  # where a reply has its words
TIMED_OUT: Final = 504


@dataclass(slots=True)
class Tally:
    """What one question used, as far as it is known."""

    sent: int  # bytes
    said_in: int | None = None
    said_out: int | None = None
    heard: int = 0  # bytes of text
    final: bool = False  # whether the upstream has said how much in all

    def saw(self, body: JsonMap) -> None:
        """Read a reply, or an event of one."""
        self.heard += sum(_bytes(body[name]) for name in TEXTS if name in body)
        inner: Any = body.get("response") or body.get("message")
        usage = body.get("usage") or (inner.get("usage") if isinstance(inner, dict) else None)
        if not isinstance(usage, dict):
            return
        self.said_in = (
            _sum(usage, "prompt_tokens", "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens") or self.said_in
        )
        self.said_out = _sum(usage, "completion_tokens", "output_tokens") or self.said_out
        self.final = self.final or body.get("type") != "message_start"

    @property
    def tokens_in(self) -> int:
        """What went in."""
        return self.sent if self.said_in is None else self.said_in

    @property
    def tokens_out(self) -> int:
        """What came out. Where the upstream broke off, what it had said before is no total."""
        if self.final and (self.said_out is not None or not self.heard):
            return self.said_out or 0
        return max(self.heard, self.said_out or 0)


@dataclass(slots=True)
class Metered(Upstream):
    """An upstream behind a meter."""

    inner: Upstream
    meter: Meter

    def headers(self, client: Mapping[bytes, bytes], path: str, keyed: bool) -> dict[str, str]:
        """As the upstream behind it."""
        return self.inner.headers(client, path, keyed)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Ask, count, and wait for the whole reply."""
        number, tally, counts = await self._begin(body, _map(body)), Tally(len(body)), False
        try:
            reply = await self.inner.post(path, body, headers)
            counts = reply.status == 200
            tally.saw(_map(reply.body))
            if counts and tally.said_in is None and not tally.heard:
                tally.heard = len(reply.body)
            return reply
        except UpstreamTrouble as error:
            counts = error.status == TIMED_OUT  # it may have worked all that time
            raise
        finally:
            self.meter.end(number, *((tally.tokens_in, tally.tokens_out) if counts else (0, 0)))

    @asynccontextmanager
    async def stream(self, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> AsyncIterator[Streaming]:
        """Ask, and count while the reply comes."""
        if method != "POST":
            async with self.inner.stream(path, body, headers, method) as live:
                yield live
            return
        asked = _map(body)
        hidden = False
        if path.endswith("/chat/completions") and asked.get("stream"):
            options = asked.get("stream_options")
            hidden = not (isinstance(options, dict) and options.get("include_usage"))
            asked["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
            body = dump(asked)
        number, tally, counts = await self._begin(body, asked), Tally(len(body)), False
        try:
            async with self.inner.stream(path, body, headers, method) as live:
                counts = live.status == 200
                yield _Counted(live.status, live.headers, live, tally, hidden) if counts else live
        except UpstreamTrouble as error:
            counts = counts or error.status == TIMED_OUT
            raise
        finally:
            self.meter.end(number, *((tally.tokens_in, tally.tokens_out) if counts else (0, 0)))

    async def _begin(self, body: bytes, asked: JsonMap) -> int:
        """A question is about to be asked; raises NotIn where nothing is left, StoreError where that cannot be known.

        It begins on the loop, whoever looked it up: a task that is cancelled while a thread works would leave it under way for ever.
        """
        await looked_up(self.meter)
        most = next((value for name in ASKED if (value := _number(asked.get(name))) is not None), 0)
        begun = self.meter.begin(len(body), most)
        if isinstance(begun, Spent):
            raise NotIn(429, begun.what, begun.retry_after_s)
        return begun

    async def close(self) -> None:
        """The upstream behind it is not ours to close."""


@dataclass(slots=True)
class _Counted:
    """A stream whose events are counted on their way."""

    status: int
    headers: list[tuple[bytes, bytes]]
    live: Streaming
    tally: Tally
    hidden: bool  # whether the usage is to be left out

    async def pieces(self) -> AsyncIterator[bytes]:
        reader = Reader()
        async for piece in self.live.pieces():
            if out := b"".join(self._passed(event) for event in reader.feed(piece)):
                yield out
        if out := b"".join(self._passed(event) for event in reader.finish()):
            yield out

    async def rest(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])

    def _passed(self, event: Sent) -> bytes:
        body = _map(event.content)
        for choice in choices if isinstance(choices := body.get("choices"), list) else ():
            if isinstance(choice, dict):
                self.tally.heard += _bytes(choice.get("delta"))
        self.tally.saw({name: value for name, value in body.items() if name not in ("choices", "text")})
        if self.hidden and body.get("usage") is not None and not body.get("choices"):
            return b""
        lines = b"".join(b"data: %b\n" % line for line in event.content.split(b"\n"))
        return (b"event: %b\n" % event.name.encode() if event.name else b"") + lines + b"\n"


def metered(gate: Gate, who: Who) -> Gate:
    """The gate for one who asks: with their meter before its upstream, where they have one."""
    return gate if who.meter is None else replace(gate, upstream=Metered(gate.upstream, who.meter))


def _map(content: bytes) -> JsonMap:
    """A JSON object; an empty one where it is none. What cannot be read is found by whoever reads it to judge it."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _bytes(value: Any) -> int:
    """How many bytes of text there are in a value, keys left out."""
    size, rest = 0, [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            size += len(one.encode("utf-8", "replace"))
        elif isinstance(one, dict):
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return size


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else None


def _sum(usage: Mapping[str, Any], *names: str) -> int | None:
    found = [number for name in names if (number := _number(usage.get(name))) is not None]
    return sum(found) if found else None
