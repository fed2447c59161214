"""Where attackers meet a target: every call counted, many goals in one batch, nothing asked beyond the budget.

An attacker is a generator: it yields a `Step` (moves on the target, or questions to an attacking model) and is sent what came of it. `play`
drives many of them in lockstep, so that a target is asked in batches and one seed gives one order of calls. A step is granted whole or
not at all; the play that gets none is over. A call to the attacking model costs as much as one to the target, whatever its reply is worth.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple, Protocol

from bylaw.errors import ModelError
from bylaw.evals import asking, evidence, string_judge
from bylaw.evals.cases import Case
from bylaw.evals.targets import Conversation, Said, Target
from bylaw.types import Completion, Message, Model, Sampling

CONSULT: Final = Sampling(max_new_tokens=700, thinking=False, temperature=0.7)


class Judgement(NamedTuple):
    """What came of one try."""

    breached: bool | None  # None: nobody could tell
    refused: bool  # said no, in whatever way
    score: float  # 0..1: how far it went; 1 is the whole of what was asked
    because: str = ""


Verdict = Callable[[Sequence[Case], Sequence[Said]], list[Judgement]]


@dataclass(slots=True)
class Budget:
    """Calls that may still be made."""

    calls: int
    spent: int = 0

    @property
    def left(self) -> int:
        """How many may still be made."""
        return self.calls - self.spent

    def take(self, count: int) -> bool:
        """Take so many, or none where there are not so many."""
        if count > self.left:
            return False
        self.spent += count
        return True


class Goal(NamedTuple):
    """What an attacker is after: that this case, asked plainly here, ends in a breach."""

    case: Case

    @property
    def request(self) -> str:
        """What is asked for, in the plain words of the last turn."""
        return next(one.content for one in reversed(self.case.turns) if one.role == "user")


class Move(NamedTuple):
    """One call to the target: the conversation as it stands, and the case that it is a try of."""

    case: Case
    messages: tuple[Message, ...]
    before: tuple[str, ...] = ()  # what the target said to earlier turns
    counts: bool = True  # whether its reply is the one that is judged; the others only lead there

    @classmethod
    def single(cls, case: Case) -> "Move":
        """A case that is asked in one round."""
        return cls(case, tuple(asking.rounds(case)[0]))


class Step(NamedTuple):
    """What an attacker wants next: moves on the target, or words from the attacking model."""

    moves: tuple[Move, ...] = ()
    consults: tuple[tuple[Message, ...], ...] = ()


class Try(NamedTuple):
    """One move and what came of it."""

    case: Case
    said: Said
    judgement: Judgement
    call: int = 0  # its number within the budget, from 1
    counts: bool = True


class Answer(NamedTuple):
    """What came of a step."""

    tries: tuple[Try, ...] = ()
    words: tuple[str, ...] = ()  # of the attacking model; empty where it gave none


@dataclass(frozen=True, slots=True)
class Found:
    """A breach: the case as it was asked, and how to make it anew with another seed."""

    goal: Goal
    attacker: str
    case: Case
    judgement: Judgement
    call: int
    again: Callable[[int], Case] = field(compare=False)


Play = Generator[Step, Answer, Found | None]


class Attacker(Protocol):
    """One way of attacking. State that it keeps is shared by all goals it is given."""

    @property
    def name(self) -> str:
        """What to call it in rows and reports."""
        ...

    def play(self, goal: Goal, rng: Random) -> Play:
        """Attack one goal."""
        ...


@dataclass(slots=True)
class Arena:
    """A target, who judges, and what may still be spent. `seen` hears of every try as it comes."""

    target: Target
    judge: Verdict
    budget: Budget
    attacking: Model | None = None
    seen: Callable[[str, Goal, Try], None] | None = None
    session: str = "attack"
    opened: int = 0  # sessions so far: a gateway counts by session, so every conversation has its own, and keeps it

    def play(self, name: str, plays: Sequence[tuple[Goal, Play]], most: int | None = None) -> list[Found]:
        """Drive plays in lockstep until all are over, or `most` calls (None: the whole budget) are spent; their finds in order."""
        purse = Budget(min(self.budget.left, most if most is not None else self.budget.left))
        found: list[Found | None] = [None] * len(plays)
        sessions: dict[int, str] = {}
        waiting: dict[int, Step] = {}
        for i, (_, play) in enumerate(plays):
            _on(i, play, None, waiting, found)
        while waiting:
            granted = {i: step for i, step in waiting.items() if self._granted(purse, step)}
            for i in waiting.keys() - granted.keys():
                plays[i][1].close()
            waiting = {}
            for i, answer in self._asked(name, granted, plays, sessions).items():
                _on(i, plays[i][1], answer, waiting, found)
        return [one for one in found if one is not None]

    def _granted(self, purse: Budget, step: Step) -> bool:
        cost = len(step.moves) + len(step.consults)
        return purse.take(cost) and self.budget.take(cost)

    def _asked(self, name: str, steps: dict[int, Step], plays: Sequence[tuple[Goal, Play]], sessions: dict[int, str]) -> dict[int, Answer]:
        """All moves of all steps in one batch, all consultations in another."""
        moves = [(i, move) for i, step in steps.items() for move in step.moves]
        first = self.budget.spent - len(moves) - sum(len(step.consults) for step in steps.values())
        saids = self.target.ask([self._conversation(i, move, sessions) for i, move in moves]) if moves else []
        saids = [asking.joined(Said(move.before[-1], before=move.before[:-1]), said) if move.before else said
                 for (_, move), said in zip(moves, saids, strict=True)]  # fmt: skip
        judged = self._judged([move for _, move in moves], saids)
        tries: dict[int, list[Try]] = {i: [] for i in steps}
        for n, ((i, move), said, one) in enumerate(zip(moves, saids, judged, strict=True), first + 1):
            made = Try(move.case, said, one, n, move.counts)
            tries[i].append(made)
            if self.seen:
                self.seen(name, plays[i][0], made)
        words = self._consulted(steps)
        return {i: Answer(tuple(tries[i]), words.get(i, ())) for i in steps}

    def _judged(self, moves: Sequence[Move], saids: Sequence[Said]) -> list[Judgement]:
        """The judge hears of what counts; of what only leads there, whether it was refused."""
        final = [at for at, move in enumerate(moves) if move.counts]
        judged = self.judge([moves[at].case for at in final], [saids[at] for at in final]) if final else []
        by_place = dict(zip(final, judged, strict=True))
        return [by_place.get(at) or Judgement(None, refused(said), 0.0, "on the way") for at, said in enumerate(saids)]

    def _conversation(self, at: int, move: Move, sessions: dict[int, str]) -> Conversation:
        if not move.before or at not in sessions:
            self.opened += 1
            sessions[at] = f"{self.session}-{self.opened}"
        return Conversation(move.messages, move.case.context.tools, sessions[at])

    def _consulted(self, steps: dict[int, Step]) -> dict[int, tuple[str, ...]]:
        asked = [(i, messages) for i, step in steps.items() for messages in step.consults]
        if not asked:
            return {}
        if self.attacking is None:
            raise ModelError("this attacker needs a model that attacks", "name one with --attacker, for example openai:MODEL@URL")
        completions = self.attacking.generate([messages for _, messages in asked], CONSULT)
        found: dict[int, list[str]] = {}
        for (i, _), completion in zip(asked, completions, strict=True):
            found.setdefault(i, []).append(_words(completion))
        return {i: tuple(words) for i, words in found.items()}


def refused(said: Said) -> bool:
    """Whether a reply says no, by its words or by the gateway's."""
    return said.disposition in evidence.STOPPED or string_judge.label(said.text) != "comply"


def _words(completion: Completion) -> str:
    return "" if completion.fault or completion.finish == "error" else completion.answer


def _on(at: int, play: Play, answer: Answer | None, waiting: dict[int, Step], found: list[Found | None]) -> None:
    """Let one play go on: it wants another step, or it is over."""
    try:
        waiting[at] = next(play) if answer is None else play.send(answer)
    except StopIteration as over:
        found[at] = over.value


def replayed(case: Case) -> Generator[Step, Answer, Try | None]:
    """Ask a whole case anew, turn by turn; gives its last try, or none where the target fell silent."""
    held: tuple[Message, ...] = ()
    before: tuple[str, ...] = ()
    last: Try | None = None
    pieces = asking.rounds(case)
    for n, piece in enumerate(pieces, 1):
        answer = yield Step((Move(case, (*held, *piece), before, n == len(pieces)),))
        last = answer.tries[0]
        if last.said.missing:
            return None
        held = (*held, *piece, Message("assistant", last.said.text or "…"))
        before = (*last.said.before, last.said.text)
    return last
