"""MCP as JSON-RPC 2.0 on the wire: one message read strictly, what a request says of itself, and what is answered.

Spoken are the protocol of 2026-07-28 (no session, every request carries version and capabilities in `_meta`) and those before it, which
begin with `initialize`. A batch, a message that is no JSON-RPC, or one too large or too deep is refused with a JSON-RPC error. Our own
serialisation is sent on, so that what was judged is what is sent.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import orjson

from bylaw.serve.wire import MAX_DEPTH, JsonMap, too_deep

MODERN: Final = "2026-07-28"
OLDER: Final = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
VERSION: Final = b"mcp-protocol-version"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"
PARAM: Final = b"mcp-param-"
SESSION: Final = b"mcp-session-id"
NAMED: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}  # whose `Mcp-Name` says what

PARSE: Final = -32700
INVALID: Final = -32600
NO_METHOD: Final = -32601
PARAMS: Final = -32602
INTERNAL: Final = -32603
MISMATCH: Final = -32020
NO_VERSION: Final = -32022
WITHHELD: Final = -32010  # ours: the policy does not let it through
STATUS: Final[Mapping[int, int]] = {PARSE: 400, INVALID: 400, PARAMS: 400, MISMATCH: 400, NO_VERSION: 400, NO_METHOD: 404}

MAX_MESSAGE_BYTES: Final = 16 << 20
MAX_ID_CHARS: Final = 200
MAX_QUESTIONS: Final = 100  # of one server that its client has not answered
MAX_PARAM_HEADERS: Final = 64
_BASE64: Final = re.compile(r"=\?base64\?(?P<payload>.*)\?=")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

Id = str | int
Kind = Literal["request", "notification", "response"]


class Rpc(Exception):  # noqa: N818  # becomes an answer
    """A request that is answered with a JSON-RPC error."""

    def __init__(self, code: int, text: str, told: Any = None, to: Id | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.told = told
        self.to = to

    @property
    def error(self) -> JsonMap:
        """The error object."""
        return {"code": self.code, "message": self.text, **({"data": self.told} if self.told is not None else {})}


class Gone(Rpc):
    """A request that was sent, and of which nobody will learn how it ended."""


def read(line: bytes | bytearray) -> JsonMap:
    """One message; raises Rpc."""
    if len(line) > MAX_MESSAGE_BYTES:
        raise Rpc(INVALID, f"a message may have {MAX_MESSAGE_BYTES} bytes")
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Rpc(PARSE, "this is not JSON") from None
    if isinstance(message, list):
        raise Rpc(INVALID, "batches are not taken: send one message at a time")
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Rpc(INVALID, "this is no JSON-RPC 2.0 message")
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and too_deep(message):
        raise Rpc(INVALID, f"a message is nested at most {MAX_DEPTH} levels deep", to=id_of(message))
    return message


def kind_of(message: JsonMap) -> Kind:
    """What a message is; raises Rpc where it is none of the three."""
    method, has_id = message.get("method"), "id" in message
    if isinstance(method, str) and not ("result" in message or "error" in message):
        if has_id and id_of(message) is None:
            raise Rpc(INVALID, "an id is a text or a whole number")
        if not isinstance(message.get("params", {}), dict):
            raise Rpc(INVALID, "params must be an object", to=id_of(message))
        return "request" if has_id else "notification"
    if method is None and has_id and ("result" in message) != ("error" in message):
        return "response"
    raise Rpc(INVALID, "neither a request, nor a notification, nor a response", to=id_of(message))


def id_of(message: Any) -> Id | None:
    """A message's id, if it has one that can be answered to."""
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, str):
        return found if len(found) <= MAX_ID_CHARS else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def answer(to: Id | None, said: JsonMap) -> JsonMap:
    """A response: `said` has `result` or `error`."""
    return {"jsonrpc": "2.0", "id": to, **said}


def params_of(message: JsonMap) -> JsonMap:
    """The parameters of a request."""
    found = message.get("params")
    return found if isinstance(found, dict) else {}


def meta_of(params: JsonMap) -> JsonMap:
    """What a request says of itself."""
    found = params.get("_meta")
    return found if isinstance(found, dict) else {}


