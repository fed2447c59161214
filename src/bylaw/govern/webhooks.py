"""A webhook that rings: signed as standardwebhooks.com says, sent only where the operator allowed it, and never led elsewhere.

What keeps it from being turned against the house it stands in (SSRF): the host must be on the list; HTTPS, unless the list says otherwise
for that host; the address is looked up once, refused where it is not public (unless allowed for that host), and that very address is
connected to, so that a second lookup cannot give another; no redirect is followed, no proxy is asked, the answer is not read on.
"""

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bylaw.errors import StoreError

TIMEOUT_S: Final = 5.0  # for each thing that is waited for
WHOLE_S: Final = 10.0  # for all of an exchange
MIN_SECRET_BYTES: Final = 24  # the scheme asks for 24 to 64
MAX_SECRET_BYTES: Final = 64
SECRET: Final = "whsec_"
HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

Lookup = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to ring."""

    url: str
    secret: str = field(repr=False)  # whsec_ and base64 of 24 to 64 bytes
    hosts: frozenset[str]  # the only hosts it may go to
    inside: bool = False  # the operator's word that a private address and plain HTTP are meant

    def __post_init__(self) -> None:
        """Refuse what could never be sent, when it is set up and not when it rings."""
        target(self)
        key_of(self.secret)


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL, taken apart."""

    secure: bool
    host: str
    port: int
    path: str


def target(hook: Webhook) -> Target:
    """Where a webhook goes; raises StoreError on what is not allowed."""
    try:
        parts = urlsplit(hook.url)
        port = parts.port
    except ValueError as error:
        raise StoreError("the webhook's URL cannot be read", "Write https://HOST/PATH.") from error
    host = (parts.hostname or "").lower()
    plain = not hook.url.isprintable() or not hook.url.isascii() or " " in hook.url
    if plain or parts.username or parts.password or not HOST.fullmatch(host) or parts.scheme not in ("https", "http"):
        raise StoreError("the webhook's URL must be https://HOST/PATH, without a user or a password", "What signs it is the secret.")
    if host not in {one.lower() for one in hook.hosts}:
        raise StoreError(f"the webhook's host {host} is not on the list of allowed hosts", "Add it to the list, if it is meant.")
    if parts.scheme == "http" and not hook.inside:
        raise StoreError("the webhook's URL must be https", "Plain http is for a host inside that is allowed as such.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), path)


def key_of(secret: str) -> bytes:
    """The bytes that sign."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET), validate=True)
    except ValueError as error:
        raise StoreError("the webhook's secret must be whsec_ and base64", 'Make one: echo "whsec_$(openssl rand -base64 32)"') from error
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise StoreError(
            f"the webhook's secret must have {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes",
            'Make one: echo "whsec_$(openssl rand -base64 32)"',
        )
    return key


def signed(hook: Webhook, message: str, time_s: int, body: bytes) -> dict[str, str]:
    """The headers that show who sent it, when, and that nothing was changed: HMAC-SHA256 over `id.timestamp.body`."""
    mark = hmac.new(key_of(hook.secret), f"{message}.{time_s}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "bylaw",
        "webhook-id": message,
        "webhook-timestamp": str(time_s),
        "webhook-signature": f"v1,{base64.b64encode(mark).decode()}",
    }


def send(hook: Webhook, message: str, time_s: int, said: Mapping[str, Any], lookup: Lookup | None = None) -> str:
    """Ring once. Empty where it was heard (2xx), else why not. Raises nothing that the network can cause."""
    to = target(hook)
    body = json.dumps(said, sort_keys=True).encode()
    try:
        address = _address(to, hook.inside, lookup or _looked_up)
        if not address:
            return f"{to.host} has no address that may be rung"
        with _connected(to, address) as connection:
            line = http.client.HTTPConnection(to.host, to.port, timeout=TIMEOUT_S)
            line.sock = connection  # ours, to the address that was checked; never connected anew
            line.auto_open = 0
            with _ended_after(connection, WHOLE_S):
                line.request("POST", to.path, body, signed(hook, message, time_s, body))
                status = line.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{to.host}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return "" if 200 <= status < 300 else f"{to.host} answered {status}"


def _address(to: Target, inside: bool, lookup: Lookup) -> str:
    """The first address of a host; none where any of them is not public, unless that is allowed."""
    found = lookup(to.host, to.port)
    return found[0] if found and (inside or all(_public(one) for one in found)) else ""


def _public(address: str) -> bool:
    one = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(one, "ipv4_mapped", None) or getattr(one, "sixtofour", None) or one
    return bool(one.is_global and inner.is_global and not one.is_multicast and not one.is_reserved)


def _looked_up(host: str, port: int) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@contextmanager
def _ended_after(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Cut the line after so long: a listener that answers one byte at a time would else hold the bell for days."""

    def cut() -> None:
        with suppress(OSError):  # it has ended by itself
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _connected(to: Target, address: str) -> socket.socket:
    raw = socket.create_connection((address, to.port), timeout=TIMEOUT_S)
    if not to.secure:
        return raw
    try:
        return ssl.create_default_context().wrap_socket(raw, server_hostname=to.host)
    except BaseException:
        raw.close()
        raise
