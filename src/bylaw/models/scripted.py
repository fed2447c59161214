"""Models that answer from a script: for tests, demos and dry runs of a pipeline without weights."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.errors import ModelError
from bylaw.models import transcript
from bylaw.types import Completion, Message, Progress, Sampling


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """A model that says what a function of the conversation returns; None means it gives no reply."""

    name: str
    reply: Callable[[Sequence[Message]], str | None]

    def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Answer each conversation once, in order."""
        completions = []
        for i, conversation in enumerate(conversations):
            said = self.reply(conversation)
            finish = transcript.parse(said, thinking=sampling.thinking) if said is not None else transcript.parse("", "error")
            completions.append(finish)
            if progress:
                progress(i + 1, len(conversations))
        return completions


def load(file: Path) -> ScriptedModel:
    """Read a script: JSON lines `{"when": WORDS, "find": PATTERN, "say": TEXT}`, of which `say` alone must be there.

    The first line whose words stand in the prompt, and whose pattern finds something in it, answers; the groups that were found fill
    `\\1`, `\\2` … in what it says. A prompt that no line knows gets no reply.
    """
    try:
        lines = [json.loads(line) for line in runs.plain_text(file).split("\n") if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: the script cannot be read: {error}", 'each line is {"when": "…", "say": "…"}') from error
    for number, line in enumerate(lines, 1):
        if (
            not isinstance(line, dict)
            or not all(isinstance(line.get(key, ""), str) for key in ("when", "find", "say"))
            or "say" not in line
        ):
            raise ModelError(f"{file}:{number}: not a script line", 'each line is {"when": "…", "say": "…"}')
        try:
            _check(line)
        except (re.error, IndexError) as error:
            raise ModelError(f"{file}:{number}: find and say do not fit together: {error}", "correct the pattern or its \\1") from error
    return ScriptedModel(f"scripted:{file}", lambda conversation: _first_match(lines, conversation))


def _check(line: dict[str, Any]) -> None:
    """Raise re.error or IndexError where the pattern is none, or `say` names a group it does not have."""
    if "find" in line:
        groups = re.compile(line["find"]).groups
        pattern = re.compile("()" * groups).match("")
        if pattern:
            pattern.expand(line["say"])


def _first_match(lines: Sequence[dict[str, Any]], conversation: Sequence[Message]) -> str | None:
    text = "\n".join(message.content for message in conversation)
    for line in lines:
        if line.get("when", "") not in text:
            continue
        if "find" not in line:
            return str(line["say"])
        if found := re.search(line["find"], text):
            return found.expand(line["say"])
    return None
