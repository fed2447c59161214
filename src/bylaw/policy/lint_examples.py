"""Lints about examples: both sides there, dialogues that end, nothing good and bad at once, and no eval item near what is trained on."""

import json
from collections.abc import Iterator, Sequence

from bylaw.policy.overlap import NEAR, near, words
from bylaw.types import Clause, Example, Finding

Placed = tuple[Clause, Example]


def findings(clauses: Sequence[Clause]) -> Iterator[Finding]:
    """All findings about the examples of these clauses, each alone and all together."""
    placed = [(clause, example) for clause in clauses for example in clause.examples]
    for clause in clauses:
        yield from _sides(clause)
    yield from _leaks(placed)
    yield from _contradictions(placed)


def _sides(clause: Clause) -> Iterator[Finding]:
    for side in ("bad", "good"):
        if not any(example.side == side for example in clause.examples):
            fix = f"Add `**{side.capitalize()}** {{split=train}}` with a dialogue or an event."
            yield Finding("BL201", "warning", clause.place, f"no {side} example", fix, clause.id)
    for example in clause.examples:
        if example.turns and example.turns[-1].role != "assistant":
            what, fix = "a dialogue that does not end with an answer", "End it with an `assistant:` line."
            yield Finding("BL202", "error", example.place, what, fix, clause.id)


def _leaks(placed: Sequence[Placed]) -> Iterator[Finding]:
    """Eval examples that ask what a train example asks: the same clause's in the same words, or any clause's in nearly the same."""
    trained = [(clause, one) for clause, one in placed if one.split == "train"]
    held_out = [(clause, one) for clause, one in placed if one.split == "eval"]
    closest: dict[int, tuple[float, int]] = {}
    for pair in near([asked(one) for _, one in held_out], [asked(one) for _, one in trained], NEAR):
        if _elsewhere(held_out[pair.left][1], trained[pair.right][1]):
            continue
        closest[pair.left] = max(closest.get(pair.left, (0.0, 0)), (pair.score, -pair.right))
    same = {(clause.id, _request(one)) for clause, one in trained}
    for position, (clause, example) in enumerate(held_out):
        if _request(example) and (clause.id, _request(example)) in same:
            what, fix = "an eval example asks what a train example asks", "Reword one, or move it to the other split."
            yield Finding("BL203", "error", example.place, what, fix, clause.id)
        elif position in closest:
            score, right = closest[position]
            other, one = trained[-right]
            what = f"an eval example is {score:.0%} the train example at {one.place} ({other.id})"
            yield Finding("BL206", "error", example.place, what, "Ask for something else in one of them, or move one.", clause.id)


def _contradictions(placed: Sequence[Placed]) -> Iterator[Finding]:
    good = {_dialogue(one): (clause, one) for clause, one in placed if one.side == "good" and one.turns}
    for clause, example in placed:
        if example.side == "bad" and example.turns and _dialogue(example) in good:
            other, one = good[_dialogue(example)]
            what = f"this bad example is the good one at {one.place} ({other.id}), word for word"
            yield Finding("BL207", "error", example.place, what, "Decide which it is, or show what makes them differ.", clause.id)


def asked(example: Example) -> str:
    """What a user asks in an example, or the text of an event."""
    if example.event is not None:
        text = example.event.get("text")
        return text if isinstance(text, str) else ""
    return "\n".join(turn.text for turn in example.turns if turn.role == "user")


def _elsewhere(one: Example, other: Example) -> bool:
    """Whether both say in which system they are asked, and these differ: the same words by someone else are another case."""
    mine, theirs = ([words(turn.text) for turn in example.turns if turn.role == "system"] for example in (one, other))
    return bool(mine and theirs) and mine != theirs


def _request(example: Example) -> str:
    """The user's side of a dialogue, or a whole event, without case and punctuation."""
    if example.event is not None:
        return json.dumps(example.event, sort_keys=True, default=str)
    return " ".join(words(" ".join(turn.text for turn in example.turns if turn.role == "user")))


def _dialogue(example: Example) -> tuple[tuple[str, str], ...]:
    return tuple((turn.role, " ".join(words(turn.text))) for turn in example.turns)
