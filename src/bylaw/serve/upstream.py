"""The model's side: an HTTP client with bounds. Redirects are not followed, and no more is read than was agreed.

Kept behind three methods, so that another client can take its place.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDictProxy

from bylaw.errors import ModelError
from bylaw.serve import web
from bylaw.serve.address import REST_S
from bylaw.serve.wire import MAX_REPLY_BYTES

SILENCE_S: Final = 120.0  # without a byte
TOTAL_S: Final = 900.0
HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SENT_ON: Final = frozenset({b"openai-beta", b"anthropic-beta", b"anthropic-version", b"traceparent", b"x-request-id"})
SENT_ON_ALL: Final = b"x-stainless-"  # a prefix: what a client's library says of itself
OWN: Final = frozenset(  # where a client has an account of its own at the upstream
    {b"authorization", b"x-api-key", b"idempotency-key", b"openai-organization", b"openai-project", b"anthropic-workspace-id"}
)
GIVEN_BACK: Final = ("openai-", "anthropic-", "x-ratelimit-", "x-request-id", "request-id", "retry-after")
OURS: Final = b"bylaw_"  # in every key of a gateway, and in no other: it goes to nobody
_MARK: Final = re.compile(r"[!-~]{1,256}|[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")  # a word, or a date; no text


class UpstreamTrouble(Exception):  # noqa: N818  # becomes an answer of the route
    """The model could not be asked: the status a client gets, and why."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status
        self.what = what


class Answered(NamedTuple):
    """A whole reply of the upstream."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Streaming(Protocol):
    """A reply of the upstream whose body is still coming."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it comes."""

    async def rest(self) -> bytes:
        """All of the body."""


@dataclass(slots=True)
class _Live:
    status: int
    headers: list[tuple[bytes, bytes]]
    reply: aiohttp.ClientResponse

    async def pieces(self) -> AsyncIterator[bytes]:
        size = 0
        while piece := await self._more():
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise UpstreamTrouble(502, "the model's reply is too long")
            yield piece

    async def rest(self) -> bytes:
        pieces, size = [], 0
        while piece := await self._more():
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise UpstreamTrouble(502, "the model's reply is too long")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _more(self) -> bytes:
        try:
            return await self.reply.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _trouble(error) from error


class Upstream:
    """An OpenAI- or Anthropic-compatible server. Opened on the event loop that uses it."""

    def __init__(self, url: str, key: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise ModelError(f"the upstream {url!r} is no http(s) address", "Name it like --upstream https://api.openai.com/v1")
        self._url = url.rstrip("/").removesuffix("/v1")
        self._key = key
        self._proxy = _proxy(self._url)  # looked up once: aiohttp would ask in a thread for every request
        self._client: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = web.client(REST_S[urlsplit(self._url).scheme], SILENCE_S, TOTAL_S)
        return self._client

    def headers(self, client: Mapping[bytes, bytes], path: str, keyed: bool) -> dict[str, str]:
        """What is sent on of a client's headers. A client's key goes on only where it is not one of ours (`keyed`).

        Nor does its idempotency key then, nor its choice of an organisation, a project or a workspace: on an account that several share,
        the one could name somebody else's answer, the other where all is billed and kept.
        """
        on, shared = {"content-type": "application/json"}, bool(self._key or keyed)
        for name, value in client.items():
            if name in SENT_ON or name.startswith(SENT_ON_ALL) or (name in OWN and not (shared or OURS in value)):
                on[name.decode("latin-1")] = value.decode("latin-1")
        if self._key:
            on |= {"x-api-key": self._key} if path.startswith("/v1/messages") else {"authorization": f"Bearer {self._key}"}
        return on

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Ask, and wait for the whole reply."""
        reply = await self._request("POST", path, body, headers)
        try:
            return Answered(reply.status, _given_back(reply.headers), await _Live(reply.status, [], reply).rest())
        finally:
            reply.release() if reply.content.is_eof() else reply.close()

    @asynccontextmanager
    async def stream(self, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> AsyncIterator[Streaming]:
        """Ask, and read the reply as it comes."""
        reply = await self._request(method, path, body, headers)
        try:
            yield _Live(reply.status, _given_back(reply.headers), reply)
        finally:
            reply.release() if reply.content.is_eof() else reply.close()

    async def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = self._url + path
        try:
            reply = await self._open().request(method, url, data=body or None, headers=headers, allow_redirects=False, proxy=self._proxy)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _trouble(error) from error
        if 300 <= reply.status < 400:
            reply.close()
            raise UpstreamTrouble(502, "the model's server answers with a redirect, which is not followed")
        return reply

    async def close(self) -> None:
        """Let go of all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None
            await asyncio.sleep(0)  # lets transports close


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this address, if it does."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname in HERE or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _given_back(headers: "CIMultiDictProxy[str]") -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("ascii"), value.encode("ascii"))
        for name, value in headers.items()
        if name.lower().startswith(GIVEN_BACK) and _MARK.fullmatch(name) and _MARK.fullmatch(value)
    ]


def _trouble(error: BaseException) -> UpstreamTrouble:
    if isinstance(error, TimeoutError):
        return UpstreamTrouble(504, "the model's server did not answer in time")
    return UpstreamTrouble(502, f"the model's server cannot be reached, or broke off ({type(error).__name__})")
