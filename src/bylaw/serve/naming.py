"""Which session a request belongs to, so that all turns of one conversation are one session.

In this order: the name that the client gives (`x-bylaw-session`); the session of the reply that the turn follows; the conversation that the
upstream keeps; else the first message of a user, which every later turn repeats. Where there is none of these nobody can tell, and the
session is unread. To take two conversations for one is safe, as sums only grow; to take one for two is not: so nothing tells conversations
apart that may change on the way, such as a system text or the model.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from bylaw.govern.session import UNREAD
from bylaw.serve.gate import Gate, Who
from bylaw.serve.sessions import Session
from bylaw.serve.wire import Asked

MAX_CHARS: Final = 100  # of a name that a client gives


async def session_of(gate: Gate, who: Who, asked: Asked, headers: Mapping[bytes, bytes], stored: bool) -> Session:
    """The session of a request; raises StoreError. `stored`: a condition reads it, so that the store knows what memory does not."""
    name = given(headers)
    if not name and asked.previous:
        name = await gate.sessions.following(who.owner, asked.previous, stored)
    if not name:
        begin = sha256("\0".join(asked.opening).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        name = begin if asked.opening else f"{UNREAD}no-user"
    return gate.sessions.of(who.owner, name)


def given(headers: Mapping[bytes, bytes]) -> str:
    """The name that the client gives; empty: none that can be read."""
    name = headers.get(b"x-bylaw-session", b"").decode("latin-1")[:MAX_CHARS]
    return name if name.isascii() and name.isprintable() else ""


def talk(asked: Asked, headers: Mapping[bytes, bytes]) -> str:
    """By what a conversation is known without asking anybody; empty where a turn only names the reply before it."""
    return given(headers) or ("" if asked.previous else "\0".join(asked.opening))


def begins(asked: Asked, headers: Mapping[bytes, bytes]) -> bool:
    """Whether this is the first turn of a conversation that has the name of all that begin alike."""
    kept = asked.previous or asked.opening[:1] == ("conversation",)
    return not (given(headers) or kept or any(text.role == "assistant" for text in asked.texts))
