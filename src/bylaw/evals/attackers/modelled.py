"""Attackers that have a model write the attack: PAIR and TAP.

PAIR (Chao et al. 2023, arXiv 2310.08419): the model sees its last tries with replies and scores, and writes the next message. TAP (Mehrotra
et al. 2023, arXiv 2312.02119): a tree of them; every leaf is continued in several ways, what left the subject is pruned before it costs a
call, and the best few by score live on. Where we differ: 1. the score comes from the same judge as every other number here, not from the
attacking model; 2. off the subject is what shares no content word with the goal, so that pruning costs nothing; 3. a reply is one JSON
object with exactly two keys, and anything else is a wasted call.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from bylaw.evals.attackers.arena import Found, Goal, Move, Play, Step, Try
from bylaw.evals.attacks.placing import last_said
from bylaw.evals.cases import Attack, Case, addressed
from bylaw.types import Message

MAX_CHARS: Final = 8_000  # of a message that an attacker writes
MAX_REPLY_CHARS: Final = 40_000  # of what is read of its reply
SHOWN: Final = 3  # tries that it sees
SHOWN_CHARS: Final = 1_200  # of each of them
_PROMPT: Final = Path(__file__).parent / "pair.md"
_FENCE: Final = re.compile(r"~{3,}")
_WORD: Final = re.compile(r"[^\W\d_]{4,}")


class Branch(NamedTuple):
    """A line of tries, the latest last."""

    tries: tuple[Try, ...] = ()


def question(goal: Goal, branch: Branch) -> tuple[Message, ...]:
    """What the attacking model is asked."""
    shown = [_shown(one) for one in branch.tries[-SHOWN:]]
    words = {"{goal}": _fenced(goal.request), "{history}": "\n\n".join(shown) or "Nothing yet."}
    text = re.sub(r"\{goal\}|\{history\}", lambda found: words[found[0]], _PROMPT.read_text(encoding="utf-8"))
    return (Message("user", text),)


def _shown(one: Try) -> str:
    sent, back = _fenced(one.case.turns[-1].content), _fenced(one.said.text)
    return f"Message:\n~~~\n{sent}\n~~~\nReply:\n~~~\n{back}\n~~~\nScore: {one.judgement.score:g}"


def _fenced(text: str) -> str:
    """A text that cannot end its fence."""
    return _FENCE.sub("~~", text[:SHOWN_CHARS])


def parsed(reply: str) -> str | None:
    """The message of a reply; None where the reply is not exactly what was asked for."""
    if len(reply) > MAX_REPLY_CHARS:
        return None
    try:
        value = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != {"improvement", "prompt"} or not all(isinstance(one, str) for one in value.values()):
        return None
    prompt = value["prompt"].strip()
    return prompt if 0 < len(prompt) <= MAX_CHARS else None


def written(goal: Goal, name: str, prompt: str) -> Case:
    """What an attacker wrote, as a case of its goal."""
    return addressed(replace(goal.case, turns=last_said(goal.case, prompt), attack=Attack((name,), 0, goal.case.id)))


def on_subject(goal: Goal, prompt: str) -> bool:
    """Whether a message still shares a content word with the goal; encoded ones are given the benefit of the doubt."""
    wanted = {one.lower() for one in _WORD.findall(goal.request)}
    said = {one.lower() for one in _WORD.findall(prompt)}
    return not wanted or bool(wanted & said) or len(said) < 5


def _same(case: Case) -> Callable[[int], Case]:
    """A message that a model wrote is what it is, whatever the seed; only the target may answer otherwise."""
    return lambda _: case


def _found(goal: Goal, name: str, tries: Sequence[Try]) -> Found | None:
    for one in tries:
        if one.judgement.breached:
            case = one.case
            return Found(goal, name, case, one.judgement, one.call, _same(case))
    return None


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of tries, each written after the last."""

    name: str = "pair"
    tries: int = 10

    def play(self, goal: Goal, _: Random) -> Play:
        """Two calls a try, one of them wasted where the attacker's reply cannot be read."""
        branch = Branch()
        for _step in range(self.tries):
            words = (yield Step(consults=(question(goal, branch),))).words
            prompt = parsed(words[0]) if words else None
            if prompt is None:
                continue
            tries = (yield Step((Move.single(written(goal, self.name, prompt)),))).tries
            if found := _found(goal, self.name, tries):
                return found
            branch = Branch((*branch.tries, *tries))
        return None


@dataclass(frozen=True, slots=True)
class Tap:
    """A tree of tries: so many branches from each leaf, so many leaves that live on, so many layers."""

    name: str = "tap"
    branching: int = 3
    width: int = 4
    depth: int = 4

    def play(self, goal: Goal, _: Random) -> Play:
        """Layer by layer; the best leaves are those with the highest score, the earlier one where two are alike."""
        leaves = [Branch()]
        for _layer in range(self.depth):
            parents = [leaf for leaf in leaves for _ in range(self.branching)]
            words = (yield Step(consults=tuple(question(goal, leaf) for leaf in parents))).words
            read = [(leaf, prompt) for leaf, reply in zip(parents, words, strict=True) if (prompt := parsed(reply))]
            grown = {prompt: leaf for leaf, prompt in reversed(read) if on_subject(goal, prompt)}
            if not grown:
                continue
            prompts = list(grown)[::-1]
            tries = (yield Step(tuple(Move.single(written(goal, self.name, one)) for one in prompts))).tries
            if found := _found(goal, self.name, tries):
                return found
            ranked = sorted(zip(prompts, tries, strict=True), key=lambda pair: -pair[1].judgement.score)
            leaves = [Branch((*grown[prompt].tries, made)) for prompt, made in ranked[: self.width]]
        return None
