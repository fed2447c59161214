"""Every technique by name, chains of them, and cases under them.

A chain is written in the order of application: `base64+dan` encodes and then frames. Each step draws from a generator of its own, made
from the seed, its name and how often the name stood before, so that taking one step out leaves what the others draw. What places a
request in a document or a tool stands last in its chain.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType
from typing import Final

from bylaw.errors import RunError
from bylaw.evals.attacks import encodings, frames, placing, spellings, splitting, world
from bylaw.evals.attacks.technique import Technique
from bylaw.evals.cases import Attack, Case, addressed
from bylaw.evals.suite_files import MAX_TEXT_CHARS

MAX_STEPS: Final = 12
_ALL: Final = (
    *encodings.TECHNIQUES,
    *spellings.TECHNIQUES,
    *frames.read(),
    *splitting.TECHNIQUES,
    *placing.TECHNIQUES,
    *world.TECHNIQUES,
)
TECHNIQUES: Final = MappingProxyType({one.name: one for one in _ALL})
if len(TECHNIQUES) != len(_ALL):
    raise ValueError("two techniques share a name")


@dataclass(frozen=True, slots=True)
class Chain:
    """Techniques one after the other."""

    techniques: tuple[Technique, ...]

    @property
    def name(self) -> str:
        """The chain in one word."""
        return "+".join(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its techniques, in order of application."""
        return tuple(one.name for one in self.techniques)

    def __call__(self, text: str, seed: int) -> str:
        """The text under every technique in turn."""
        for technique, rng in zip(self.techniques, _generators(self.names, seed), strict=True):
            text = technique.apply(text, rng)
        return text

    def undone(self, text: str) -> str | None:
        """The text before the chain, as far as its techniques keep it; None where one of them has no inverse."""
        for technique in reversed(self.techniques):
            if technique.inverse is None:
                return None
            text = technique.inverse(text)
        return text


def _generators(names: Sequence[str], seed: int) -> Iterable[Random]:
    for at, name in enumerate(names):
        yield Random(f"{seed}:{name}:{names[:at].count(name)}")


def technique(name: str) -> Technique:
    """A technique by name; raises RunError with the nearest names."""
    if name in TECHNIQUES:
        return TECHNIQUES[name]
    near = difflib.get_close_matches(name[:80], [*TECHNIQUES, *(one.partition(".")[2] for one in TECHNIQUES)], 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {len(TECHNIQUES)}, for example base64, dan, spaced"
    raise RunError(f"there is no attack {name[:80]!r}", f"{hint} `bylaw attack --list` names all")


def chain(spec: str | Sequence[str]) -> Chain:
    """Read `base64+dan`; the empty word is the chain that changes nothing."""
    names = [one.strip() for one in spec.split("+")] if isinstance(spec, str) else list(spec)
    names = [one for one in names if one] if names != [""] else []
    if len(names) > MAX_STEPS:
        raise RunError(f"a chain has at most {MAX_STEPS} techniques, not {len(names)}", "shorten it")
    found = Chain(tuple(map(technique, names)))
    if any(one.place != "turn" for one in found.techniques[:-1]):
        raise RunError(f"in {found.name} a technique follows one that leaves the user's turn", "put it last")
    return found


def attacked(case: Case, chain_of: str | Sequence[str] | Chain, seed: int) -> Case:
    """The case with its last user turn under a chain; it remembers the chain, the seed, and what it grew from."""
    found = chain_of if isinstance(chain_of, Chain) else chain(chain_of)
    request = next(one.content for one in reversed(case.turns) if one.role == "user")
    moved = found.techniques[-1] if found.techniques and found.techniques[-1].place != "turn" else None
    text = bounded(Chain(found.techniques[:-1] if moved else found.techniques)(request, seed))
    if moved is None:
        changed = replace(case, turns=placing.last_said(case, text))
    else:
        rng = Random(f"{seed}:{case.id}:{moved.name}")
        changed = placing.placed(case, moved.apply(text, rng), text, moved.place, rng)
    attack = Attack((*case.attack.techniques, *found.names), seed, case.id)
    return addressed(replace(changed, attack=attack))


def bounded(text: str) -> str:
    """A text that a suite may hold; raises RunError where a chain made it too long."""
    if len(text) > MAX_TEXT_CHARS:
        raise RunError(f"the chain makes {len(text)} characters of its request, more than {MAX_TEXT_CHARS}", "shorten the chain")
    return text


def usable(case: Case, world_only: bool) -> tuple[str, ...]:
    """The techniques that can do something to a case: the world's own words in the world, tools only where the case has some."""
    if world_only:
        return tuple(name for name, one in TECHNIQUES.items() if one.family == world.FAMILY)
    has_tools = bool(case.context.tools)
    return tuple(name for name, one in TECHNIQUES.items() if one.family != world.FAMILY and (has_tools or (one.family != "agentic")))
