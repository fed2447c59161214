"""Lessons on disk, and in the order they are learnt."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from bylaw.types import Lesson, Message


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


def curriculum(
    aligned: Sequence[Lesson], replay: Callable[[str, int], Sequence[Lesson]], epochs: int, share: float, seed: int
) -> list[Lesson]:
    """Every epoch: the aligned lessons and fresh capability rows (`share` of their number), shuffled."""
    rows: list[Lesson] = []
    for epoch in range(epochs):
        epoch_rows = [*aligned, *replay(f"{seed}-{epoch}", round(share * len(aligned)))]
        Random(f"curriculum-{seed}-{epoch}").shuffle(epoch_rows)
        rows += epoch_rows
    return rows
