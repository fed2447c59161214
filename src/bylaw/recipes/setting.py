"""What a policy is aligned *in*: dialect, judge, prompts, tests and replay. PolicyWorld and prose differ here and nowhere else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bylaw.align import replay as align_replay
from bylaw.align.grpo import Task
from bylaw.errors import RunError
from bylaw.evals.marking import ExactMarker, JudgedMarker, Marker
from bylaw.models.local import LocalModel, prompt_ids
from bylaw.policy.prose import Prose
from bylaw.policyworld import dialect as world
from bylaw.policyworld import replay, scenarios
from bylaw.policyworld.language import LABELS, SYNONYMS
from bylaw.policyworld.level2 import dialect as world2
from bylaw.policyworld.level2 import replay as replay2
from bylaw.policyworld.level2 import scenarios as scenarios2
from bylaw.policyworld.level2.truth import ExactJudge2
from bylaw.policyworld.noise import NoisyJudge
from bylaw.policyworld.truth import ExactJudge
from bylaw.recipes import world_finds
from bylaw.recipes.given import NOTHING, Given
from bylaw.recipes.world_finds import Parted
from bylaw.types import Dialect, Judge, Lesson, Model, Policy, Prompt

MORE_REPLAY: Final = 2.0  # at level 1: objects that alignment never meets are met here (docs/decisions/level-2.md)
WORLD_TOKENS: Final = 56  # words of the longest thought and answer in PolicyWorld, and a few to spare
WORLD2_TOKENS: Final = 96  # the same at level 2, where a thought checks two clauses
DEV_PROMPTS: Final = 190  # never trained on, never tested on: for choosing a learning rate


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything of a run that depends on what its policy is written for. The same seed draws the same."""

    dialect: Dialect
    judge: Judge
    marker: Marker  # how tests are scored
    train: Callable[[int, int], tuple[Prompt, ...]]  # (from, n): prompts to learn from
    dev: tuple[Prompt, ...]
    tests: Callable[[int], tuple[Prompt, ...]]  # (n per cell)
    replay: Callable[[str, int], tuple[Lesson, ...]]  # (seed, n): capability rows
    replay_tasks: Callable[[str, int], tuple[Task, ...]]  # the same for RL, with exact answers
    more_replay: float = 1.0  # times the capability rows that the run's size gives SFT
    unquoted: Callable[[str], str] | None = None  # takes the clause text out of a thought, where that can be done
    lines: tuple[str, ...] = ()  # clause lines that no training prompt may carry
    excerpt_tokens: int = 2048
    whole_tokens: int = 16384
    max_new_tokens: int = 1024


