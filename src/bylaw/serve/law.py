"""The policy that holds now, ready to be asked by the ports: which rails see a text, what is decided, whether an answer may stream.

A request keeps the law it came under to its end; a stop is looked up anew before anything is released.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from bylaw.govern.at_once import named
from bylaw.govern.engine import decide
from bylaw.govern.rails.asking import Answer
from bylaw.govern.rails.ensemble import Ensemble, Vote, agree, ensembles
from bylaw.govern.rails.rail import NO_FACTS, RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.govern.session import UNREAD, History
from bylaw.govern.streaming import Look, Weigh
from bylaw.policy.strictest import ORDER
from bylaw.serve.sayings import Sayings, sayings
from bylaw.types import EMPTY, Decision, Event, Hit, Surface

Found = Mapping[str, Sequence[Hit]]
Ask = Callable[[Event, Sequence[str], RailFacts], tuple[Found, Collection[str]]]  # hits by rail, and the rails that failed

NOBODY: Final = Decision("allow", (), (), "")
_RANKS: Final[Mapping[str, int]] = {effect: rank for rank, effect in enumerate((*ORDER, "stop"))}
_QUOTED: Final = re.compile(r"""r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*'""")
LONG_CHARS: Final = 8_000  # of a text, or of a call's arguments; a text made to be decoded takes about 10 us a character
READERS: Final = ThreadPoolExecutor(2, "rails")  # RE2 lets go of Python's lock, and Python's own work of it every 5 ms
_HAS: Final = re.compile(r"\bhas\s*\(")
_TEXT: Final = re.compile(r"(?<![\w.])text\b")


def _long(event: Event) -> bool:
    """Whether rails have so much to read that the loop would stand still meanwhile."""
    if len(event.text) > LONG_CHARS:
        return True
    left, waiting = LONG_CHARS, list[Any](event.args.values())
    while waiting and left >= 0:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += one.values()
            left -= sum(map(len, one))
        elif isinstance(one, list | tuple):
            waiting += one
        left -= len(one) if isinstance(one, str) else 1
    return left < 0


class RailFailed(Exception):  # noqa: N818  # becomes a decision, never an answer by itself
    """A rail could not be asked while an answer was streaming: what depends on it is undecidable."""


class Agreed(NamedTuple):
    """What the checks that clauses require said of one answer."""

    decisions: list[Decision]  # of the clauses whose checks did not all pass
    votes: Mapping[str, Mapping[str, Vote]]  # by clause and check


