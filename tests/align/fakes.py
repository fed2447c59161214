"""Judges that say what a test wants to hear, and prompts and samples to show them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bylaw.align.synthesize import Sample
from bylaw.types import Answered, Prompt, Reasoned, Verdict

Say = Callable[[Prompt, str, str, int], float | None]  # prompt, thinking, answer, which reading: a score


@dataclass(frozen=True)
class Fake:
    """A judge whose opinion is a function; it keeps what it was shown."""

    say: Say
    graded: list[Answered] = field(default_factory=list)
    reviewed: list[list[Reasoned]] = field(default_factory=list)
    name: str = "fake"

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers alone."""
        self.graded.extend(rows)
        return [Verdict(self.say(row.prompt, "", row.answer, 0)) for row in rows]

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer; every call is another reading."""
        self.reviewed.append(list(rows))
        reading = len(self.reviewed) - 1
        return [Verdict(self.say(row.prompt, row.thinking, row.answer, reading), f"reading {reading}") for row in rows]


def prompt(name: str, *clauses: str) -> Prompt:
    """A prompt that asks after its own name."""
    return Prompt(name, f"what of {name} ?", clauses, "guest")


def sample(name: str, answer: str = "an answer", fault: str = "") -> Sample:
    """One completion of `prompt(name)`."""
    thinking = "" if fault else "a thought"
    return Sample(prompt(name, "a.a"), "the excerpt", thinking, "" if fault else answer, answer, fault)