def room(model: Model, setting_tokens: int) -> int:
    """Tokens for a completion, at most half the context. A word of PolicyWorld is one token to its own tokenizer, up to four to others."""
    if not isinstance(model, LocalModel):
        return setting_tokens
    a_word = 4 if setting_tokens in (WORLD_TOKENS, WORLD2_TOKENS) and len(prompt_ids(model.tokenizer, LABELS[0])) > 1 else 1
    return min(a_word * setting_tokens, model.context // 2)


def policyworld(policy: Policy, seed: int, judge: Judge | None = None, finds: Parted = world_finds.NOTHING) -> Setting:
    """The setting of a PolicyWorld policy: everything is drawn but what attackers found, everything is known."""
    words = world.dialect(policy)
    exact = ExactJudge(words)

    asked = world.subjects(words)

    def train(start: int, n: int) -> tuple[Prompt, ...]:
        drawn = scenarios.training_set(seed, DEV_PROMPTS + start + n, asked)[DEV_PROMPTS + start :]
        return world_finds.mixed([world.as_prompt(scenario, words) for scenario in drawn], finds, n, again=start > 0)

    def replay_tasks(name: str, n: int) -> tuple[Task, ...]:
        return tuple(_task(row) for row in replay.checked_lessons(words, name, n))

    return Setting(
        dialect=words,
        judge=judge or exact,
        marker=ExactMarker(exact),
        train=train,
        dev=tuple(world.as_prompt(scenario, words) for scenario in scenarios.training_set(seed, DEV_PROMPTS, asked)),
        tests=lambda per_cell: tuple(world.as_prompt(scenario, words) for scenario in scenarios.test_set(per_cell)),
        replay=lambda name, n: replay.lessons(words, name, n),
        replay_tasks=replay_tasks,
        more_replay=MORE_REPLAY,
        unquoted=words.unquoted,
        lines=tuple(clause.line(word) for clause in words.policy for word in SYNONYMS[clause.action]),
        excerpt_tokens=world.LINE_TOKENS * 7,
        whole_tokens=world.LINE_TOKENS * len(words.policy),
        max_new_tokens=WORLD_TOKENS,
    )


def policyworld2(policy: Policy, seed: int, judge: Judge | None = None) -> Setting:
    """The setting of a level-2 policy: everything is known, and the judge errs as often as the policy's world says."""
    words = world2.dialect(policy)
    exact = ExactJudge2(words)
    error = world2.judge_error(policy)

    def train(start: int, n: int) -> tuple[Prompt, ...]:
        drawn = scenarios2.training_set(seed, DEV_PROMPTS + start + n)[DEV_PROMPTS + start :]
        return tuple(world2.as_prompt(scenario, words) for scenario in drawn)

    return Setting(
        dialect=words,
        judge=judge or (NoisyJudge(exact, error, seed) if error else exact),
        marker=ExactMarker(exact),
        train=train,
        dev=tuple(world2.as_prompt(scenario, words) for scenario in scenarios2.training_set(seed, DEV_PROMPTS)),
        tests=lambda per_cell: tuple(world2.as_prompt(scenario, words) for scenario in scenarios2.test_set(per_cell)),
        replay=lambda name, n: replay2.lessons(words, name, n),
        replay_tasks=lambda name, n: tuple(_task(row) for row in replay2.checked_lessons(words, name, n)),
        unquoted=words.unquoted,
        lines=tuple(clause.line(word) for clause in words.policy for word in SYNONYMS[clause.action]),
        excerpt_tokens=world2.LINE_TOKENS * 6,
        whole_tokens=world2.LINE_TOKENS * len(words.policy),
        max_new_tokens=WORLD2_TOKENS,
    )


def prose(policy: Policy, judge: Judge, files: Given = NOTHING) -> Setting:
    """The setting of a policy in prose: its own examples, a file of prompts, a file of capability rows, a judge that reads cards."""
    tests, known = files.tested(policy), files.learnt(policy)
    rows = align_replay.from_file(files.replay) if files.replay else ()
    dialect = Prose()
    dev, learnt = parted(known)
    return Setting(
        dialect=dialect,
        judge=judge,
        marker=JudgedMarker(policy, dialect, judge),
        train=lambda start, n: learnt[start : start + n] or learnt[:n],  # a small set is met again in RL
        dev=dev,
        tests=lambda per_cell: tests[: 5 * per_cell],
        replay=lambda name, n: align_replay.take(rows, name, n),
        replay_tasks=lambda name, n: tuple(_task(row) for row in align_replay.take(rows, name, n)),
    )


def parted(known: Sequence[Prompt]) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Prompts for choosing a learning rate and prompts to learn from, whole families on one side; a fifth at the most is held back."""
    most = min(DEV_PROMPTS, len(known) // 5)
    families: dict[str, list[Prompt]] = {}
    for prompt in known:
        families.setdefault(prompt.facts.get("family", prompt.id), []).append(prompt)
    dev: list[Prompt] = []
    for family in families.values():
        if len(dev) + len(family) <= most:
            dev += family
    held = {prompt.id for prompt in dev}
    return tuple(dev), tuple(prompt for prompt in known if prompt.id not in held)


def reads(policy: Policy, judge: Judge | None, seed: int, files: Given = NOTHING) -> Setting:
    """Choose the setting by what the policy is written for."""
    if world.speaks(policy):
        if world2.level_of(policy) == 2:
            return policyworld2(policy, seed, judge)
        return policyworld(policy, seed, judge, world_finds.part(files.prompts, policy) if files.prompts else world_finds.NOTHING)
    if judge is None:
        raise RunError("a policy in prose needs a judge", "name a model that can judge with --judge")
    return prose(policy, judge, files)


def _task(row: Lesson) -> Task:
    return Task(row.messages, Prompt(row.id, row.messages[-1].content), row.think, row.answer)
