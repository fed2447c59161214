"""What a judge's reply is worth: its last line or its JSON object, with this call's code, or nothing.

Read strictly, and from the answer alone: what a judge thinks is no verdict. A reply that was refused, cut off or malformed, that says
nothing before its verdict or anything after it, or that gives two different verdicts, is a judge *error*: the score is missing. So is
an honest "cannot tell". Nothing here searches a text for something that looks like a score.
"""

import json
import re
from typing import Any, Final, Literal

from bylaw.models import transcript
from bylaw.types import Completion, Finish, Verdict

SCALE: Final = 10  # the judge scores 0..10
CANNOT_TELL: Final = "CANNOT TELL"
MOST_CHARS: Final = 100_000  # of one reply
Form = Literal["line", "json"]
_FINISH: Final[dict[Finish, str]] = {"length": "cut off", "refused": "refused", "error": "missing"}
_LINE: Final = re.compile(rf"(?P<mark>\*\*|`|)VERDICT (?P<code>[0-9a-f]+): (?P<score>[0-9]|10|{CANNOT_TELL})(?P=mark)")
_FENCE: Final = re.compile(r"```(?:json)?\n(.*)\n```", re.DOTALL)
# The same for every call, so that a backend compiles its grammar once; the code is checked here, not there.
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string"},
        "code": {"type": "string"},
        "score": {"type": ["integer", "null"], "minimum": 0, "maximum": SCALE},
    },
    "required": ["reasoning", "code", "score"],
    "additionalProperties": False,
}


def read(reply: Completion, code: str, form: Form = "line") -> Verdict:
    """The verdict of a reply to the call with this code; missing, with the reason, where there is none."""
    reply = _without_thinking(reply)
    if reply.finish != "stop" or reply.fault:
        return _missing(f"the judge's reply is {_FINISH.get(reply.finish, reply.fault)}", reply)
    if len(reply.answer) > MOST_CHARS:
        return _missing(f"the judge's reply is longer than {MOST_CHARS} characters", reply)
    return _from_json(reply, code) if form == "json" else _from_lines(reply, code)


def _without_thinking(reply: Completion) -> Completion:
    """A judge that thought without being asked to: one well-formed leading block is taken off, all else stays a fault."""
    if reply.fault and reply.finish == "stop":
        taken = transcript.parse(reply.raw, thinking=True)
        return taken if not taken.fault else reply
    return reply


def _from_lines(reply: Completion, code: str) -> Verdict:
    lines = [line.strip() for line in reply.answer.strip().split("\n")]
    found = [one if one and one["code"] == code else None for one in map(_LINE.fullmatch, lines)]
    last = found[-1]
    if last is None:
        return _missing("the judge wrote on after its verdict" if any(found) else "the judge gave no well-formed verdict", reply)
    if len({one["score"] for one in found if one}) > 1:
        return _missing("the judge's verdicts contradict each other", reply)
    said = next((line for line, one in zip(lines, found, strict=True) if line and not one), "") or reply.thinking.strip()
    return _scored(None if last["score"] == CANNOT_TELL else int(last["score"]), said, reply)


def _from_json(reply: Completion, code: str) -> Verdict:
    text = reply.answer.strip()
    whole = _FENCE.fullmatch(text)
    try:
        value = json.loads(whole[1] if whole else text, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _missing("the judge's reply is not one JSON object", reply)
    if not isinstance(value, dict) or list(value) != SCHEMA["required"]:
        return _missing("the judge's reply does not have the keys reasoning, code, score, in this order", reply)
    reasoning, score = value["reasoning"], value["score"]
    if value["code"] != code:
        return _missing("the judge's reply does not carry this call's code", reply)
    if not isinstance(reasoning, str) or not (score is None or (type(score) is int and 0 <= score <= SCALE)):
        return _missing("the judge gave no well-formed verdict", reply)
    return _scored(score, reasoning.strip() or reply.thinking.strip(), reply)


def _scored(score: int | None, said: str, reply: Completion) -> Verdict:
    if not said:
        return _missing("the judge gave a verdict without a reason", reply)
    reason = said.splitlines()[0][:200]
    return _missing(f"the judge cannot tell: {reason}", reply) if score is None else Verdict(score / SCALE, reason, raw=reply.raw)


def _missing(why: str, reply: Completion) -> Verdict:
    return Verdict(None, why, raw=reply.raw)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
