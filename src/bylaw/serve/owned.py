"""Whose it is what the upstream keeps (responses, items, conversations, containers, files, sound): theirs who got it, and nobody else's.

All who come through a gateway share one account of its upstream, in which everybody could name everybody's stored response and so read it.
So an id leaves as `ID.TAG`: an HMAC over it and its owner, under a secret that all gateways on one store share. Nothing is written for it,
and the upstream is sent the id alone. An id without its owner's tag is refused; of an item that stands in the request as a whole the id is
left out instead. `x-stored: shared` in `policy.yaml` lets everybody name everything.

Not bound are ids by which nothing is read back here (calls), and what an operator keeps for all (`prompt`, `vector_store_ids`).
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from bylaw.serve.wire import BadBody, JsonMap
from bylaw.store import secret_rows
from bylaw.store.database import Store

PURPOSE: Final = "ids of the upstream"
TAG_CHARS: Final = 22  # 128 bits
MAX_CHARS: Final = 300  # of an id with its tag
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
WHOLE: Final = frozenset(
    {"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}
)  # items that say all themselves
FORMS: Final = frozenset({"parameters", "input_schema", "schema", "metadata", "arguments"})  # in which no id of the upstream stands
Name = Callable[[str], str]  # an id as its owner gets it


class Owned:
    """Binds ids to their owners, under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def given(self, owner: str, name: str) -> str:
        """An id as this owner gets it."""
        return f"{name}.{self._tag(owner, name)}"

    def taken(self, owner: str, text: Any, where: str) -> str:
        """The upstream's id of what was given to this owner; raises BadBody for everything else."""
        if isinstance(text, str) and len(text) <= MAX_CHARS:
            name, _, tag = text.rpartition(".")
            if hmac.compare_digest(tag.encode("utf-8", "surrogatepass"), self._tag(owner, name).encode()):
                return name
        raise BadBody(f"`{where}` names something that this gateway did not give to you; send what it says in the request instead", where)

    def _tag(self, owner: str, name: str) -> str:
        said = f"{len(owner)}:{owner}{name}".encode("utf-8", "surrogatepass")
        return urlsafe_b64encode(hmac.digest(self._secret, said, sha256)).decode()[:TAG_CHARS]

    # ---- What goes in -------------------------------------------------------------------------------------------------

    def admit(self, path: str, body: JsonMap, owner: str) -> None:
        """Put the upstream's own ids into a request, in the place of those that its owner was given; raises BadBody."""
        if path == RESPONSES:
            if body.get("previous_response_id") is not None:
                body["previous_response_id"] = self.taken(owner, body["previous_response_id"], "previous_response_id")
            if body.get("conversation") is not None:
                held = body["conversation"]
                name = self.taken(owner, held.get("id") if isinstance(held, dict) else held, "conversation")
                body["conversation"] = {**held, "id": name} if isinstance(held, dict) else name
            for key in ("input", "instructions"):
                for at, item in enumerate(body[key] if isinstance(body.get(key), list) else ()):
                    if isinstance(item, dict) and item.get("id") is not None:
                        self._item(item, f"{key}[{at}].id", owner)
        self._walk(body, owner)

    def _item(self, item: JsonMap, where: str, owner: str) -> None:
        try:
            item["id"] = self.taken(owner, item["id"], where)
        except BadBody:
            kind = item.get("type")
            if (kind if isinstance(kind, str) else "message" if "role" in item else "") not in WHOLE:
                raise
            del item["id"]

    def _walk(self, value: Any, owner: str) -> None:
        """Files and containers, wherever a request names them."""
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, list):
                waiting += one
            elif isinstance(one, dict):
                for key, inner in one.items():
                    if inner is None or key in FORMS or (key == "input" and isinstance(inner, dict)):
                        continue
                    if key in ("file_id", "container_id") or (key == "container" and isinstance(inner, str)):
                        one[key] = self.taken(owner, inner, key)
                    elif key == "file_ids" and isinstance(inner, list):
                        one[key] = [self.taken(owner, name, key) for name in inner]
                    elif key in ("container", "audio") and isinstance(inner, dict) and inner.get("id") is not None:
                        inner["id"] = self.taken(owner, inner["id"], key)
                        waiting.append(inner)
                    else:
                        waiting.append(inner)

    # ---- What comes out -----------------------------------------------------------------------------------------------

    def naming(self, owner: str) -> Name:
        """How ids are given out in one reply."""
        known: dict[str, str] = {}

        def name(plain: str) -> str:
            if plain not in known:
                known[plain] = self.given(owner, plain)
            return known[plain]

        return name


def concerned(path: str, raw: bytes) -> bool:
    """Whether a request may name what is kept, or its reply may; few chats do. A name of a field can be written in escapes."""
    return path in (RESPONSES, MESSAGES) or any(word in raw for word in (b"file_id", b"container", b"audio", b"\\u"))


def named(path: str, body: JsonMap, name: Name) -> JsonMap:
    """A whole reply with its ids as its owner gets them."""
    if path == RESPONSES:
        return response(body, name)
    return message(body, name) if path == MESSAGES else chat(body, name)


def chat(body: JsonMap, name: Name) -> JsonMap:
    """A chat: of what it says, only sound is kept by the upstream."""
    return {**body, "choices": [{**one, "message": _with_ids(one["message"], "audio", name)} for one in body["choices"]]}


def response(body: Mapping[str, Any], name: Name) -> JsonMap:
    """A response, or as much of it as there is."""
    made = _ids(body, name, "id", "previous_response_id")
    if isinstance(made.get("output"), list):
        made["output"] = [item(one, name) for one in made["output"]]
    return made


def item(one: Any, name: Name) -> Any:
    """An item of a response."""
    if not isinstance(one, dict):
        return one
    made = _ids(one, name, "id", "container_id")
    if made.get("type") == "message" and isinstance(made.get("content"), list):
        made["content"] = [part(inner, name) for inner in made["content"]]
    return made


def part(one: Any, name: Name) -> Any:
    """A part of a message: its annotations name containers and files."""
    if not isinstance(one, dict) or not isinstance(one.get("annotations"), list) or not one["annotations"]:
        return one
    notes = [_ids(note, name, "container_id", "file_id") if isinstance(note, dict) else note for note in one["annotations"]]
    return {**one, "annotations": notes}


def message(body: Mapping[str, Any], name: Name) -> JsonMap:
    """A message: of what it says, only its container is kept by the upstream."""
    return _with_ids(body, "container", name)


def _with_ids(value: Mapping[str, Any], key: str, name: Name) -> JsonMap:
    held = value.get(key)
    return {**value, key: _ids(held, name, "id")} if isinstance(held, dict) else dict(value)


def _ids(value: Mapping[str, Any], name: Name, *keys: str) -> JsonMap:
    return {key: name(one) if key in keys and isinstance(one, str) and one else one for key, one in value.items()}


def opened(store: Store) -> Owned:
    """By the secret of a store; raises StoreError."""
    return Owned(secret_rows.shared(store, PURPOSE))
