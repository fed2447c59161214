"""Lines of a pipe, one message each, as they come in: a line that is too long is dropped and said, and a reader can be held back."""

import asyncio
import re
from collections.abc import Callable
from typing import Final, cast

import orjson

from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES, Id, id_of

ENDS_BYTES: Final = 1_000  # at either end of a line that is too long: where its id is looked for
_ID: Final = rb'"id"\s*:\s*(?P<id>[0-9]{1,15}|"[A-Za-z0-9_.:-]{1,200}")\s*'
_RPC: Final = rb'"jsonrpc"\s*:\s*"2\.0"\s*'
_HEAD: Final = re.compile(rb"\s*\{\s*(?:" + _RPC + rb",\s*)?" + _ID + rb",")
_TAIL: Final = re.compile(rb",\s*" + _ID + rb"(?:,\s*" + _RPC + rb")?\}\s*\Z")


class Lines(asyncio.Protocol):
    """What comes out of a pipe. Blank lines are passed over; what stands after the last line end is a line too."""

    def __init__(self, take: Callable[[bytes], None], too_long: Callable[[Id | None], None], over: Callable[[], None]) -> None:
        self._take, self._too_long, self._over = take, too_long, over
        self._begun = bytearray()  # of a line that is not whole yet; of one that is too long, its ends
        self._dropping = False
        self._holds = 0
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read from here."""
        self._transport = cast("asyncio.ReadTransport", transport)  # uvloop's own is none by its class
        if self._holds:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Take whole lines, keep the rest."""
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            piece = data if start == 0 and end == len(data) else data[start:end]
            if self._begun:
                self._keep(piece)
                self._line()
            elif not piece.isspace():
                self._whole(piece)
            start = end
        if start < len(data):
            self._keep(data[start:] if start else data)

    def eof_received(self) -> None:
        """The rest is the last line."""
        self._line()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing comes any more."""
        self._line()
        self._over()

    def hold(self) -> None:
        """Read no further until it is let go, as often as it was held."""
        self._holds += 1
        if self._holds == 1 and self._transport is not None:
            self._transport.pause_reading()

    def let_go(self) -> None:
        """The inverse of `hold`."""
        self._holds -= 1
        if self._holds == 0 and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _whole(self, line: bytes) -> None:
        if len(line) > MAX_MESSAGE_BYTES:
            self._keep(line)
            self._line()
        else:
            self._take(line)

    def _keep(self, piece: bytes) -> None:
        self._begun += piece
        if len(self._begun) > MAX_MESSAGE_BYTES:
            self._dropping = True
        if self._dropping and len(self._begun) > 2 * ENDS_BYTES:
            del self._begun[ENDS_BYTES:-ENDS_BYTES]

    def _line(self) -> None:
        line, self._begun = bytes(self._begun), bytearray()
        if self._dropping:
            self._dropping = False
            said = _HEAD.match(line) or _TAIL.search(line)
            self._too_long(id_of({"id": orjson.loads(said["id"])}) if said else None)
        elif line and not line.isspace():
            self._take(line)


class Valve(asyncio.BaseProtocol):
    """The other end of a pipe that is written to: while it does not keep up, those whose messages go there are not read from."""

    def __init__(self) -> None:
        self.sources: list[Lines] = []
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pause_writing(self) -> None:
        """Its buffer is full."""
        for one in self.sources:
            one.hold()

    def resume_writing(self) -> None:
        """It has room again."""
        for one in self.sources:
            one.let_go()

    def connection_lost(self, error: Exception | None) -> None:
        """All is written, or nobody reads any more."""
        if not self.closed.done():
            self.closed.set_result(None)
