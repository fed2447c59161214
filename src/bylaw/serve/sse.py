"""Server-sent events (WHATWG HTML, 9.2): bytes to events and back, however the bytes were cut.

An event that is too long, or a line that is no UTF-8, is a BadBody: the stream ends there, nothing of it is guessed.
"""

from typing import Final, NamedTuple

from bylaw.serve.wire import BadBody

MAX_EVENT_BYTES: Final = 8 << 20
DONE: Final = b"[DONE]"


class Sent(NamedTuple):
    """One event: its name, empty where it has none, and what it carries."""

    name: str
    content: bytes


class Reader:
    """Cuts a stream of bytes into events. Comments and events without content are skipped. What has come is looked through once."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._half = b""  # a CR that may be the first half of a line's end

    def feed(self, piece: bytes) -> list[Sent]:
        """Take bytes in; returns the events that are complete now."""
        if self._half or b"\r" in piece:
            piece = self._half + piece
            self._half = b"\r" if piece.endswith(b"\r") else b""
            piece = piece[: len(piece) - len(self._half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if rest := self._rest:
            seen = len(rest)
            rest += piece
            blocks = bytes(rest).split(b"\n\n") if rest.find(b"\n\n", seen - 1) >= 0 else []
        else:
            blocks = piece.split(b"\n\n")
        if blocks and ((last := blocks.pop()) or rest):
            self._rest = bytearray(last)
        if len(self._rest) > MAX_EVENT_BYTES:
            raise BadBody("an event of the stream is too long")
        return [event for block in blocks if (event := _event(block)) is not None]

    def finish(self) -> list[Sent]:
        """The stream has ended. An event without the empty line after it is complete for some servers; so it is for us."""
        block, self._rest, self._half = bytes(self._rest), bytearray(), b""
        return [event] if (event := _event(block)) is not None else []


def _event(block: bytes) -> Sent | None:
    if block.startswith(b"data: ") and b"\n" not in block:  # by far the most common form
        return Sent("", block[6:])
    name, lines = b"", []
    for line in block.split(b"\n"):
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"data":
            lines.append(value)
        elif key == b"event":
            name = value
    if not lines:
        return None
    return Sent(name.decode("utf-8", "replace"), b"\n".join(lines))


def sent(content: bytes, name: str = "") -> bytes:
    """One event as bytes. Our contents are JSON on one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), content) if name else b"data: %b\n\n" % content
