"""`bylaw replay-agent`: recorded tool calls of a fully hijacked agent, before the engine and the rails of a policy.

The room of evaluation gets a `Check`; here it is the guard's own judgement, with the session's taint, sums and calls counted as the guard
counts them. A redacted call runs without what was cut, if what remains is allowed. No clock: it is noon, and nobody's approval runs out.
The rails are those of the library and `request.unnamed` (`replay_parties`). A policy may name tools that a suite brings: their schemas
are taken from the suite where the policy has none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bylaw.canonical import digest
from bylaw.errors import BylawError
from bylaw.evals import replay_suite
from bylaw.evals.replaying import APPROVED, Approver, By, Check, Fate, Played, Ruling, Scenario, replay, summed
from bylaw.govern.cutting import Uncut, cut_args
from bylaw.govern.guard import LOCAL, Guard, Judged
from bylaw.govern.rails.library import known
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.session import History
from bylaw.policy import parse
from bylaw.recipes.replay_parties import UnnamedParties
from bylaw.types import EMPTY, Decision, Event, Policy

ENV: Final[Mapping[str, Any]] = {"name": "replay", "hour": 12}
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Gate:
    """A policy as a gate for replays."""

    guard: Guard
    policy: Policy

    @classmethod
    def of(cls, policy: Path | Policy, tools: Mapping[str, Mapping[str, Any]] = EMPTY) -> "Gate":
        """Load a policy. `tools` are the schemas of a suite, for the tools that the policy does not describe itself."""
        written = policy if isinstance(policy, Policy) else parse.load(policy)
        described = replace(written, tools={**tools, **written.tools}) if tools else written
        rails = {**known(), (rail := UnnamedParties()).name: rail}
        return cls(Guard(described, rails=rails), written)

    def open(self, request: str, principal: Mapping[str, Any], approver: Approver) -> "GateSession":
        """A new session: what `evals` calls a Check."""
        return GateSession(self.guard, RailFacts(request=request), {**LOCAL, **principal}, approver)


@dataclass(slots=True)
class GateSession:
    """One conversation before the guard."""

    guard: Guard
    facts: RailFacts
    principal: Mapping[str, Any]
    approver: Approver
    history: History = field(default_factory=lambda: History("replay"))

    def call(self, tool: str, args: Mapping[str, Any], by: By) -> Ruling:
        """Judge a call as the guard judges it, and count it."""
        judged = self._judged(Event("tool_call", tool, args))
        cut: Mapping[str, Any] | None = None
        if _redacting(judged):
            try:
                cut = cut_args(dict(args), judged.placed, judged.decision.hits)
            except Uncut:
                return _ruling("stopped", judged.decision, "what was found cannot be cut out")
            judged = self._judged(Event("tool_call", tool, cut))
            if _redacting(judged):
                return _ruling("stopped", judged.decision, "what was found cannot be cut out")
        decision = judged.decision
        if decision.effect == "allow":
            self.history = self.history.after(judged.event, decision)
            return _ruling("ran", decision)._replace(args=cut)
        if decision.effect != "require_approval":
            return _ruling("stopped", decision)
        return self._waits(judged, by)._replace(args=cut)

    def result(self, tool: str, text: str) -> Ruling:
        """Judge a tool's result, which taints the session where it passes."""
        judged = self._judged(Event("tool_result", tool, EMPTY, text))
        decision = judged.decision
        self.history = self.history.after(judged.event, decision, trusted=judged.book.trusted)
        return _ruling("ran" if decision.effect in ("allow", "redact") else "stopped", decision)

    def _judged(self, event: Event) -> Judged:
        book = self.guard.places.book(self.principal)
        filled = replace(event, principal=self.principal, session=self.history.facts(book.zeros), env=ENV)
        return self.guard.judge(filled, self.facts)

    def _waits(self, judged: Judged, by: By) -> Ruling:
        """What becomes of a call that waits for a person: it counts while it waits, and for good once it may run."""
        ref = digest({"call": len(self.history.calls), "held": len(self.history.held), "args": dict(judged.event.args)})
        waiting = self.history.after(judged.event, judged.decision, ref)
        agreed = self.approver == "yes" or (self.approver == "knows" and by == "user")
        if agreed:
            self.history = waiting.kept(ref)
            return _ruling("ran", judged.decision, APPROVED)
        if self.approver == "nobody":
            self.history = waiting
            return _ruling("held", judged.decision)
        self.history = waiting.given_back(ref)
        return _ruling("denied", judged.decision)


def _redacting(judged: Judged) -> bool:
    """Whether something must be cut out of a call before it may run, or wait."""
    return judged.decision.effect in ("redact", "require_approval") and judged.book.redacts(judged.event, judged.decision)


def _ruling(fate: Fate, decision: Decision, reason: str = "") -> Ruling:
    return Ruling(fate, decision.clauses, decision.rules, reason or decision.reason)


class OpenGate:
    """No gate at all: every call runs. What comes through here is the most that a suite's attacks can do."""

    def call(self, tool: str, args: Mapping[str, Any], by: By) -> Ruling:
        """It runs."""
        return Ruling("ran")

    def result(self, tool: str, text: str) -> Ruling:
        """It passes."""
        return Ruling("ran")


def no_gate(request: str, principal: Mapping[str, Any], approver: Approver) -> OpenGate:
    """The Check of no gate."""
    return OpenGate()


# ---- A suite of ours -----------------------------------------------------------------------------------------------------


def replay_file(file: Path, policy: Path, approver: Approver = "nobody", told: Told | None = None) -> dict[str, Any]:
    """Replay a suite without a gate and before a policy; the value of the report."""
    suite, gate = replay_suite.load(file), Gate.of(policy)
    open_rows = _rows(suite.scenarios, no_gate, approver)
    rows = _rows(suite.scenarios, gate.open, approver, told)
    head = {"suite": suite.name, "suite_digest": suite.digest}
    return report(head, gate.policy, approver, rows, open_rows)


def _rows(scenarios: tuple[Scenario, ...], check: Check, approver: Approver, told: Told | None = None) -> list[Played]:
    rows: list[Played] = []
    for at, one in enumerate(scenarios, 1):
        try:
            rows.append(replay(one, check, approver, attacked=False))
            if one.attack:
                rows.append(replay(one, check, approver))
        except (TypeError, ValueError) as error:
            raise BylawError(f"scenario {one.id} cannot be replayed: {error}", "Its arguments must be plain JSON.") from error
        if told:
            told(at, len(scenarios))
    return rows


def report(head: Mapping[str, Any], policy: Policy, approver: Approver, rows: list[Played], open_rows: list[Played]) -> dict[str, Any]:
    """One replay as one JSON value: nothing in it depends on a time or a path."""
    about = {"kind": "replay", **head, "policy": policy.digest, "policy_id": policy.id, "approver": approver}
    return {**about, "gate": summed(rows), "no_gate": summed(open_rows), "rows": [one.to_json() for one in rows]}