def is_modern(message: JsonMap) -> bool:
    """Whether a request carries its own version, as since 2026-07-28; raises Rpc where it names one that is not spoken here."""
    if message.get("method") == "initialize":
        return False
    version = meta_of(params_of(message)).get(VERSION_KEY)
    if version is None or version in OLDER:
        return False
    if version != MODERN:
        raise Rpc(NO_VERSION, "Unsupported protocol version", {"supported": [MODERN], "requested": str(version)[:100]}, id_of(message))
    return True


def takes_forms(capabilities: Any) -> bool:
    """Whether a client says that it can put a form before its user."""
    said = capabilities.get("elicitation") if isinstance(capabilities, dict) else None
    return isinstance(said, dict) and ("form" in said or not said)


# ---- Headers ---------------------------------------------------------------------------------------------------------


def agree(headers: list[tuple[bytes, bytes]], message: JsonMap) -> None:
    """Hold the headers of a request to its body, as whoever routes by them has seen them; raises Rpc."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in (VERSION, METHOD, NAME):
            if name in found:
                raise Rpc(MISMATCH, f"{name.decode()} stands there twice", to=id_of(message))
            found[name] = value.decode("latin-1")
    params, method = params_of(message), message.get("method")
    modern = is_modern(message)
    version = meta_of(params).get(VERSION_KEY) if modern else None
    if (modern or found.get(VERSION) == MODERN) and found.get(VERSION) != version:
        raise Rpc(MISMATCH, "the header MCP-Protocol-Version and the body name different versions", to=id_of(message))
    if (modern or METHOD in found) and found.get(METHOD) != method:
        raise Rpc(MISMATCH, "the header Mcp-Method and the body name different methods", to=id_of(message))
    key = NAMED.get(str(method))
    if key and (modern or NAME in found) and decoded(found.get(NAME)) != params.get(key):
        raise Rpc(MISMATCH, f"the header Mcp-Name and the body's `{key}` differ", to=id_of(message))


def routing(method: str, params: JsonMap) -> dict[str, str]:
    """The headers of a request that is sent on, made from the body that is sent."""
    key = NAMED.get(method)
    named = {"mcp-name": encoded(str(params.get(key, "")))} if key else {}
    return {"mcp-protocol-version": MODERN, "mcp-method": method, **named}


def encoded(value: str) -> str:
    """A text as a header's value."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _BASE64.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'replace')).decode()}?="


def decoded(value: str | None) -> str | None:
    """A header's value as a text; None where it is none."""
    wrapped = _BASE64.fullmatch(value) if value is not None else None
    if wrapped is None:
        return value
    try:
        content = base64.b64decode(wrapped["payload"], validate=True)
        return content.decode() if base64.b64encode(content).decode() == wrapped["payload"] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def mirrored(schema: Any, args: Mapping[str, Any]) -> dict[str, str]:
    """The `Mcp-Param-*` headers that a tool's schema (`x-mcp-header`) makes of these arguments."""
    found: dict[str, str] = {}
    for token, value in _annotated(schema, args, MAX_DEPTH):
        if value is None or not isinstance(value, str | int | float) or len(found) >= MAX_PARAM_HEADERS:
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        found[f"mcp-param-{token.lower()}"] = encoded(text)
    return found


def mirrors_any(schema: Any) -> bool:
    """Whether a tool's schema wants any of its arguments in headers."""
    return any(True for _ in _annotated(schema, {}, MAX_DEPTH))


def mirrors(headers: list[tuple[bytes, bytes]], wanted: Mapping[str, str], to: Id | None) -> None:
    """Hold a client's `Mcp-Param-*` headers to the arguments; raises Rpc. One that no schema asks for goes no further."""
    told: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(PARAM):
            if name.decode("latin-1") in told:
                raise Rpc(MISMATCH, "an Mcp-Param header stands there twice", to=to)
            told[name.decode("latin-1")] = value.decode("latin-1")
    for token, text in told.items():
        if token in wanted and decoded(text) != decoded(wanted[token]):
            raise Rpc(MISMATCH, f"the header {token} and the arguments differ", to=to)


def _annotated(schema: Any, args: Any, depth: int) -> Iterator[tuple[str, Any]]:
    fields = schema.get("properties") if isinstance(schema, dict) and depth else None
    for name, inner in fields.items() if isinstance(fields, dict) else ():
        value = args.get(name) if isinstance(args, dict) else None
        token = inner.get("x-mcp-header") if isinstance(inner, dict) else None
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            yield token, value
        yield from _annotated(inner, value, depth - 1)
