"""Put cases to a target: documents into the conversation, tools beside it, turn by turn where a case has several requests in a row.

A session is the case's own, so that a gateway counts nothing of one case in another; `run` keeps two runs apart that meet the same gateway.
Documents stand before the last turn, fenced, as a retrieval step would put them, or go beside the messages where a target takes them so;
a tool's result is a turn of the role `tool`.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

from bylaw.evals.cases import Case
from bylaw.evals.targets import Call, Conversation, Said, Target
from bylaw.types import Message

MAX_ROUNDS: Final = 64
_NAMES: Final = tuple(one.name for one in fields(Said))


def ask(target: Target, cases: Sequence[Case], run: str = "") -> list[Said]:
    """What a target answers to each case, in order."""
    apart = bool(getattr(target, "takes_documents", False))
    parts = [rounds(one, apart) for one in cases]
    held: list[tuple[Message, ...]] = [()] * len(cases)
    found: list[Said | None] = [None] * len(cases)
    for step in range(max(map(len, parts), default=0)):
        due = [i for i, one in enumerate(parts) if step < len(one) and not ((last := found[i]) and last.missing)]
        for i in due:
            held[i] = (*held[i], *parts[i][step])
        asked = [_conversation(cases[i], held[i], run, apart and step == len(parts[i]) - 1) for i in due]
        for i, said in zip(due, target.ask(asked), strict=True):
            found[i] = joined(found[i], said)
            held[i] = (*held[i], Message("assistant", said.text or "…"))
    return [one or Said("", fault="the case asks nothing", missing=True) for one in found]


def _conversation(case: Case, held: tuple[Message, ...], run: str, apart: bool) -> Conversation:
    return Conversation(held, case.context.tools, session(case, run), case.context.documents if apart else ())


def session(case: Case, run: str) -> str:
    """The session a case is asked in; none where the run has no name."""
    return f"eval-{run}-{case.id}" if run else ""


def rounds(case: Case, apart: bool = False) -> list[list[Message]]:
    """The turns of a case in the pieces in which the target meets them: it answers wherever a user turn follows a user turn.

    `apart`: its documents go beside the messages of the last piece, and not into them.
    """
    turns = list(case.turns)
    if case.context.documents and not apart:
        last = max(i for i, one in enumerate(turns) if one.role in ("user", "tool"))
        told = "\n\n".join(f"Document {i}:\n~~~\n{text}\n~~~" for i, text in enumerate(case.context.documents, 1))
        turns[last] = Message(turns[last].role, f"{told}\n\n{turns[last].content}")
    pieces: list[list[Message]] = [[]]
    for turn in turns:
        if turn.role == "user" and pieces[-1] and pieces[-1][-1].role == "user" and len(pieces) < MAX_ROUNDS:
            pieces.append([])
        pieces[-1].append(turn)
    return pieces


def joined(before: Said | None, said: Said) -> Said:
    """The last reply of several, with what was said and called before it."""
    if before is None:
        return said
    return replace(said, before=(*before.before, before.text), tool_calls=(*before.tool_calls, *said.tool_calls))


def to_json(said: Said) -> dict[str, Any]:
    """What was said as one JSON value, without what is empty."""
    found = {name: getattr(said, name) for name in _NAMES} | {
        "tool_calls": [{"tool": one.tool, "args": one.args} for one in said.tool_calls]
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value or name == "text"}


def from_json(row: dict[str, Any]) -> Said:
    """Read it back; raises KeyError, TypeError on anything else."""
    calls = tuple(Call(one["tool"], one["args"]) for one in row.get("tool_calls", ()))
    lists = {name: tuple(row.get(name, ())) for name in ("clauses", "before")}
    return Said(**{**row, "tool_calls": calls, **lists})
