"""A ruling written into a clause's own file: at the end of the clause, every other byte left alone."""

from pathlib import Path
from typing import Final, NamedTuple

from bylaw import runs
from bylaw.errors import PolicyError
from bylaw.policy import seen
from bylaw.policy.clause import read_clause
from bylaw.policy.markdown import EVENT, body, sections
from bylaw.policy.notation import is_day
from bylaw.policy.parse import Document, Part, read
from bylaw.policy.printing import print_example
from bylaw.types import Example, Place, Ruling, Side, Split

MAX_CASE_CHARS: Final = 50_000


def case(side: Side, split: Split, ruling: Ruling, text: str) -> Example:
    """A ruling on the dialogue (`user:` and `assistant:` lines) or the JSON event in `text`; PolicyError: it is neither, or unanswered."""
    if len(text) > MAX_CASE_CHARS:
        raise PolicyError(f"a case of {len(text)} characters, the limit is {MAX_CASE_CHARS}", "Keep what the ruling is about.")
    who, why = " ".join(ruling.by.split()), " ".join(ruling.why.split())
    if not who or not why or not is_day(ruling.on) or set('"}') & set(who):
        what = "a ruling needs who decided (without quotes and braces), a date, and why"
        raise PolicyError(what, 'For example --by "J. Osei, legal" --why "A gift card is no refund."')
    marker = f'**Ruling** {{side={side} split={split} by="{who}" on={ruling.on}}} {why}'
    told = text.strip("\n")
    event = told.lstrip().startswith("{")
    source = f"{marker}\n```{EVENT}\n{told}\n```\n" if event else f"{marker}\n{told}\n"
    found = sections(source, "the case")
    read_back = [body(section) for section in found]
    if len(found) != 1 or len(read_back[0].examples) != 1 or read_back[0].norm or read_back[0].rationale or not told.strip():
        raise PolicyError("the case is not one dialogue or one event", "Write `user:` and `assistant:` lines, or one JSON event.")
    example = read_back[0].examples[0]
    if example.turns and example.turns[-1].role != "assistant":  # such as a request that was blocked: no answer to it was recorded
        hint = "Give the case in other words, ending with an `assistant:` line (`bylaw ruling add` takes them by --case FILE)."
        raise PolicyError("this case does not end with an answer, as an example of a policy must", hint)
    return example


class Placed(NamedTuple):
    """A ruling at the end of its clause, not yet written: the whole file as it will be, and where in it the ruling stands."""

    path: Path
    text: str
    place: Place


def rule(folder: Path, clause_id: str, example: Example) -> Place:
    """Write a ruling at the end of its clause; returns where it stands. Raises PolicyError before anything is written."""
    made = placed(folder, clause_id, example)
    runs.write_text(made.path, made.text)
    return made.place


def placed(folder: Path, clause_id: str, example: Example) -> Placed:
    """What `rule` would write; raises PolicyError."""
    document = read(folder)
    if document.faults:
        raise document.faults[0]
    file, at, part = _find(document, clause_id)
    source = _with(part, example)
    found = sections(source, file)
    for fault in seen.faults(found):
        raise PolicyError(f"this ruling cannot be written: {fault.what.partition(': ')[2]}", fault.hint)
    again = read_clause(found[-1])
    if part.clause is None or again is None or again.examples != (*part.clause.examples, example):
        raise PolicyError("this ruling cannot be written so that it reads the same", "Remove headings and control characters from it.")
    parts = document.parts[file]
    above = "".join(one.source for one in parts[:at])
    path = folder / file if folder.is_dir() else folder
    if path.read_bytes().decode() != "".join(one.source for one in parts):
        raise PolicyError(f"{path}: changed while it was read", "Try again.")
    text = above + source + "".join(one.source for one in parts[at + 1 :])
    return Placed(path, text, Place(file, (above + source[: source.rindex("**Ruling**")]).count("\n") + 1))


def _find(document: Document, clause_id: str) -> tuple[str, int, Part]:
    """The part that states a clause of the policy itself."""
    for file, parts in document.parts.items():
        for at, part in enumerate(parts):
            if part.clause is not None and part.clause.id == clause_id and not file.startswith("overlays/"):
                return file, at, part
    raise PolicyError(f"no clause {clause_id!r} in policy {document.policy.id}", "`bylaw policy show` lists the clause ids.")


def _with(part: Part, example: Example) -> str:
    """The part's source with the ruling behind its last line; the blank lines below it stay below."""
    kept = part.source.rstrip("\r\n")
    below = part.source[len(kept) :]
    end = "\r\n" if "\r\n" in part.source else "\n"
    first = end if below.startswith(end) else ""
    return kept + (end + end + print_example(example).replace("\n", end)) + (first or end) + below[len(first) :]
