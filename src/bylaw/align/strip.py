"""The leak test: no training prompt may carry the policy it teaches.

What is stripped is the excerpt; what is tested is that nothing of it is left. Prose is compared by 8-grams of words: of each norm,
each rationale and each excerpt that was rendered. A policy in one-line clauses (PolicyWorld) is compared line by line as well.
An excerpt cites rulings, and with them what was asked in their cases: those words are a prompt's own, and no leak.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from bylaw.align.prompts import rows_of_examples, said_by
from bylaw.errors import RunError
from bylaw.types import Message, Policy

N: Final = 8  # words
_WORD: Final = re.compile(r"[^\W_]+(?:[.'-][^\W_]+)*")


class Leak(NamedTuple):
    """Words of the policy found in a training prompt."""

    prompt: str  # its id
    words: str


def grams(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of 8 words of a text, whatever stands between them: compatibility forms, case and invisible signs do not hide one."""
    plain = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    words = _WORD.findall(plain.casefold())
    return zip(*(words[i:] for i in range(N)), strict=False)


def text_of(messages: Sequence[Message]) -> str:
    """All that a prompt says."""
    return "\n".join(message.content for message in messages)


def leaks(prompts: Iterable[tuple[str, str]], policy: Policy, excerpts: Iterable[str], lines: Sequence[str] = ()) -> list[Leak]:
    """Find every prompt (id, text) that carries an 8-gram of the policy or of an excerpt, or one of `lines` whole."""
    asked = {gram for row in rows_of_examples(policy) for gram in grams(said_by(row.prompt))}
    secret = {gram for text in set(excerpts) for gram in grams(text)} - asked
    secret |= {gram for clause in policy.clauses for text in (clause.norm, clause.rationale) for gram in grams(text)}
    found = []
    for name, text in prompts:
        hit = next((" ".join(gram) for gram in grams(text) if gram in secret), "")
        hit = hit or next((line for line in lines if line in text), "")
        if hit:
            found.append(Leak(name, hit))
    return found


def ensure_stripped(prompts: Iterable[tuple[str, str]], policy: Policy, excerpts: Iterable[str], lines: Sequence[str] = ()) -> None:
    """Raise RunError if any training prompt carries the policy."""
    found = leaks(prompts, policy, excerpts, lines)
    if found:
        first = found[0]
        raise RunError(
            f"{len(found)} training prompts carry the policy; {first.prompt}: “{first.words}”",
            "drop these prompts: what is taught must not be given",
        )
