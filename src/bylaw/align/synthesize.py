"""Synthesis: the generator sees each prompt with the policy excerpt in context, and thinks before it answers. k samples a prompt.

After Guan et al. 2024 (arXiv 2412.16339), section 2: full text of the prompt's category, the rest in short. The excerpt is cut to what
the generator can read; a prompt that it cannot be asked, or does not answer, is a row with the reason, never a row that is not there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bylaw.errors import PolicyError
from bylaw.types import Completion, Dialect, Finish, Message, Model, Policy, Progress, Prompt, Sampling, Turn

Refuses = Callable[[Sequence[Message]], str]  # why a model cannot be asked this; empty where it can


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
    finish: Finish = "stop"  # `error`: there was no reply

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
            "finish": self.finish,
        }


def sample_from(row: Mapping[str, Any]) -> Sample:
    """Read a row back."""
    history = tuple(Turn(turn["role"], turn["text"]) for turn in row.get("history", ()))
    prompt = Prompt(row["id"], row["request"], tuple(row["clauses"]), row["user"], row["facts"], history=history)
    return Sample(prompt, row["excerpt"], row["thinking"], row["answer"], row["raw"], row["fault"], row.get("finish", "stop"))


class Question(NamedTuple):
    """What the generator is asked about one prompt, or why it cannot be."""

    prompt: Prompt
    excerpt: str = ""
    messages: tuple[Message, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Synthesizer:
    """Who writes, and under what. `refuses` says why a conversation is not for this model; by default it takes all."""

    model: Model
    dialect: Dialect
    policy: Policy
    refuses: Refuses = lambda _: ""

    def question(self, prompt: Prompt, budget: int, seed: str) -> Question:
        """The prompt under the longest excerpt within the budget that the model can be asked with."""
        found, why_not, least, most, tried = None, "", 0, budget, budget
        while least <= most:
            try:
                excerpt = self.dialect.excerpt(self.policy, prompt.clauses, tried, seed)
            except PolicyError as error:  # its clauses alone are longer than what was tried
                why_not, least = why_not or error.what, tried + 1
            else:
                messages = self.dialect.prompt(prompt, excerpt)
                refused = self.refuses(messages)
                if refused:
                    why_not, most = refused, tried - 1
                else:
                    found, least = Question(prompt, excerpt, messages), tried + 1
            tried = (least + most) // 2
        return found or Question(prompt, why_not=why_not)


def questions(writer: Synthesizer, prompts: Sequence[Prompt], plan: Synthesis) -> list[Question]:
    """What is asked: `plan.samples` times each prompt, in order, every time under an excerpt of its own."""
    return [writer.question(p, plan.excerpt_tokens, f"{p.id}-{plan.seed}-{i}") for p in prompts for i in range(plan.samples)]


def sampling(plan: Synthesis) -> Sampling:
    """How it is asked."""
    return Sampling(plan.temperature, plan.max_new_tokens, thinking=True, seed=plan.seed)


def synthesize(writer: Synthesizer, prompts: Sequence[Prompt], plan: Synthesis, progress: Progress | None = None) -> list[Sample]:
    """Draw `plan.samples` completions a prompt with the policy in context, prompts in order; one sample for each, answered or not."""
    asked = questions(writer, prompts, plan)
    return answered(asked, writer.model.generate([one.messages for one in asked if not one.why_not], sampling(plan), progress))


def answered(asked: Sequence[Question], said: Iterable[Completion]) -> list[Sample]:
    """The samples of these questions: `said` answers in their order those that could be asked."""
    written = iter(said)
    return [_sample(one, Completion("", "", "", "error", f"not asked: {one.why_not}") if one.why_not else next(written)) for one in asked]


def _sample(asked: Question, said: Completion) -> Sample:
    return Sample(asked.prompt, asked.excerpt, said.thinking, said.answer, said.raw, said.fault, said.finish)
