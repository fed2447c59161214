"""Ask a model every test prompt and mark what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bylaw import runs
from bylaw.errors import PolicyError
from bylaw.evals.marking import Marker
from bylaw.evals.scorers import Graded
from bylaw.types import Dialect, Model, Policy, Progress, Prompt, Sampling


@dataclass(frozen=True, slots=True)
class Asking:
    """How the tests are put to the model."""

    max_new_tokens: int
    thinking: bool = True
    policy_tokens: int = 0  # budget of the policy in the prompt; 0: the policy is not given
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Test:
    """A set of prompts, and what they are asked and marked with."""

    policy: Policy
    dialect: Dialect
    marker: Marker
    prompts: Sequence[Prompt]


def run(model: Model, test: Test, asking: Asking, progress: Progress | None = None) -> list[Graded]:
    """Answer and mark every prompt, in order."""
    conversations = [test.dialect.prompt(prompt, _excerpt(test, prompt, asking.policy_tokens)) for prompt in test.prompts]
    sampling = Sampling(asking.temperature, asking.max_new_tokens, asking.thinking, asking.seed)
    return test.marker.mark(test.prompts, model.generate(conversations, sampling, progress))


def write_rows(file: Path, rows: Sequence[Graded], policy: Policy) -> None:
    """Write graded rows as JSON lines; each carries the digest of the policy it was graded under."""
    runs.write_rows(file, (row.to_json() | {"policy": policy.digest} for row in rows))


def read_rows(file: Path) -> list[Graded]:
    """Read graded rows back."""
    return [Graded.from_json({key: value for key, value in row.items() if key != "policy"}) for row in runs.read_rows(file)]


def _excerpt(test: Test, prompt: Prompt, tokens: int) -> str:
    """The whole policy in full, or its one-line summaries where that does not fit (as Guan et al. 2024 do, section 4.1)."""
    if not tokens:
        return ""
    every = tuple(clause.id for clause in test.policy.clauses)
    try:
        return test.dialect.excerpt(test.policy, every, tokens, prompt.id)
    except PolicyError:
        return test.dialect.excerpt(test.policy, (), tokens, prompt.id)
