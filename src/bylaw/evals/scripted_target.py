"""A target that answers from a script, tool calls and a gateway's words included: for tests, demos and dry runs.

JSON lines: `{"when": WORDS, "find": PATTERN, "say": TEXT, "thinking": TEXT, "calls": [{"tool": NAME, "args": {...}}], "fault": TEXT,
"disposition": EFFECT, "clauses": [ID], "record": TEXT, "approval": ID}`. The first line whose words stand in the conversation, and whose
pattern finds something in it, answers; the groups that were found fill `\\1` in what it says. A line with a `fault` and nothing to say
gives no reply, and neither does a conversation that no line knows. A think block at the beginning of `say` is read as the thinking.
`models.scripted` reads the same files.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.errors import ModelError, RunError
from bylaw.evals.targets import Call, Conversation, Said, missing
from bylaw.models import transcript
from bylaw.types import Progress

HINT: Final = (
    'each line is {"when": "words in the prompt", "say": "the reply"}; also find, thinking, calls, disposition, clauses, record, approval,'
    " fault"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a script, ready to be tried."""

    when: str
    find: re.Pattern[str] | None
    say: str
    said: Said


@dataclass(frozen=True, slots=True)
class ScriptedTarget:
    """A target that says what the first fitting line says."""

    name: str
    lines: tuple[Line, ...]

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        """Answer each conversation once, in order."""
        found = [self._one("\n".join(message.content for message in one.messages)) for one in conversations]
        if progress:
            progress(len(found), len(found))
        return found

    def _one(self, text: str) -> Said:
        for line in self.lines:
            if line.when not in text:
                continue
            if line.find is None:
                return line.said
            if hit := line.find.search(text):
                return _said(hit.expand(line.say), line.said)
        return missing("the script has no line for this")


def load(file: Path) -> ScriptedTarget:
    """Read a script; raises ModelError with the line that is wrong."""
    try:
        rows = runs.read_rows(file)
    except RunError as error:
        raise ModelError(error.what, HINT) from error
    return ScriptedTarget(f"scripted:{file.name}", tuple(_line(file, number, row) for number, row in enumerate(rows, 1)))


def _line(file: Path, number: int, row: Mapping[str, Any]) -> Line:
    texts = [row.get(key, "") for key in ("when", "find", "say", "thinking", "disposition", "record", "approval", "fault")]
    calls, clauses = row.get("calls", []), row.get("clauses", [])
    sound = all(isinstance(one, str) for one in texts) and isinstance(calls, list) and all(map(_is_call, calls))
    named = isinstance(clauses, list) and all(isinstance(one, str) for one in clauses)
    if not sound or not named or not any(row.get(key) for key in ("say", "calls", "fault", "disposition")):
        raise ModelError(f"{file}: line {number} of those that say something is not a script line", HINT)
    try:
        find = re.compile(row["find"]) if "find" in row else None
        if find and (probe := re.compile("()" * find.groups).match("")):
            probe.expand(row.get("say", ""))
    except (re.error, IndexError) as error:
        what = f"{file}: line {number}: find and say do not fit together: {error}"
        raise ModelError(what, "correct the pattern or its \\1") from error
    given = Said(
        "",
        row.get("thinking", ""),
        tuple(Call(one["tool"], one.get("args", {})) for one in calls),
        row.get("disposition", ""),
        tuple(clauses),
        row.get("record", ""),
        row.get("approval", ""),
        row.get("fault", ""),
        missing=not any(row.get(key) for key in ("say", "calls", "disposition")),
    )
    say = row.get("say", "")
    return Line(row.get("when", ""), find, say, _said(say, given))


def _is_call(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("tool"), str) and isinstance(one.get("args", {}), dict | None)


def _said(text: str, given: Said) -> Said:
    """What a line gives, with its words taken apart."""
    found = transcript.parse(text)
    thinking, answer = (found.thinking, found.answer) if not found.fault else ("", text)
    return replace(given, text=answer, thinking=given.thinking or thinking)
