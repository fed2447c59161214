"""The HTTP client towards models: connections are kept, cookies are not, and silence has an end."""

from typing import Final

import aiohttp

CONNECT_S: Final = 10.0
MAX_CONNECTIONS: Final = 1_000


def client(rest_s: float, silence_s: float, total_s: float) -> aiohttp.ClientSession:
    """A client of the event loop that asks for it.

    A connection is used again within `rest_s`; `silence_s` is the longest without a byte, `total_s` the longest of a whole reply.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=rest_s),
        timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S, sock_read=silence_s),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
