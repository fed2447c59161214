"""The evasion corpus: what must be found, and what must pass. One JSON object a line in `evasion/*.jsonl`.

`rail`: a name of the library, or a list of names (a benign text must pass them all); `expect`: `hit` or `pass`; `view`: how it is
hidden; `surface`: where it stands; `text`: a string, or a list of strings that are joined (tokens stand in parts, so that scanners of
repositories do not take them for real). Files named `own*` were written beside the rails, `fresh_*` by somebody who had not
seen them (and the rails were mended by them since), `fresh2*` by a second fresh pair of eyes, for measuring only.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from bylaw.govern.rails import library
from bylaw.govern.rails.asking import ask
from bylaw.types import Event

FOLDER = Path(__file__).parent / "evasion"


@dataclass(frozen=True)
class Case:
    file: str
    line: int
    rails: tuple[str, ...]
    view: str
    surface: str
    bad: bool
    text: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line} {'+'.join(self.rails)} {self.view}"


def cases(pattern: str) -> list[Case]:
    found = []
    for file in sorted(FOLDER.glob(pattern)):
        for at, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            if line.strip():
                row = json.loads(line)
                rails = (row["rail"],) if isinstance(row["rail"], str) else tuple(row["rail"])
                text = row["text"] if isinstance(row["text"], str) else "".join(row["text"])
                found.append(Case(file.stem, at, rails, row.get("view", ""), row.get("surface", "document"), row["expect"] == "hit", text))
    return found


def right(case: Case) -> bool:
    """Whether the rails say what they should: all of them silent, or one of them not; a failure is never right."""
    answer = ask(Event(case.surface, text=case.text), case.rails, library.known())  # type: ignore[arg-type]  # the file says one of the surfaces
    return not answer.failed and any(answer.found.values()) == case.bad
