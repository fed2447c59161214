"""bylaw in Inspect (the extra `inspect`): suites as tasks, our scorer, our models as a provider, and a policy as an approver.

Inspect finds this module by its entry point (group `inspect_ai`), so that these work from its command line:

    inspect eval bylaw/suite -T suite=refunds.jsonl -T policy=policies/refunds --model bylaw/scripted:replies.jsonl
    inspect eval agent.py --model … --approval approval.yaml     # approvers: [{name: bylaw/policy, tools: "*", policy: policies/refunds}]
    inspect view

1. A score is C where the case was followed, I where it was violated or over-refused, N where nobody could tell: N is never a pass, and the
   metric `unscored` says how often. The outcome stands in the score's metadata.
2. The approver judges a call as the guard does: what went before is counted from the conversation itself, tool results taint. What a
   policy wants a person for is escalated to the next approver; if there is none, Inspect rejects it.
3. A model of ours is asked in a thread, one conversation at a time; it is loaded once.
"""

import asyncio
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from inspect_ai import Task, task
from inspect_ai.approval import Approval, approver
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    modelapi,
)
from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, Score, accuracy, ci_wilson, grouped, metric, scorer
from inspect_ai.solver import solver
from inspect_ai.tool import ToolCall, ToolInfo

from bylaw.evals import asking, evidence, scoring, suite_files
from bylaw.evals.cases import Case, Suite
from bylaw.evals.replaying import Ruling
from bylaw.evals.targets import Call, Conversation, Said, Target, open_target
from bylaw.policy import parse
from bylaw.recipes.replay_agent import Gate, GateSession
from bylaw.types import Decision, Event, Message

CASE: Final = "bylaw_case"  # in a sample's metadata: which case of the suite it is
_VALUES: Final = {"followed": CORRECT, "violated": INCORRECT, "over_refused": INCORRECT, "unscored": NOANSWER}


# ---- Suites as tasks -------------------------------------------------------------------------------------------------------


def bylaw_suite(suite: str, policy: str = "") -> Task:
    """A suite of bylaw, scored against its policy by evidence and the string judge."""
    read = parse.load(Path(policy)) if policy else None
    found = suite_files.load(Path(suite), read).active()
    samples = [_sample(one) for one in found.cases]
    name = f"bylaw-{found.name}"
    return Task(dataset=MemoryDataset(samples, name=name), solver=turns(suite), scorer=outcome(suite, policy), name=name)


def _sample(case: Case) -> Sample:
    last = next(one.content for one in reversed(case.turns) if one.role != "assistant")
    facts = {CASE: case.id, "clause": case.clause, "side": case.side, "severity": case.severity, "family": case.cluster}
    return Sample(id=case.id, input=last, target=case.side, metadata=facts)


@lru_cache(maxsize=8)
def _suite(path: str) -> Suite:
    return suite_files.load(Path(path))


def _case(path: str, name: str) -> Case:
    return next(one for one in _suite(path).cases if one.id == name)


def turns(suite: str) -> Any:
    """Ask a case as `bylaw eval` asks it: documents before the last turn, turn by turn where requests follow each other."""

    async def solve(state: Any, generate: Any) -> Any:
        case = _case(suite, state.metadata[CASE])
        state.messages = []
        for piece in asking.rounds(case):
            state.messages += [_to_inspect(one) for one in piece]
            state = await generate(state, tool_calls="none")
        return state

    return solve


def outcome(suite: str, policy: str = "") -> Any:
    """Our scorer: evidence first, then the string judge."""
    grounds = evidence.grounds(parse.load(Path(policy)) if policy else None)

    async def score(state: Any, target: Any) -> Score:
        scored = scoring.score(_case(suite, state.metadata[CASE]), _said(state), grounds)
        facts = {"outcome": scored.outcome, "metrics": dict(scored.metrics), "judged": scored.judged}
        return Score(value=_VALUES[scored.outcome], answer=state.output.completion, explanation=scored.evidence, metadata=facts)

    return score


def unscored() -> Any:
    """The share of cases that nobody could score."""

    def count(scores: Sequence[Any]) -> float:
        return sum(one.score.metadata.get("outcome") == "unscored" for one in scores) / len(scores) if scores else 0.0

    return count


def _said(state: Any) -> Said:
    """What a target said over all turns of a sample."""
    spoken = [one for one in state.messages if one.role == "assistant"]
    calls = tuple(Call(one.function, None if one.parse_error else one.arguments) for said in spoken for one in said.tool_calls or ())
    if not spoken or state.output.error:
        return Said("", fault=str(state.output.error or "no reply"), missing=True)
    return Said(spoken[-1].text, tool_calls=calls, before=tuple(one.text for one in spoken[:-1]))


