"""The HTTP client towards models and MCP servers: connections are kept, cookies are not, and silence has an end."""

from typing import Final

import aiohttp

CONNECT_S: Final = 10.0
IDLE_S: Final = 30  # how long a connection is kept
MAX_CONNECTIONS: Final = 1_000


def client(silence_s: float, total_s: float | None = None) -> aiohttp.ClientSession:
    """A client of the event loop that asks for it. `silence_s` is the longest without a byte, `total_s` the longest of a whole reply."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S),
        timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S, sock_read=silence_s),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
