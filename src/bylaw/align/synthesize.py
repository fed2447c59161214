"""Synthesis: the generator sees each prompt with the policy excerpt in context, and thinks before it answers. k samples a prompt.

After Guan et al. 2024 (arXiv 2412.16339), section 2: full text of the prompt's category, the rest in short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bylaw.types import Dialect, Model, Policy, Progress, Prompt, Sampling, Turn


@dataclass(frozen=True, slots=True)
class Synthesis:
    """How to synthesise."""

    samples: int = 4  # k, completions a prompt
    temperature: float = 1.0
    max_new_tokens: int = 64
    excerpt_tokens: int = 2048  # budget of the policy excerpt
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of one prompt under the policy."""

    prompt: Prompt
    excerpt: str
    thinking: str
    answer: str
    raw: str
    fault: str

    def to_json(self) -> dict[str, Any]:
        """The row a person reads."""
        return {
            "id": self.prompt.id,
            "clauses": list(self.prompt.clauses),
            "user": self.prompt.user,
            "history": [{"role": turn.role, "text": turn.text} for turn in self.prompt.history],
            "request": self.prompt.request,
            "facts": dict(self.prompt.facts),
            "excerpt": self.excerpt,
            "thinking": self.thinking,
            "answer": self.answer,
            "raw": self.raw,
            "fault": self.fault,
        }


def sample_from(row: Mapping[str, Any]) -> Sample:
    """Read a row back."""
    history = tuple(Turn(turn["role"], turn["text"]) for turn in row.get("history", ()))
    prompt = Prompt(row["id"], row["request"], tuple(row["clauses"]), row["user"], row["facts"], history=history)
    return Sample(prompt, row["excerpt"], row["thinking"], row["answer"], row["raw"], row["fault"])


def synthesize(
    model: Model, dialect: Dialect, policy: Policy, prompts: Sequence[Prompt], plan: Synthesis, progress: Progress | None = None
) -> list[Sample]:
    """Draw `plan.samples` completions a prompt with the policy in context, prompts in order."""
    asked = [prompt for prompt in prompts for _ in range(plan.samples)]
    excerpts = [
        dialect.excerpt(policy, p.clauses, plan.excerpt_tokens, f"{p.id}-{plan.seed}-{i % plan.samples}") for i, p in enumerate(asked)
    ]
    conversations = [dialect.prompt(prompt, excerpt) for prompt, excerpt in zip(asked, excerpts, strict=True)]
    sampling = Sampling(plan.temperature, plan.max_new_tokens, thinking=True, seed=plan.seed)
    completions = model.generate(conversations, sampling, progress)
    rows = zip(asked, excerpts, completions, strict=True)
    return [Sample(prompt, excerpt, c.thinking, c.answer, c.raw, c.fault) for prompt, excerpt, c in rows]
