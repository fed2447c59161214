"""The requests alignment learns from, each with its category: the clauses that may apply.

PolicyWorld draws its own (`policyworld.scenarios`). For a policy in prose they come from its dialogue examples and from a file of
JSON lines, `{"prompt": TEXT, "clauses": [ID, …]}`. A request that stands in the evaluation split never trains.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bylaw import runs
from bylaw.canonical import digest_bytes
from bylaw.errors import RunError
from bylaw.types import Policy, Prompt, Split


def from_examples(policy: Policy, split: Split) -> tuple[Prompt, ...]:
    """The first user turn of every dialogue example of one split, with its clause."""
    found: dict[str, Prompt] = {}
    for clause in policy.clauses:
        for example in clause.examples:
            asked = next((turn.text for turn in example.turns if turn.role == "user"), "")
            if asked and example.split == split:
                found.setdefault(asked, _prompt(asked, (clause.id,)))
    return tuple(found.values())


def from_file(file: Path, policy: Policy) -> tuple[Prompt, ...]:
    """Read prompts from JSON lines; raises RunError with the line that is wrong."""
    known = {clause.id for clause in policy.clauses}
    found: dict[str, Prompt] = {}
    for number, row in enumerate(runs.read_rows(file), 1):
        text, clauses = row.get("prompt"), row.get("clauses", [])
        strings = isinstance(clauses, list) and all(isinstance(clause, str) for clause in clauses)
        if not isinstance(text, str) or not text.strip() or not strings:
            raise RunError(f"{file}:{number}: not a prompt row", 'each line is {"prompt": "…", "clauses": ["id", …]}')
        unknown = [str(c) for c in clauses if c not in known]
        if unknown:
            raise RunError(f"{file}:{number}: the policy has no clause {unknown[0]}", "name clauses of this policy, or none")
        found.setdefault(text, _prompt(text, tuple(clauses)))
    return tuple(found.values())


def without(prompts: Iterable[Prompt], tested: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Drop every prompt that is tested; raises RunError when nothing is left."""
    avoid = {prompt.request for prompt in tested}
    left = tuple(prompt for prompt in prompts if prompt.request not in avoid)
    if not left:
        raise RunError(
            "there are no prompts to learn from", "give the policy dialogue examples with {split=train}, or a file with --prompts"
        )
    return left


def _prompt(text: str, clauses: tuple[str, ...]) -> Prompt:
    return Prompt(digest_bytes(text.encode("utf-8", "surrogatepass")).removeprefix("sha256:")[:16], text, clauses)
