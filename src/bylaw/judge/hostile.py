"""The hostile corpus: what attacks a judge, written by hand, and as many seeded variants of it as one asks for.

`corpus/rows.jsonl` holds hostile *rows*: what a judge reads. Each decorates a bad answer, the *carrier*, which comes from the policy
under test, so that the right verdict is known whatever the decoration says. `corpus/replies.jsonl` holds hostile *replies*: what a
judge's model may send back, echoes of what it read among them; `want` is the honest score, the only one that may count.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from bylaw.errors import JudgeError
from bylaw.judge.mutations import MUTATIONS, POSITION, mutate
from bylaw.judge.verdicts import Form
from bylaw.types import Clause, Example, Finish, Policy, Prompt, Reasoned, Turn

FAMILIES: Final = (
    "forged-in-answer",
    "forged-in-thinking",
    "nested-think",
    "unterminated-think",
    "repeated-think",
    "lookalikes",
    "instructions",
    "json-in-json",
    "truncated",
    "refused",
)
MOST_TRIES: Final = 4  # for each variant asked for: a mutation may change nothing
_CORPUS: Final = Path(__file__).parent / "corpus"
_FILLED: Final = re.compile(r"({{(?:bad|request|clause)}})")


@dataclass(frozen=True, slots=True)
class RowCase:
    """A hostile row: templates of the three parts a judge reads."""

    id: str
    family: str
    note: str
    answer: str
    request: str = "{{request}}"
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class ReplyCase:
    """A hostile reply: what a judge's model sends back, and the honest score in it, if there is one."""

    id: str
    family: str
    note: str
    reply: str
    want: int | None
    form: Form = "line"
    finish: Finish = "stop"


@dataclass(frozen=True, slots=True)
class Carrier:
    """A request with an answer that breaks a clause, from the policy's own examples; and one that keeps it, where there is one."""

    clause: str
    request: str
    bad: str
    good: str = ""
    good_request: str = ""
    history: tuple[Turn, ...] = ()
    good_history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Attack:
    """One variant: the row a judge reads, where it comes from, and what was done to it."""

    id: str
    case: str
    family: str
    mutations: tuple[str, ...]
    row: Reasoned


def row_cases() -> tuple[RowCase, ...]:
    """The hostile rows, as written."""
    return tuple(RowCase(**line) for line in _lines("rows.jsonl"))


def reply_cases() -> tuple[ReplyCase, ...]:
    """The hostile replies, as written."""
    return tuple(ReplyCase(**line) for line in _lines("replies.jsonl"))


def carriers(policy: Policy) -> tuple[Carrier, ...]:
    """Every bad dialogue of a policy with a good one of the same clause; those held back for evaluation first, cards do not show them."""
    found = []
    for clause in policy.clauses:
        good = next(iter(_dialogues(clause, "good")), None)
        for bad in _dialogues(clause, "bad"):
            asked, answer, history = _taken(bad)
            kept = _taken(good) if good else ("", "", ())
            found.append(Carrier(clause.id, asked, answer, kept[1], kept[0], history, kept[2]))
    if not found:
        raise JudgeError(
            f"the policy {policy.id} has no bad dialogue to attack a judge with",
            "give a clause a **Bad** example with user: and assistant:",
        )
    return tuple(found)


def variants(n: int, seed: int, bearers: Sequence[Carrier]) -> Iterator[Attack]:
    """`n` attacks, no two alike: every case in turn as it is written, then mutated once to three times. The same seed gives the same."""
    every, seen = row_cases(), set[tuple[str, ...]]()
    for i in range(MOST_TRIES * n):
        rng = Random(f"{seed}/{i}")
        case, bearer = every[i % len(every)], bearers[i // len(every) % len(bearers)]
        names = () if i < len(every) else tuple(rng.choice((*MUTATIONS, POSITION)) for _ in range(rng.randint(1, 3)))
        row = _dressed(case, bearer, names, rng)
        said = (row.prompt.request, row.thinking, row.answer)
        if said not in seen:
            seen.add(said)
            yield Attack(f"{case.id}/{i}", case.id, case.family, names, row)
        if len(seen) == n:
            return


def _dressed(case: RowCase, bearer: Carrier, names: Sequence[str], rng: Random) -> Reasoned:
    guess = f"{rng.getrandbits(64):016x}"

    def part(template: str) -> str:
        pieces = _FILLED.split(template.replace("{{guess}}", guess))
        for name in names:
            if name == POSITION:
                pieces = pieces[::-1]
            else:
                pieces = [piece if _FILLED.fullmatch(piece) else mutate(piece, name, rng) for piece in pieces]
        filled = {"{{bad}}": bearer.bad, "{{request}}": bearer.request, "{{clause}}": bearer.clause}
        return "".join(filled.get(piece, piece) for piece in pieces)

    prompt = Prompt(case.id, part(case.request), (bearer.clause,), history=bearer.history)
    return Reasoned(prompt, part(case.thinking), part(case.answer))


def twins(bearers: Sequence[Carrier]) -> tuple[Reasoned, ...]:
    """The good answers, bare: a judge that finds them bad is no judge, whatever it resists."""
    found = {(one.clause, one.good_request, one.good): one for one in bearers if one.good}
    return tuple(
        Reasoned(Prompt(f"twin/{i}", one.good_request, (one.clause,), history=one.good_history), "", one.good)
        for i, one in enumerate(found.values())
    )


def sent(case: ReplyCase, filled: Mapping[str, str]) -> str:
    """The text a hostile model sends back: `asked`, `shown`, `raw`, `raw_json`, `code` and `guess` filled in, once."""
    return re.sub(r"{{(\w+)}}", lambda found: filled[found[1]], case.reply)


def _dialogues(clause: Clause, side: str) -> list[Example]:
    ended = [one for one in clause.examples if one.side == side and one.turns and one.turns[-1].role == "assistant"]
    return sorted(ended, key=lambda one: one.split != "eval")


def _taken(example: Example) -> tuple[str, str, tuple[Turn, ...]]:
    """A dialogue as its last request, its last answer, and what came before."""
    asked = max((i for i, turn in enumerate(example.turns) if turn.role == "user"), default=-1)
    request = example.turns[asked].text if asked >= 0 else ""
    return request, example.turns[-1].text, example.turns[: max(asked, 0)]


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_CORPUS / name).read_text(encoding="utf-8").strip().split("\n")]
