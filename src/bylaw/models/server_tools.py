"""Tool calls in what a local model writes, in the form that Hermes began and Qwen and others took over.

    <tool_call>
    {"name": "payments.refund", "arguments": {"order": 81, "amount": 45.0}}
    </tool_call>

Other forms are not read; a model whose chat template does not teach this one is offered no tools. A call that cannot be read makes the
whole reply malformed: half a call must not pass for an answer.
"""

import json
import re
from dataclasses import replace
from typing import Any, Final

from bylaw.models.server_reply import Call, Reply

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
MAX_CALLS: Final = 128
_BLOCK: Final = re.compile(f"{OPEN}([^<]*(?:<(?!/?tool_call>)[^<]*)*){CLOSE}")


def takes(template: Any) -> bool:
    """Whether a chat template offers tools, and asks for calls in the form that is read here."""
    return isinstance(template, str) and "tools" in template and OPEN in template


def called(reply: Reply) -> Reply:
    """A reply with its calls taken out of its text."""
    if reply.fault or (OPEN not in reply.answer and CLOSE not in reply.answer):
        return reply
    blocks = _BLOCK.findall(reply.answer)
    calls = [_call(block) for block in blocks]
    if None in calls or not len(blocks) == reply.answer.count(OPEN) == reply.answer.count(CLOSE) <= MAX_CALLS:
        return Reply("", "", reply.finish, reply.tokens, "a tool call that cannot be read")
    found = tuple(call for call in calls if call)
    return replace(
        reply, answer=_BLOCK.sub("", reply.answer).strip(), calls=found, finish="tool_calls" if reply.finish == "stop" else reply.finish
    )


def _call(block: str) -> Call | None:
    try:
        found = json.loads(block, object_pairs_hook=_once, parse_constant=_no_constant)
        if not isinstance(found, dict) or found.keys() != {"name", "arguments"} or not isinstance(found["arguments"], dict):
            return None
        arguments = json.dumps(found["arguments"], ensure_ascii=False, allow_nan=False)  # 1e999 is read as infinite
    except (ValueError, RecursionError):
        return None
    return Call(found["name"], arguments) if isinstance(found["name"], str) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(text)
