"""The files a person gives for a policy in prose: prompts to learn from, prompts to be tested with, capability rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bylaw.align import prompts as align_prompts
from bylaw.errors import RunError
from bylaw.recipes.asked import Asked
from bylaw.types import Lesson, Policy, Prompt


@dataclass(frozen=True, slots=True)
class Given:
    """The files a person gave for a policy in prose."""

    prompts: tuple[Path, ...] = ()  # to learn from
    tests: Path | None = None  # to be tested with
    replay: Path | None = None  # capability rows

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """The files that were asked for by name."""
        return cls(tuple(map(Path, asked.prompts)), *(Path(name) if name else None for name in (asked.tests, asked.replay)))

    def tested(self, policy: Policy) -> tuple[Prompt, ...]:
        """The policy's eval examples, and what a file adds to them."""
        own = align_prompts.from_examples(policy, "eval")
        added = align_prompts.from_file(self.tests, policy) if self.tests else ()
        return tuple({prompt.id: prompt for prompt in (*added, *own)}.values())

    def learnt(self, policy: Policy) -> tuple[Prompt, ...]:
        """The policy's train examples and what a file adds, less whatever is tested; raises RunError where nothing is left."""
        given = [prompt for file in self.prompts for prompt in align_prompts.from_file(file, policy)]
        return align_prompts.without((*align_prompts.from_examples(policy, "train"), *given), self.tested(policy))

    def ensure_untested(self, policy: Policy, rows: Sequence[Lesson]) -> None:
        """Raise RunError where a capability row asks what is tested, word for word or nearly."""
        tests = self.tested(policy)
        near = align_prompts.near_tested([Prompt(row.id, row.messages[-1].content) for row in rows], tests)
        if near:
            first = min(near)
            raise RunError(
                f"{len(near)} capability rows ask what is tested: {rows[first].id} is nearly “{tests[near[first]].request[:120]}”",
                "take these rows out of the file: what is tested is never learnt",
            )


NOTHING: Final = Given()
