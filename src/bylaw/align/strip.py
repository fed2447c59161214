"""The leak test: no training prompt may carry the policy it teaches.

What is stripped is the excerpt; what is tested is that nothing of it is left. Prose is compared by 8-grams of words: of each norm,
each rationale and each excerpt that was rendered. A policy in one-line clauses (PolicyWorld) is compared line by line as well.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from bylaw.errors import RunError
from bylaw.types import Lesson, Policy

N: Final = 8  # words
_WORD: Final = re.compile(r"[^\s]+")


class Leak(NamedTuple):
    """Words of the policy found in a training prompt."""

    lesson: str
    words: str


def grams(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of 8 words of a text, lower-cased and bare of punctuation at their ends."""
    words = [cleaned for word in _WORD.findall(text) if (cleaned := word.strip(".,;:!?()[]{}\"'`*_").lower())]
    return zip(*(words[i:] for i in range(N)), strict=False)


def leaks(lessons: Iterable[Lesson], policy: Policy, excerpts: Sequence[str], lines: Sequence[str] = ()) -> list[Leak]:
    """Find every lesson whose prompt carries an 8-gram of the policy or of an excerpt, or one of `lines` whole."""
    texts = [text for clause in policy.clauses for text in (clause.norm, clause.rationale)]
    secret = {gram for text in (*texts, *set(excerpts)) for gram in grams(text)}
    found = []
    for lesson in lessons:
        prompt = "\n".join(message.content for message in lesson.messages)
        hit = next((" ".join(gram) for gram in grams(prompt) if gram in secret), "")
        hit = hit or next((line for line in lines if line in prompt), "")
        if hit:
            found.append(Leak(lesson.id, hit))
    return found


def ensure_stripped(lessons: Iterable[Lesson], policy: Policy, excerpts: Sequence[str], lines: Sequence[str] = ()) -> None:
    """Raise RunError if any lesson's prompt carries the policy."""
    found = leaks(lessons, policy, excerpts, lines)
    if found:
        first = found[0]
        raise RunError(f"{len(found)} training prompts carry the policy; {first.lesson}: “{first.words}”", "drop these prompts: what is taught must not be given")
