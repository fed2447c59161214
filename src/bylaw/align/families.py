"""One set of prompts parted into training and evaluation, family by family, with nothing on one side that is nearly on the other.

A family is what descends from one seed: an example, a scenario in all its kinds, a text and its translations. Its name alone decides its
side, by a hash, so that no later prompt moves it; only the policy's own `split=eval` goes before, for the whole family.

Then, in this order, and every dropped row is kept with its reason:
1. on each side, of prompts that say the same the first stays, with the clauses of all;
2. on each side, of near ones (`policy.overlap`) the first stays, where kind, clauses, numbers and history are the same: a boundary
   twin differs by one word or one number from its violating twin, and is no duplicate of it;
3. a training prompt near any evaluation prompt goes, whatever its kind or its numbers.
"First" is the policy's before a file's before a model's, then the smaller id; the order of the rows does not count.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from bylaw.align.prompts import KINDS, PromptRow, joined, key_of, near_tested
from bylaw.canonical import digest_bytes
from bylaw.policy import overlap
from bylaw.types import Split

EVAL_SHARE: Final = 0.2  # of the families
_NUMBER: Final = re.compile(r"\d+")

Reason = Literal["duplicate", "near duplicate", "near an eval prompt", "carries the policy"]


class Dropped(NamedTuple):
    """A row that was left out, why, and the id of the prompt that stands in its way."""

    row: PromptRow
    reason: Reason
    by: str = ""


@dataclass(frozen=True, slots=True)
class Parted:
    """Prompts to learn from, prompts to test with, and what is neither."""

    train: tuple[PromptRow, ...]
    eval: tuple[PromptRow, ...]
    dropped: tuple[Dropped, ...]


def part(rows: Iterable[PromptRow], eval_share: float = EVAL_SHARE) -> Parted:
    """Split by family, drop duplicates on each side, then drop from training what is near a test."""
    ordered = sorted(rows, key=_rank)
    marks = marked(ordered)
    sides: dict[Split, list[PromptRow]] = {"train": [], "eval": []}
    for row in ordered:
        sides[side(row.family, marks, eval_share)].append(row)
    dropped: list[Dropped] = []
    tests = _apart(_once(sides["eval"], dropped), dropped)
    lessons = _apart(_once(sides["train"], dropped), dropped)
    avoid = near_tested([row.prompt for row in lessons], [row.prompt for row in tests])
    dropped += [Dropped(lessons[mine], "near an eval prompt", tests[theirs].prompt.id) for mine, theirs in sorted(avoid.items())]
    return Parted(tuple(row for i, row in enumerate(lessons) if i not in avoid), tuple(tests), tuple(dropped))


def side(family: str, marks: Mapping[str, Split], eval_share: float = EVAL_SHARE) -> Split:
    """Where a family stands: as the policy marks it, else by the hash of its name."""
    place = int(digest_bytes(family.encode("utf-8", "surrogatepass"))[7:23], 16) / 16**16
    return marks.get(family) or ("eval" if place < eval_share else "train")


def marked(rows: Iterable[PromptRow]) -> dict[str, Split]:
    """The families that the policy's own marks decide; one example marked eval takes its whole family there."""
    marks: dict[str, Split] = {}
    for row in rows:
        if row.split and marks.get(row.family) != "eval":
            marks[row.family] = row.split
    return marks


def _rank(row: PromptRow) -> tuple[int, str, str, str, tuple[str, ...], str]:
    """What is kept before what. It names all that two rows can differ in, so that no order of the input is left."""
    return KINDS.index(row.kind), row.prompt.id, row.family, row.source, row.prompt.clauses, row.split or ""


def _once(rows: Sequence[PromptRow], dropped: list[Dropped]) -> list[PromptRow]:
    found: dict[tuple[str, ...], PromptRow] = {}
    for row in rows:
        key = key_of(row.prompt)
        if key in found:
            dropped.append(Dropped(row, "duplicate", found[key].prompt.id))
        found[key] = joined(found[key], row) if key in found else row
    return list(found.values())


def _apart(rows: Sequence[PromptRow], dropped: list[Dropped]) -> list[PromptRow]:
    alike: dict[tuple[object, ...], list[PromptRow]] = {}
    for row in rows:
        numbers = tuple(_NUMBER.findall(row.prompt.request))
        alike.setdefault((row.kind, frozenset(row.prompt.clauses), numbers, key_of(row.prompt)[:-1]), []).append(row)
    gone: dict[str, Dropped] = {}  # by id: what says the same is here once
    for group in alike.values():
        texts = [row.prompt.request for row in group]
        kept = set(overlap.distinct(texts))
        lost = [i for i in range(len(group)) if i not in kept]
        near: dict[int, int] = {}
        for pair in overlap.near([texts[i] for i in lost], texts):
            if pair.right in kept:
                near.setdefault(lost[pair.left], pair.right)
        gone.update({group[i].prompt.id: Dropped(group[i], "near duplicate", group[near[i]].prompt.id if i in near else "") for i in lost})
    dropped += [gone[row.prompt.id] for row in rows if row.prompt.id in gone]
    return [row for row in rows if row.prompt.id not in gone]
