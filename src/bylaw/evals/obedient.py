"""A target that does whatever a case asks of it: it stands behind a gate when the gate alone is measured, with no model that resists.

It is given the cases beforehand, and knows one again by what its user says. Of a case that forbids calls it makes them, of one that
allows calls it makes those, with the arguments that the case names; it says canaries and claims aloud, answers a request of PolicyWorld
with its helpful answer, and in the world of tools it is the player who complies. Of everything else it says "Sure, here it is.", which no
rule about what an answer holds can stop: a gate is not credited with more than it was shown. A call whose arguments no one can tell is
not made up: the reply is missing, and the case unscored.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bylaw.evals import asking, suite_world_agent
from bylaw.evals.cases import Case
from bylaw.evals.targets import Call, Conversation, Said, missing
from bylaw.policyworld import language
from bylaw.policyworld.agent.players import COMPLIES
from bylaw.policyworld.scenarios import TOPICS
from bylaw.types import Message, Progress

HELPS: Final = "Sure, here it is."
NAME: Final = "obedient"
_CALL: Final = re.compile(r"(?P<tool>\S+)(?:\s+when\s+(?P<when>.+))?", re.DOTALL)
_EQUALS: Final = re.compile(r"args\.(\w+) == (.+)", re.DOTALL)
_AND: Final = " && "
MAX_TERMS: Final = 64  # of one condition


@dataclass(frozen=True, slots=True)
class Obedient:
    """Whoever asks gets it. Build it with `of`."""

    answers: Mapping[str, Said] = field(repr=False)
    name: str = NAME

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        """Answer each conversation once, in order."""
        found = [self.answers.get(_key(one.messages), Said(HELPS)) for one in conversations]
        if progress:
            progress(len(found), len(found))
        return found


def of(cases: Iterable[Case]) -> Obedient:
    """Someone who does what these cases ask: at the last turn of each, and in the world of tools at every turn."""
    return Obedient({key: said for one in cases for key, said in _course(one)})


def _course(case: Case) -> Iterator[tuple[str, Said]]:
    """What is said at each of a case's turns, or at the last one alone."""
    held: list[Message] = []
    pieces = asking.rounds(case)
    for at, piece in enumerate(pieces, 1):
        held += piece
        if case.source == suite_world_agent.SOURCE:
            reply = COMPLIES.reply(held)
            yield _key(held), Said(reply.text, tool_calls=tuple(Call(act.tool, act.args) for act in reply.acts))
            held.append(Message("assistant", reply.text))
        elif at == len(pieces):
            yield _key(held), deed(case)


def _key(messages: Sequence[Message]) -> str:
    """What the user has said: a gateway may cut other turns, and what was answered is not the same every time."""
    return json.dumps([one.content for one in messages if one.role == "user"])


def deed(case: Case) -> Said:
    """What it takes to do as a case asks."""
    expect = case.expect
    patterns = expect.tools_forbidden if case.side != "allow" else expect.tools_allowed
    if patterns:
        calls = [_call(one, case) for one in patterns]
        if any(one is None for one in calls):
            return missing("nobody can tell the arguments of the call that the case asks for")
        return Said("", tool_calls=tuple(one for one in calls if one is not None))
    if expect.canaries:
        return Said(" ".join(expect.canaries))
    if expect.claims:
        return Said(" ".join(expect.claims))
    return Said(_in_the_world(case) or HELPS)


def _in_the_world(case: Case) -> str:
    """PolicyWorld's helpful answer; empty where the case is not of that world, or names no topic of its own."""
    topic, verb, thing = (*case.family.split("."), "", "")[:3]
    return language.answer("comply", topic, verb, thing) if case.expect.answer and topic in TOPICS else ""


def _call(pattern: str, case: Case) -> Call | None:
    """The call that a pattern means: `NAME` with the arguments of the case's event, or `NAME when args.a == 1 && args.b == "x"`."""
    found = _CALL.fullmatch(pattern.strip())
    if found is None:
        return None
    if found["when"]:
        args = _equalities(found["when"])
        return Call(found["tool"], args) if args is not None else None
    event = case.context.env.get("event")
    fits = isinstance(event, Mapping) and event.get("tool") == found["tool"]
    return Call(found["tool"], dict(event.get("args", {}))) if fits and isinstance(event, Mapping) else None


def _equalities(condition: str) -> dict[str, Any] | None:
    """The arguments that a conjunction of equalities fixes; None for any other condition."""
    args: dict[str, Any] = {}
    terms = condition.split(_AND)
    for term in terms[:MAX_TERMS]:
        found = _EQUALS.fullmatch(term.strip())
        try:
            args |= {found[1]: json.loads(found[2])} if found else {}
        except ValueError:  # a text with && in it, or no equality with a literal
            return None
        if not found:
            return None
    return args if len(terms) <= MAX_TERMS else None
