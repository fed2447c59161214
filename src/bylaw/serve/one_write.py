"""The server's HTTP protocol, with three differences.

A head leaves in one write with its body, what follows a body is no header, and an answer that never ends learns that the server does.

uvicorn writes a head when it is told of it, and the body when it is told of that: two system calls, two packets, and a client that wakes up
twice for one answer. A head that no body follows at once, as of a stream, leaves at the loop's next turn.

uvicorn adds the fields that follow a chunked body to the headers, if it has them before the headers are read. A proxy that sets a header of
ours, or takes it out, looks at no such field.

uvicorn waits at its end for answers that are under way, and takes what is sent to a client that is gone without a word. Who only listens,
or is told something before its answer, can do with neither: so a request's scope says what has become of its connection.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION: Final = "bylaw.connection"  # the extension of a scope; its `is` is a Connection


@dataclass(slots=True)
class Connection:
    """A client's connection."""

    abort: Callable[[], None]
    lost: bool = False
    ending: Callable[[], None] | None = None  # called when the server ends, if a request is still being read then
    over: asyncio.Event = field(default_factory=asyncio.Event)  # it is lost, or the server ends


class OneWrite(HttpToolsProtocol):
    """uvicorn's protocol on such a transport."""

    connection: Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there."""
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type]  # a transport in all that it is asked for
        self.connection = Connection(transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.connection.lost = True
        self.connection.over.set()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """The headers are these, and no more of them."""
        self.scope["headers"] = [*self.headers]
        self.scope["extensions"] = {CONNECTION: {"is": self.connection}}
        super().on_headers_complete()

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        self.connection.over.set()
        if self.connection.ending is not None:
            self.connection.ending()


def connection_of(scope: Mapping[str, Any]) -> Connection:
    """The connection that a request came by; one that is never lost, where the server does not say."""
    said = scope.get("extensions", {}).get(CONNECTION)
    return said["is"] if said else Connection(lambda: None)


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
            self._transport.write(head + data)  # not writelines: asyncio since 3.12 turns for ever where a piece is empty
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