@dataclass(frozen=True)
class Law:
    """One policy in force."""

    book: Rulebook
    ask: Ask
    spans: Mapping[str, int | None] = field(default_factory=dict)  # rail -> the longest span it can match
    slow: frozenset[str] = frozenset()  # rails that ask a model: never on the event loop

    def __post_init__(self) -> None:
        """A policy that asks for an agreement and does not say clearly what then is refused where it is made ready."""
        ensembles(self.book.policy)
        sayings(self.book.policy)

    @cached_property
    def sayings(self) -> Sayings:
        """What replies say besides their answers."""
        return sayings(self.book.policy)

    @cached_property
    def shares_stored(self) -> bool:
        """Whether everybody may name what the upstream keeps, whoever it was given to."""
        return self.book.policy.extra.get("x-stored") == "shared"

    @property
    def digest(self) -> str:
        """The policy's digest."""
        return self.book.digest

    def now(self, event: Event, facts: RailFacts = NO_FACTS, stops: Collection[str] = ()) -> Decision:
        """Decide here and now."""
        names = self.book.rails_for(event.surface, event.tool)
        if not names:
            return decide(event, self.book, EMPTY, (), stops)
        found, failed = self.ask(event, names, facts)
        return decide(event, self.book, found, failed, stops)

    def idle(self, surface: Surface, tool: str = "") -> bool:
        """Whether no rule stands on this surface, so that its written default holds and there is nothing to ask. Never of a call."""
        slot = self.book.slot(surface, tool)
        return slot is not None and not slot.rules and surface != "tool_call"

    @cached_property
    def quiet(self) -> Decision:
        """What is decided where no rule stands."""
        return Decision("allow", (), (), self.digest, reason="nothing matched")

    @cached_property
    def reads_session(self) -> bool:
        """Whether some condition reads what a session has done: then the store has it, for all processes."""
        return any("session" in rule.when for clause in self.book.policy.clauses for rule in clause.enforce)

    @cached_property
    def session_wanted(self) -> bool:
        """Whether one does that is not about calls: then it is read before anything is judged. Calls read it themselves."""
        rules = (rule for clause in self.book.policy.clauses for rule in clause.enforce if "session" in rule.when)
        return any(set(rule.on) - {"tool_call"} for rule in rules)

    @cached_property
    def _by_fields(self) -> bool:
        """Whether conditions read of a session only fields by their names: then one that is not there is undecidable, and nothing else."""
        sources = [rule.when for clause in self.book.policy.clauses for rule in clause.enforce if "session" in rule.when]
        return named("session", sources) is not None and not any(_HAS.search(one) for one in sources)

    def session(self, history: History) -> Mapping[str, Any]:
        """A session as conditions see it. Of one that is unread they see its name: what reads more of it is undecidable."""
        unread = history.full and history.id.startswith(UNREAD)
        return {"id": history.id} if unread and self._by_fields else history.facts(self.book.zeros)

    async def judge(self, event: Event, facts: RailFacts = NO_FACTS, stops: Collection[str] = ()) -> Decision:
        """Decide; where a rail asks a model or has much to read, in a thread: meanwhile the others' requests go on."""
        names = self.book.rails_for(event.surface, event.tool)
        if self.slow and self.slow.intersection(names):
            return await asyncio.get_running_loop().run_in_executor(None, self.now, event, facts, stops)
        if names and _long(event):
            return await asyncio.get_running_loop().run_in_executor(READERS, self.now, event, facts, stops)
        return self.now(event, facts, stops)

    @cached_property
    def required(self) -> tuple[Ensemble, ...]:
        """What clauses want to be agreed on before an answer leaves."""
        return ensembles(self.book.policy)

    def agreed(self, event: Event, facts: RailFacts) -> Agreed:
        """What the checks that clauses require say of a whole answer. Where they do not all pass, it does not leave."""
        decisions, votes = [], {}
        for one in self.required:
            found, failed = self.ask(event, one.rails, facts)
            agreement = agree(one.checks, Answer({name: tuple(hits) for name, hits in found.items()}, frozenset(failed)), one.clause)
            votes[one.clause] = agreement.votes
            if decision := one.decided(agreement, self.digest):
                decisions.append(decision)
        return Agreed(decisions, votes)

    # ---- Streams ------------------------------------------------------------------------------------------------------

    @cached_property
    def longest(self) -> int | None:
        """The longest span that any rail on answers can match; None where an answer must be whole before it can be judged.

        So it is where a rail has no bound or asks a model, where a condition reads the text, where the effect is more than to redact or to
        block a span, and where a clause requires several checks to agree.
        """
        if self.required:
            return None
        most = 0
        for surface in ("output", "thinking"):
            slot = self.book.slot(surface, "")
            for rule in slot.rules if slot else ():
                if rule.effect not in ("allow", "redact", "block") or not (rule.detect or rule.effect == "allow") or self._reads(rule.name):
                    return None
            for name in slot.rails if slot else ():
                span = self.spans.get(name)
                if span is None or name in self.slow:
                    return None
                most = max(most, span if surface == "output" else 0)
        return most

    @cached_property
    def looks_at_answers(self) -> bool:
        """Whether any rail searches answers at all."""
        return bool(self.book.rails_for("output", ""))

    @cached_property
    def reads_thinking(self) -> bool:
        """Whether any rule stands on thinking."""
        slot = self.book.slot("thinking", "")
        return bool(slot and slot.rules)

    def _reads(self, name: str) -> bool:
        return name in self._readers

    @cached_property
    def _readers(self) -> frozenset[str]:
        """Rules whose condition reads the text."""
        rules = ((f"{clause.id}/{rule.id}", rule.when) for clause in self.book.policy.clauses for rule in clause.enforce)
        return frozenset(name for name, when in rules if _TEXT.search(_QUOTED.sub('""', when)))

    @cached_property
    def _finders(self) -> dict[str, set[str]]:
        """Which rails have found what has this name: a group's hits have the names of its members, those of `pii.card.plain` `pii.card`."""
        return {}

    def look(self, event: Event, facts: RailFacts) -> Look:
        """The rails on answers, for a stream; `event` says who and in which session."""
        names = self.book.rails_for("output", "")

        def find(text: str) -> Sequence[Hit]:
            found, failed = self.ask(Event("output", "", EMPTY, text, event.principal, event.session, event.env), names, facts)
            if failed:
                raise RailFailed(", ".join(sorted(failed)))
            for name, hits in found.items():
                for hit in hits:
                    self._finders.setdefault(hit.rail, set()).add(name)
            return [hit for hits in found.values() for hit in hits]

        return find

    def weigh(self, event: Event) -> Weigh:
        """The rules on answers, for hits that were found in a stream."""
        names = self.book.rails_for("output", "")

        def say(text: str, hits: Sequence[Hit]) -> Decision:
            found: dict[str, list[Hit]] = {name: [] for name in names}
            for hit in hits:
                for name in self._finders[hit.rail]:
                    found[name].append(hit)
            return decide(Event("output", "", EMPTY, text, event.principal, event.session, event.env), self.book, found)

        return say


def together(decisions: Sequence[Decision]) -> Decision:
    """Several decisions as one: the strictest effect, and everything that led to any of them."""
    if not decisions:
        return NOBODY
    first = decisions[0]
    if len(decisions) == 1 or all(one is first for one in decisions):
        return first
    worst = max(decisions, key=lambda one: _RANKS[one.effect])
    told = [one for one in decisions if one.clauses or one.undecided or one.needs] or [worst]
    return Decision(
        worst.effect,
        tuple(dict.fromkeys(clause for one in told for clause in one.clauses)),
        tuple(dict.fromkeys(rule for one in told for rule in one.rules)),
        worst.policy,
        tuple(dict.fromkeys(rule for one in told for rule in one.undecided)),
        worst.reason,
        tuple(dict.fromkeys(need for one in told for need in one.needs)),
    )


def blocked(law: Law, reason: str, undecided: str = "event") -> Decision:
    """The decision about what could not be judged at all."""
    return Decision("block", (), (), law.digest, (undecided,), f"could not be decided: {reason}")
