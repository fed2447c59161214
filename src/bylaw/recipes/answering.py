"""A target behind an OpenAI-compatible address on this machine, so that a gateway can stand before a script or anything else that answers.

One request, one answer, no stream. It listens on a free port of 127.0.0.1 for as long as the block runs, and is for measuring only:
`bylaw serve --model` runs weights. A conversation without a reply gets status 422 and says why.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from bylaw.evals.targets import Conversation, Said, Target
from bylaw.types import Message

MAX_BODY_BYTES: Final = 8 << 20
UNPROCESSABLE: Final = 422
OK: Final = 200


@contextmanager
def served(target: Target) -> Iterator[str]:
    """The base URL at which a target answers."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            status, found = answered(target, self.rfile.read(length)) if length <= MAX_BODY_BYTES else _refusal("the request is too large")
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, name="bylaw-answering", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answered(target: Target, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and value of the reply to one request."""
    try:
        conversation = _asked(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _refusal("the request is no chat completion")
    (said,) = target.ask([conversation])
    return _refusal(said.fault or "no reply") if said.missing else (OK, completion(said))


def _asked(body: Mapping[str, Any]) -> Conversation:
    told = [(one["role"], _text(one.get("content")), bool(one.get("tool_calls"))) for one in body["messages"]]
    messages = tuple(Message(role, text) for role, text, calls in told if text or not calls)  # a call that a result needs on the wire
    return Conversation(messages, tuple(body.get("tools") or ()))


def _text(content: Any) -> str:
    """Plain text, or the text parts of a list."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return str(content or "")


def completion(said: Said) -> dict[str, Any]:
    """What was said as OpenAI's chat completion."""
    calls = [
        {"id": f"call-{at}", "type": "function", "function": {"name": one.tool, "arguments": json.dumps(one.args)}}
        for at, one in enumerate(said.tool_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": said.text or (None if calls else "")}
    message |= {"reasoning_content": said.thinking} if said.thinking else {}
    message |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "target", "choices": [choice]}


def _refusal(why: str) -> tuple[int, dict[str, Any]]:
    return UNPROCESSABLE, {"error": {"message": why, "type": "invalid_request_error"}}
