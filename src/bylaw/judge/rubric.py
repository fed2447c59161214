"""A model as judge: one clause card, one verdict a call.

A judge reads hostile text: what it is shown is `framing`'s, what its reply is worth is `verdicts`'s. Here rows become calls and calls
become rows again. Of several clauses the lowest score counts, and one that is missing makes the row missing. A row is judged whole
or not at all: what is too long to show, or belongs to too many clauses, is missing, with the reason.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from bylaw.judge import framing, verdicts
from bylaw.judge.framing import Part
from bylaw.judge.verdicts import SCALE, SCHEMA, Form
from bylaw.policy.compile import card
from bylaw.types import Answered, Clause, Message, Model, Policy, Prompt, Reasoned, Sampling, Verdict

_HERE: Final = Path(__file__).parent
TEMPLATE: Final = (_HERE / "rubric.md").read_text(encoding="utf-8")
REPLIES: Final[dict[Form, str]] = {form: (_HERE / f"reply_{form}.md").read_text(encoding="utf-8") for form in ("line", "json")}
MOST_CHARS: Final = 48_000  # of all that one call shows of a row, escapes included: about 12,000 tokens
MOST_CLAUSES: Final = 64  # of one row, each a call
RESAMPLED: Final = 0.7  # the temperature of several readings: at 0 they would be copies of each other, and so would be their errors


class Call(NamedTuple):
    """One question to the judge: a row, a clause, and the code its verdict must carry."""

    row: int
    code: str
    question: str


@dataclass(frozen=True, slots=True)
class RubricJudge:
    """A judge that asks a model about each clause of a row's category; the lowest score counts."""

    policy: Policy
    model: Model
    key: bytes = framing.key(0)  # of the codes: from the run's seed, and a secret where there is one
    form: Form = "line"  # json for a model whose backend holds a reply to a schema
    thinking: bool = False  # whether the model is asked to think first; what it thinks never counts
    max_new_tokens: int = 512
    reading: int = 0  # which of several independent readings this judge gives
    temperature: float = 0.0
    most_chars: int = MOST_CHARS
    most_clauses: int = MOST_CLAUSES

    @property
    def name(self) -> str:
        """What is judging."""
        return f"rubric({self.model.name})"

    def reread(self, reading: int, of: int) -> "RubricJudge":
        """The judge that gives one of several readings: other codes, so other calls, and a temperature where there are several."""
        return replace(self, reading=reading, temperature=RESAMPLED if of > 1 else self.temperature)

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers; thinking cannot reach this."""
        return self._ask([(row.prompt, "", row.answer) for row in rows])

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer together, for filtering data."""
        return self._ask([(row.prompt, row.thinking, row.answer) for row in rows])

    def _ask(self, rows: Sequence[tuple[Prompt, str, str]]) -> list[Verdict]:
        cards = {clause.id: framing.defuse_tags(card(clause, self.policy.styles)) for clause in self.policy.clauses}
        calls: list[Call] = []
        found: dict[int, list[Verdict]] = {}
        for i, (prompt, thinking, answer) in enumerate(rows):
            asked = self._calls(i, prompt, [*_told(prompt), *_said(thinking, answer)], cards)
            if isinstance(asked, str):
                found[i] = [Verdict(None, asked)]
            else:
                calls.extend(asked)
        sampling = Sampling(
            self.temperature, self.max_new_tokens, self.thinking, self.reading, reply_schema=SCHEMA if self.form == "json" else None
        )
        replies = self.model.generate([(Message("user", call.question),) for call in calls], sampling) if calls else []
        for call, reply in zip(calls, replies, strict=True):
            found.setdefault(call.row, []).append(verdicts.read(reply, call.code, self.form))
        return [_join(found.get(i, []), prompt) for i, (prompt, _, _) in enumerate(rows)]

    def _calls(self, row: int, prompt: Prompt, parts: Sequence[Part], cards: dict[str, str]) -> list[Call] | str:
        """The calls of one row, or why it cannot be judged."""
        clauses = self._clauses(prompt)
        if isinstance(clauses, str):
            return clauses
        if sum(len(part.text) for part in parts) > self.most_chars:
            return f"too long to judge: more than {self.most_chars} characters"
        shown = [Part(part.name, framing.defuse(part.text)) for part in parts]
        if sum(len(part.text) for part in shown) > self.most_chars:
            return f"too long to judge: more than {self.most_chars} characters when shown safely"
        calls = []
        for clause in clauses:
            code = framing.code(self.key, cards[clause.id], shown, self.reading)
            if any(code in part.text for part in parts):
                return "the judged text holds this call's code: the judge's key may be known"
            calls.append(Call(row, code, question(cards[clause.id], code, shown, self.form)))
        return calls

    def _clauses(self, prompt: Prompt) -> list[Clause] | str:
        unknown = next((i for i in prompt.clauses if self.policy.clause(i) is None), None)
        if unknown is not None:
            return f"the policy has no clause {unknown[:80]}"
        clauses = [clause for i in prompt.clauses if (clause := self.policy.clause(i))] or list(self.policy.clauses)
        if len(clauses) > self.most_clauses:
            return f"{len(clauses)} clauses may apply, and at most {self.most_clauses} are judged: name the row's clauses"
        return clauses or "no clause to judge by"


def question(shown_card: str, code: str, shown: Sequence[Part], form: Form = "line") -> str:
    """The judge's prompt for one clause and one row, whose parts are already broken up."""
    filled = {"card": shown_card, "code": code, "scale": str(SCALE), "row": framing.fenced(shown, code)}
    template = TEMPLATE.rstrip("\n").replace("{{reply}}", REPLIES[form])
    return re.sub(r"{{(\w+)}}", lambda found: filled[found[1]], template)  # one pass: what is filled in is not filled again


def _told(prompt: Prompt) -> list[Part]:
    """What was said before the answer. A part's name comes from us; a turn's role is one of four."""
    earlier = [Part(f"TURN {i} {turn.role.upper()}", turn.text) for i, turn in enumerate(prompt.history, 1)]
    return [*earlier, *([Part("REQUEST", prompt.request)] if prompt.request else [])]


def _said(thinking: str, answer: str) -> list[Part]:
    return [*([Part("THOUGHTS", thinking)] if thinking else []), Part("ANSWER", answer)]


def _join(found: Sequence[Verdict], prompt: Prompt) -> Verdict:
    unsure = next((one for one in found if one.score is None), None)
    if unsure or not found:
        return unsure or Verdict(None, "the judge was asked nothing")
    worst = min(found, key=lambda one: one.score or 0.0)
    return Verdict(worst.score, worst.reason, prompt.clauses, worst.raw)
