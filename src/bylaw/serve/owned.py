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
IDS: Final = frozenset({"file_id", "container_id", "approval_request_id"})
Place = tuple[str, ...]  # up to three names of fields that lead to a value; fewer than three: from the top
VARIABLES: Final = ("prompt", "variables")  # whose keys are names that the prompt's author chose
WITHIN: Final = ("", "", "", "")  # anywhere in the value of a variable
HELD: Final = (("container",), ("audio",))  # what has its id inside it
Change = Callable[[Any, str], Any]  # an id, and the field it stands in; what is put in its place
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

    def admit(self, path: str, body: JsonMap, owner: str, shared: bool = False) -> None:
        """Put the upstream's own ids into a request, in place of what its owner was given; raises BadBody. `shared`: all others pass."""

        def take(text: Any, where: str) -> Any:
            try:
                return self.taken(owner, text, where)
            except BadBody:
                if shared:
                    return text
                raise

        if path == RESPONSES:
            if body.get("previous_response_id") is not None:
                body["previous_response_id"] = take(body["previous_response_id"], "previous_response_id")
            if body.get("conversation") is not None:
                held = body["conversation"]
                name = take(held.get("id") if isinstance(held, dict) else held, "conversation")
                body["conversation"] = {**held, "id": name} if isinstance(held, dict) else name
            for key in ("input", "instructions"):
                for at, item in enumerate(body[key] if isinstance(body.get(key), list) else ()):
                    if isinstance(item, dict) and item.get("id") is not None:
                        _item(item, f"{key}[{at}].id", take)
        body.update(changed(body, take))

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
    return path in (RESPONSES, MESSAGES) or b"file_id" in raw or b"container" in raw or b"audio" in raw or b"\\u" in raw


# ---- Where ids stand -----------------------------------------------------------------------------------------------------


def changed(top: Mapping[str, Any], change: Change) -> JsonMap:
    """A copy, with every id of a file, a container, sound or a question changed, wherever a request or a reply names it."""
    made = dict(top)
    waiting: list[tuple[JsonMap | list[Any], Place]] = [(made, ())]
    while waiting:
        one, place = waiting.pop()
        if isinstance(one, list):
            within = WITHIN if place == VARIABLES else place
            for at, inner in enumerate(one):
                if isinstance(inner, dict | list):
                    one[at] = held = inner.copy()
                    waiting.append((held, within))
            continue
        for key, inner in one.items():
            if inner is None or (place not in (VARIABLES, WITHIN) and _is_form(one, key, place)):
                continue
            if _is_id(key, inner, place):
                one[key] = change(inner, place[-1] if key == "id" else key)
            elif key == "file_ids" and place != VARIABLES:
                one[key] = [change(name, key) for name in inner] if isinstance(inner, list) else change(inner, key)
            elif isinstance(inner, dict | list):
                one[key] = held = inner.copy()
                waiting.append((held, WITHIN if place in (VARIABLES, WITHIN) else (*place, key)[-3:]))
    return made


def _is_id(key: str, value: Any, place: Place) -> bool:
    if place == VARIABLES:
        return False
    return key in IDS or (key == "container" and isinstance(value, str)) or (key == "id" and place[-1:] in HELD)


def _is_form(one: JsonMap, key: str, place: Place) -> bool:
    """Whether a field holds what a client, a model or a tool's server made up: the upstream reads and writes no id of its own in it."""
    under, kind = place[-1] if place else "", one.get("type")
    kind = kind if isinstance(kind, str) and place else ""
    if key in ("parameters", "input_schema", "input_examples", "annotations"):
        return under in ("tools", "function", "functions")
    if key in ("arguments", "action"):
        return under in ("function", "function_call") or kind.endswith("_call") or kind == "mcp_approval_request"
    if key == "input":
        return kind.endswith("tool_use") and isinstance(one[key], dict)
    if key in ("metadata", "response_format", "output_format"):
        return not place
    if key == "format":
        return place in (("text",), ("output_config",))
    return (key == "tools" and kind == "mcp_list_tools") or (key == "attributes" and under == "results")


def _item(item: JsonMap, where: str, take: Change) -> None:
    try:
        item["id"] = take(item["id"], where)
    except BadBody:
        kind = item.get("type")
        if (kind if isinstance(kind, str) else "message" if "role" in item else "") not in WHOLE:
            raise
        del item["id"]


# ---- A reply -------------------------------------------------------------------------------------------------------------


def named(path: str, body: Mapping[str, Any], name: Name) -> JsonMap:
    """A reply with its ids as its owner gets them, or as much of it as there is."""
    made = changed(body, lambda plain, _: _given(plain, name))
    if path == RESPONSES:
        _name(made, name, "id", "previous_response_id")
        for item in made["output"] if isinstance(made.get("output"), list) else ():
            _name(item, name, "id")
    return made


def event(content: Mapping[str, Any], name: Name) -> JsonMap:
    """An event of a stream of `/v1/responses`, with its ids as their owner gets them."""
    rest = {key: value for key, value in content.items() if key != "response"}
    made = changed(rest, lambda plain, _: _given(plain, name))
    _name(made, name, "item_id")
    _name(made.get("item"), name, "id")
    return {**made, "response": named(RESPONSES, content["response"], name)} if "response" in content else made


def _name(value: Any, name: Name, *keys: str) -> None:
    for key in keys if isinstance(value, dict) else ():
        if key in value:
            value[key] = _given(value[key], name)


def _given(plain: Any, name: Name) -> Any:
    return name(plain) if isinstance(plain, str) and plain else plain


def opened(store: Store) -> Owned:
    """By the secret of a store; raises StoreError."""
    return Owned(secret_rows.shared(store, PURPOSE))
