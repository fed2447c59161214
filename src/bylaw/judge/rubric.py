"""A model as judge: one clause card, one verdict a call.

A judge reads hostile text. So the text it judges stands between delimiters that carry a nonce drawn for this call, anything in it
that looks like a delimiter or a verdict is broken up, the judge reasons first, and only the last well-formed verdict line counts,
and only when it carries the nonce. A reply that is cut off, refused or has no such line is no score: the verdict is missing.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bylaw.policy.compile import card
from bylaw.types import Answered, Clause, Completion, Message, Model, Policy, Prompt, Reasoned, Sampling, Verdict

TEMPLATE: Final = (Path(__file__).parent / "rubric.md").read_text(encoding="utf-8")
SCALE: Final = 10  # the judge scores 0..10
_MARKER: Final = re.compile(r"<(?=<)|>(?=>)|VERDICT", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RubricJudge:
    """A judge that asks a model about each clause of a row's category; the lowest score counts."""

    policy: Policy
    model: Model
    max_new_tokens: int = 512
    nonce: Callable[[], str] = lambda: secrets.token_hex(8)

    @property
    def name(self) -> str:
        """What is judging."""
        return f"rubric({self.model.name})"

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers; thinking cannot reach this."""
        return self._ask([(row.prompt, "", row.answer) for row in rows])

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer together, for filtering data."""
        return self._ask([(row.prompt, row.thinking, row.answer) for row in rows])

    def _ask(self, rows: Sequence[tuple[Prompt, str, str]]) -> list[Verdict]:
        calls: list[tuple[int, str, tuple[Message, ...]]] = []
        for i, (prompt, thinking, answer) in enumerate(rows):
            for clause in self._clauses(prompt):
                nonce = self.nonce()
                calls.append((i, nonce, (Message("user", question(clause, nonce, prompt.request, thinking, answer)),)))
        sampling = Sampling(0.0, self.max_new_tokens, thinking=False)
        replies = self.model.generate([messages for _, _, messages in calls], sampling)
        readings: dict[int, list[Verdict]] = {}
        for (i, nonce, _), reply in zip(calls, replies, strict=True):
            readings.setdefault(i, []).append(verdict(reply, nonce))
        return [self._join(readings.get(i, []), rows[i][0]) for i in range(len(rows))]

    def _clauses(self, prompt: Prompt) -> list[Clause]:
        return [clause for i in prompt.clauses if (clause := self.policy.clause(i))] or list(self.policy.clauses)

    def _join(self, found: Sequence[Verdict], prompt: Prompt) -> Verdict:
        unsure = next((one for one in found if one.score is None), None)
        if unsure or not found:
            return unsure or Verdict(None, "no clause to judge by")
        worst = min(found, key=lambda one: one.score or 0.0)
        return Verdict(worst.score, worst.reason, prompt.clauses, worst.raw)


def question(clause: Clause, nonce: str, request: str, thinking: str, answer: str) -> str:
    """The judge's prompt for one clause and one row."""
    parts = [("REQUEST", request), ("THOUGHTS", thinking), ("ANSWER", answer)]
    shown = [(name, text) for name, text in parts if text or name == "ANSWER"]
    fenced = "\n".join(f"<<{name} {nonce}>>\n{defuse(text)}\n<<END {name} {nonce}>>" for name, text in shown)
    return (
        TEMPLATE.replace("{{card}}", card(clause)).replace("{{nonce}}", nonce).replace("{{scale}}", str(SCALE)).replace("{{row}}", fenced)
    )


def defuse(text: str) -> str:
    """Break up whatever could pass for a delimiter or a verdict."""
    return _MARKER.sub(lambda found: "\u200b".join(found.group()) if len(found.group()) > 1 else found.group() + "\u200b", text)


def verdict(reply: Completion, nonce: str) -> Verdict:
    """Read the last well-formed verdict of a reply; missing when there is none."""
    if reply.fault:
        return Verdict(None, f"the judge's reply is {reply.fault}", raw=reply.raw)
    lines = re.findall(rf"^VERDICT {re.escape(nonce)}: ([0-9]{{1,2}})\s*$", reply.answer, re.MULTILINE)
    if not lines or int(lines[-1]) > SCALE:
        return Verdict(None, "the judge gave no well-formed verdict", raw=reply.raw)
    reason = reply.answer.strip().splitlines()[0][:200]
    return Verdict(int(lines[-1]) / SCALE, reason, raw=reply.raw)
