"""A step loop for agents: act, observe the verdict, then go on, try another tool, ask a person, or stop.

The agent is a function from what it has seen to its next act. Each act goes through the guard; what comes back is a verdict in words that a
model can read: which clause, what it says, and what to do next. An emergency stop ends the loop, and so does its bound. Tools may be
coroutine functions; an agent that is one makes the loop one, too.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bylaw.govern.guard import Guard
from bylaw.govern.outcomes import Blocked, Pending, named
from bylaw.types import Decision

MAX_STEPS: Final = 50
SHOWN: Final = 3  # clauses told in full
MAX_NORM: Final = 600  # characters of one
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
AsyncAgent = Callable[[Sequence[Verdict]], Awaitable[Act | None]]


def run(guard: Guard, agent: Agent | AsyncAgent, max_steps: int = MAX_STEPS) -> Any:
    """Let an agent act until it is done, is stopped, or has taken so many steps; every verdict, in order. Of an async agent: awaitable."""
    if inspect.iscoroutinefunction(agent):
        return _run_later(guard, agent, max_steps)
    seen: list[Verdict] = []
    while len(seen) < min(max_steps, MAX_STEPS) and (act := agent(tuple(seen))) is not None:
        seen.append(step(guard, act))  # type: ignore[arg-type]  # an agent that is no coroutine function gives acts
        if seen[-1].next == "stop":
            break
    return seen


async def _run_later(guard: Guard, agent: AsyncAgent, max_steps: int) -> list[Verdict]:
    seen: list[Verdict] = []
    while len(seen) < min(max_steps, MAX_STEPS) and (act := await agent(tuple(seen))) is not None:
        seen.append(await step_later(guard, act))
        if seen[-1].next == "stop":
            break
    return seen


def step(guard: Guard, act: Act) -> Verdict:
    """One act and its verdict. An error of the tool itself is the agent's to read, not ours to raise."""
    tool = guard.tools.get(act.tool)
    if tool is None:
        return _unknown(guard, act)
    try:
        result = tool(**act.args)
        return _ran(act, asyncio.run(result) if inspect.iscoroutine(result) else result)
    except Exception as error:  # noqa: BLE001  # a tool may raise anything; the agent is told, and the loop is bounded
        return not_run(guard, act, error)


async def step_later(guard: Guard, act: Act) -> Verdict:
    """The same in an event loop; a tool that is no coroutine function runs in a thread."""
    tool = guard.tools.get(act.tool)
    if tool is None:
        return _unknown(guard, act)
    try:
        later = inspect.iscoroutinefunction(tool)
        return _ran(act, await tool(**act.args) if later else await asyncio.to_thread(tool, **act.args))
    except Exception as error:  # noqa: BLE001  # the same
        return not_run(guard, act, error)


def _unknown(guard: Guard, act: Act) -> Verdict:
    return Verdict(act, "other_tool", f"There is no tool {act.tool}. There are: {', '.join(sorted(guard.tools)) or 'none'}.")


def _ran(act: Act, result: Any) -> Verdict:
    return Verdict(act, "continue", f"{act.tool} ran.", result)


def not_run(guard: Guard, act: Act, error: Exception) -> Verdict:
    """The verdict on an act that ended in this error, in words that a model can read."""
    if isinstance(error, Pending):
        said = f"{act.tool} waits for a person ({named(error.decision)}); request {error.approval}. Make the same call again later."
        return Verdict(act, "ask_person", said, decision=error.decision, approval=error.approval)
    if not isinstance(error, Blocked):
        return Verdict(act, "other_tool", f"{act.tool} failed: {type(error).__name__}.")
    if error.decision.effect == "stop":
        return Verdict(act, "stop", f"Stop: {error.decision.reason}.", decision=error.decision)
    said = f"{error.what}. Do not try the same again; use another tool, or say that it cannot be done.{_norms(guard, error.decision)}"
    return Verdict(act, "other_tool", said, decision=error.decision)


def _norms(guard: Guard, decision: Decision) -> str:
    """The clauses that decided, in full, so that an agent can keep to them."""
    policy = guard.places.book(guard.acting_as.principal).policy
    clauses = [clause for name in decision.clauses[:SHOWN] if (clause := policy.clause(name))]
    return "".join(f"\n{clause.title} ({clause.id}): {' '.join(clause.norm.split())[:MAX_NORM]}" for clause in clauses)
