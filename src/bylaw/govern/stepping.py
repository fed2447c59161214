"""A step loop for agents: act, observe the verdict, then go on, try another tool, ask a person, or stop.

The agent is a function from what it has seen to its next act. Each act goes through the guard; what comes back is a verdict in words that a
model can read, with what to do next. An emergency stop ends the loop, and so does its bound.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bylaw.govern.guard import Guard
from bylaw.govern.outcomes import Blocked, Pending, named
from bylaw.types import Decision

MAX_STEPS: Final = 50
Next = Literal["continue", "other_tool", "ask_person", "stop"]


@dataclass(frozen=True, slots=True)
class Act:
    """A tool that the agent wants to use, and what it gives it."""

    tool: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an act, and what to do next."""

    act: Act
    next: Next
    said: str  # for the agent to read
    result: Any = None
    decision: Decision | None = None  # of what did not go through
    approval: str = ""  # the request that waits for a person


Agent = Callable[[Sequence[Verdict]], Act | None]  # None: it is done


def run(guard: Guard, agent: Agent, max_steps: int = MAX_STEPS) -> list[Verdict]:
    """Let an agent act until it is done, is stopped, or has taken so many steps; every verdict, in order."""
    seen: list[Verdict] = []
    while len(seen) < min(max_steps, MAX_STEPS) and (act := agent(tuple(seen))) is not None:
        seen.append(step(guard, act))
        if seen[-1].next == "stop":
            break
    return seen


def step(guard: Guard, act: Act) -> Verdict:
    """One act and its verdict. An error of the tool itself is the agent's to read, not ours to raise."""
    tool = guard.tools.get(act.tool)
    if tool is None:
        return Verdict(act, "other_tool", f"There is no tool {act.tool}. There are: {', '.join(sorted(guard.tools)) or 'none'}.")
    try:
        result = tool(**act.args)
    except Pending as pending:
        said = f"{act.tool} waits for a person ({named(pending.decision)}); request {pending.approval}. Make the same call again later."
        return Verdict(act, "ask_person", said, decision=pending.decision, approval=pending.approval)
    except Blocked as refused:
        if refused.decision.effect == "stop":
            return Verdict(act, "stop", f"Stop: {refused.decision.reason}.", decision=refused.decision)
        said = f"{refused.what}. Do not try the same again; use another tool, or say that it cannot be done."
        return Verdict(act, "other_tool", said, decision=refused.decision)
    except Exception as error:  # noqa: BLE001  # a tool may raise anything; the agent is told, and the loop is bounded
        return Verdict(act, "other_tool", f"{act.tool} failed: {type(error).__name__}.")
    return Verdict(act, "continue", f"{act.tool} ran.", result)
