"""Capability rows from a file, mixed into alignment so that what the model could before it can after."""

from pathlib import Path
from random import Random

from bylaw.align.prompts import placed
from bylaw.errors import RunError
from bylaw.types import Lesson, Message


def from_file(file: Path) -> tuple[Lesson, ...]:
    """Read JSON lines `{"prompt": …, "thinking": …, "answer": …}`; thinking may be left out."""
    rows = []
    for place, row in placed(file):
        prompt, thinking, answer = row.get("prompt"), row.get("thinking", ""), row.get("answer")
        texts = all(isinstance(text, str) for text in (prompt, thinking, answer))
        if not texts or not str(answer).strip():
            raise RunError(f"{place}: not a capability row", 'each line is {"prompt": "…", "thinking": "…", "answer": "…"}')
        rows.append(
            Lesson(
                f"{file.name}:{place.rpartition(':')[2]}",
                (Message("user", str(prompt)),),
                str(thinking).strip(),
                str(answer).strip(),
                think=bool(str(thinking).strip()),
                source="replay",
            )
        )
    return tuple(rows)


def take(rows: tuple[Lesson, ...], seed: str, n: int) -> tuple[Lesson, ...]:
    """Draw `n` rows, the same for the same seed; all of them where there are fewer."""
    return tuple(Random(f"replay-{seed}").sample(rows, min(n, len(rows))))
