"""Where a server over HTTP is: an address, read once, as a request to it needs it."""

import base64
import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

PORTS: Final = {"http": 80, "https": 443}
# How long a connection at rest is used again, in seconds. A server by itself closes it after 5 (uvicorn, Node), perhaps just as a request
# leaves, and nobody can tell then whether that has run; where there is TLS, a proxy mostly stands before it, which waits for a minute.
REST_S: Final = {"http": 4.0, "https": 30.0}
_SAFE: Final = "/%:@!$&'()*+,;=~-._?"
_CONTROLS: Final = re.compile(r"[\x00-\x20\x7f]")


class Address(NamedTuple):
    """Where a server is, as a request line and a `Host` need it."""

    tls: bool
    host: str
    port: int
    head: bytes  # what stands in every request to it after the method: the target, and the first header lines


@lru_cache(maxsize=256)
def address(url: str) -> Address:
    """Read an http(s) address; raises ValueError. A name and a password in it become `Authorization: Basic` (RFC 7617)."""
    if _CONTROLS.search(url):
        raise ValueError("it has a blank or a control character")
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("it does not begin with http:// or https:// and a host")
    if parts.port == 0:
        raise ValueError("nobody is at port 0")
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
    named, usual = f"[{host}]" if ":" in host else host, PORTS[parts.scheme]
    port = parts.port or usual
    lines = [f"host: {named}" if port == usual else f"host: {named}:{port}", "user-agent: bylaw", "accept-encoding: identity"]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        lines.append(f"authorization: Basic {base64.b64encode(pair).decode()}")
    target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")
    head = "".join(f"{line}\r\n" for line in lines)
    return Address(parts.scheme == "https", host, port, f"{target} HTTP/1.1\r\n{head}".encode())
