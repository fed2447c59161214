"""Lessons on disk, and in the order they are learnt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from bylaw.types import Lesson, Message

STRETCH: Final = 6  # batches within which rows are sorted by length


@dataclass(frozen=True, slots=True)
class Course:
    """How often and in what company lessons are learnt."""

    epochs: int
    replay: float  # capability rows, as a share of the lessons
    batch_rows: int
    seed: int


def to_json(lesson: Lesson, policy_digest: str) -> dict[str, Any]:
    """The row a person reads; it carries its clauses and the digest of the policy that taught it."""
    return {
        "id": lesson.id,
        "source": lesson.source,
        "clauses": list(lesson.clauses),
        "policy": policy_digest,
        "messages": [{"role": m.role, "content": m.content} for m in lesson.messages],
        "think": lesson.think,
        "thinking": lesson.thinking,
        "answer": lesson.answer,
    }


def from_json(row: Mapping[str, Any]) -> Lesson:
    """Read a row back."""
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    return Lesson(row["id"], messages, row["thinking"], row["answer"], row["think"], tuple(row["clauses"]), row["source"])


def curriculum(aligned: Sequence[Lesson], replay: Callable[[str, int], Sequence[Lesson]], plan: Course) -> list[Lesson]:
    """Every epoch: the aligned lessons and fresh capability rows, shuffled, then batched with rows of like length.

    Like lengths waste no arithmetic on padding (half of it, in PolicyWorld). Rows move only within a stretch of a few batches, and the
    batches of a stretch are shuffled again, so that long and short ones take turns.
    """
    rows: list[Lesson] = []
    for epoch in range(plan.epochs):
        rng = Random(f"curriculum-{plan.seed}-{epoch}")
        extra = round(plan.replay * len(aligned))
        extra += -(len(aligned) + extra) % plan.batch_rows if extra else 0  # the last batch is filled up
        epoch_rows = [*aligned, *replay(f"{plan.seed}-{epoch}", extra)]
        rng.shuffle(epoch_rows)
        for start in range(0, len(epoch_rows), STRETCH * plan.batch_rows):
            stretch = sorted(epoch_rows[start : start + STRETCH * plan.batch_rows], key=_length)
            batches = [stretch[i : i + plan.batch_rows] for i in range(0, len(stretch), plan.batch_rows)]
            rng.shuffle(batches)
            rows += [row for batch in batches for row in batch]
    return rows


def _length(lesson: Lesson) -> int:
    return sum(len(m.content.split()) for m in lesson.messages) + len(lesson.thinking.split()) + len(lesson.answer.split())
