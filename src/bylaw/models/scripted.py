"""Models that answer from a script: for tests, demos and dry runs of a pipeline without weights."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Read a script: JSON lines `{"when": WORDS, "say": TEXT}`. The first line whose words stand in the prompt answers."""
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{file}: the script cannot be read: {error}", 'each line is {"when": "…", "say": "…"}') from error
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict) or not isinstance(line.get("say"), str) or not isinstance(line.get("when", ""), str):
            raise ModelError(f"{file}:{number}: not a script line", 'each line is {"when": "…", "say": "…"}')
    return ScriptedModel(f"scripted:{file}", lambda conversation: _first_match(lines, conversation))


def _first_match(lines: Sequence[dict[str, Any]], conversation: Sequence[Message]) -> str | None:
    text = "\n".join(message.content for message in conversation)
    return next((str(line["say"]) for line in lines if line.get("when", "") in text), None)