# ---- Models as a provider --------------------------------------------------------------------------------------------------


class BylawModel(ModelAPI):  # type: ignore[misc]  # Inspect is not installed where types are checked
    """`--model bylaw/TARGET`: whatever `bylaw eval --target` takes."""

    def __init__(self, model_name: str, base_url: str | None = None, api_key: str | None = None, config: Any = None, **_: Any) -> None:
        """Open the target once."""
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.target: Target = open_target(model_name)

    async def generate(self, input: list[Any], tools: list[ToolInfo], tool_choice: Any, config: Any) -> ModelOutput:  # noqa: A002  # Inspect's
        """Answer one conversation."""
        offered = tuple({"type": "function", "function": json.loads(one.model_dump_json(exclude_none=True))} for one in tools)
        asked = Conversation(tuple(_from_inspect(one) for one in input), offered)
        said = (await asyncio.to_thread(self.target.ask, [asked]))[0]
        if said.missing:
            return ModelOutput(model=self.model_name, error=said.fault or "no reply")
        calls = [ToolCall(id=f"call-{at}", function=one.tool, arguments=dict(one.args or {})) for at, one in enumerate(said.tool_calls)]
        reply = ChatMessageAssistant(content=said.text, tool_calls=calls or None, model=self.model_name, source="generate")
        choice = ChatCompletionChoice(message=reply, stop_reason="tool_calls" if calls else "stop")
        return ModelOutput(model=self.model_name, choices=[choice])

    def max_connections(self) -> int:
        """One conversation at a time."""
        return 1


def _to_inspect(message: Message) -> Any:
    if message.role == "system":
        return ChatMessageSystem(content=message.content)
    if message.role == "assistant":
        return ChatMessageAssistant(content=message.content)
    if message.role == "tool":
        return ChatMessageTool(content=message.content)
    return ChatMessageUser(content=message.content)


def _from_inspect(message: Any) -> Message:
    return Message(message.role, message.text)


# ---- A policy as an approver -----------------------------------------------------------------------------------------------


def bylaw_policy(policy: str) -> Any:
    """Calls obey a policy: allowed, cut, escalated to a person, or rejected with the clause."""
    gate = Gate.of(Path(policy))

    async def approve(message: str, call: ToolCall, view: Any, history: list[Any]) -> Approval:
        return await asyncio.to_thread(_approval, gate, call, history)

    return approve


def _approval(gate: Gate, call: Any, history: Sequence[Any]) -> Approval:
    if call.parse_error:
        return Approval(decision="reject", explanation=f"the arguments cannot be read: {call.parse_error}")
    ruling = _session(gate, call, history).call(call.function, call.arguments, "user")
    facts = {"clauses": list(ruling.clauses), "rules": list(ruling.rules), "policy": gate.policy.digest}
    why = _why(ruling)
    if ruling.fate == "ran" and ruling.args is not None:
        cut = ToolCall(id=call.id, function=call.function, arguments=dict(ruling.args))
        return Approval(decision="modify", modified=cut, explanation=why, metadata=facts)
    decision = {"ran": "approve", "held": "escalate"}.get(ruling.fate, "reject")
    return Approval(decision=decision, explanation=why, metadata=facts)


def _why(ruling: Ruling) -> str:
    return f"{', '.join(ruling.clauses)}: {ruling.reason}" if ruling.clauses else ruling.reason


def _session(gate: Gate, call: Any, history: Sequence[Any]) -> GateSession:
    """The session so far, counted from the conversation: calls that came back without an error ran, and their results taint."""
    asked = [one.text for one in history if one.role == "user"]
    session = gate.open("\n".join(asked), {}, "nobody")
    made = {one.id: one for said in history if said.role == "assistant" for one in said.tool_calls or () if one.id != call.id}
    for one in history:
        if one.role != "tool":
            continue
        before = made.get(one.tool_call_id)
        if before is not None and one.error is None:
            event = Event("tool_call", before.function, before.arguments)
            session.history = session.history.after(event, Decision("allow", (), (), gate.policy.digest))
        session.result(one.function or "", one.text)
    return session


# ---- Under which names Inspect knows them ------------------------------------------------------------------------------------

unscored = metric(name="unscored")(unscored)
outcome = scorer(metrics=[accuracy(), ci_wilson(), grouped(accuracy(), "side", all=False), unscored()], name="outcome")(outcome)
turns = solver(name="turns")(turns)
suite = task(name="suite")(bylaw_suite)
policy = approver(name="policy")(bylaw_policy)
provider = modelapi(name="bylaw")(BylawModel)
