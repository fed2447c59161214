"""The server's HTTP protocol, with three differences.

A head leaves in one write with its body, what follows a body is no header, and an answer that never ends learns that the server does.

uvicorn writes a head when it is told of it, and the body when it is told of that: two system calls, two packets, and a client that wakes up
twice for one answer. A head that no body follows at once, as of a stream, leaves at the loop's next turn.

uvicorn adds the fields that follow a chunked body to the headers, if it has them before the headers are read. A proxy that sets a header of
ours, or takes it out, looks at no such field.

uvicorn waits at its end for answers that are under way. One to a GET may be a client that only listens: its scope has an event that is set
when the server ends.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ENDING: Final = "bylaw.ending"  # the extension of a GET's scope; its `event` is an asyncio.Event


class OneWrite(HttpToolsProtocol):
    """uvicorn's protocol on such a transport."""

    ending: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there."""
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type]  # a transport in all that it is asked for

    def on_headers_complete(self) -> None:
        """The headers are these, and no more of them."""
        self.scope["headers"] = [*self.headers]
        super().on_headers_complete()
        if self.scope["method"] == "GET":
            self.ending = self.ending or asyncio.Event()
            self.scope["extensions"] = {ENDING: {"event": self.ending}}

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        if self.ending is not None:
            self.ending.set()


class _Joining:
    """A transport that holds a head back until the next write, or the loop's next turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, together with the head that waits; or let a head wait."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close, once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self._transport.is_closing():  # else the client has gone meanwhile
                self._transport.write(head)
