"""The guard around pydantic-ai's tools: a toolset that wraps another, and a capability that wraps every toolset of an agent.

A call is judged on the arguments that pydantic-ai has validated. Blocked and pending calls end in `ToolFailed`, which the model reads and
which costs none of the tool's retries; an emergency stop raises `Blocked` out of the run. What a tool says in `ModelRetry` or `ToolFailed`
is judged as a result is. Not seen here: output functions, tools that the provider runs, and tools that are executed outside of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bylaw.govern.adapters import calls
from bylaw.govern.outcomes import Blocked, Pending
from bylaw.types import EMPTY

try:
    from pydantic_ai import RunContext, ToolReturn
    from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
    from pydantic_ai.exceptions import ModelRetry, ToolFailed
    from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset
except ImportError as error:
    raise calls.missing("pydantic-ai", "pydantic-ai") from error


@dataclass
class GovernedToolset(WrapperToolset[Any]):
    """A toolset whose calls are judged before they run. `names` says what the policy calls a tool, where that is not its name here."""

    guard: calls.Guarding
    names: Mapping[str, str] = field(default_factory=dict)

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]) -> Any:
        """The result of a call, as far as the policy lets the model have it."""
        guard, named = calls.guard_of(self.guard, ctx), self.names.get(name, name)
        alone = _alone(tool_args, tool)
        args = tool_args[alone] if alone else _whole(tool_args, tool)

        async def run(judged: Any) -> calls.Seen:
            try:
                return _seen(await self.wrapped.call_tool(name, {alone: judged} if alone else judged, ctx, tool))
            except (ModelRetry, ToolFailed) as error:
                return _failed(error)

        try:
            return await calls.run_later(guard, named, args, run)
        except (Blocked, Pending) as error:
            raise ToolFailed(calls.told(guard, named, error)) from error


@dataclass
class Governed(AbstractCapability[Any]):
    """Every function tool of an agent under the guard, those included that are added later or for one run."""

    guard: calls.Guarding
    names: Mapping[str, str] = field(default_factory=dict)

    def get_ordering(self) -> CapabilityOrdering:
        """Nearest to the tools: what others change in a call is judged as they changed it."""
        return CapabilityOrdering(position="innermost")

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """The agent's tools, governed."""
        return GovernedToolset(toolset, self.guard, self.names)


def governed_tools(guard: calls.Guarding, tools: Any, names: Mapping[str, str] = EMPTY) -> GovernedToolset:
    """A toolset, or a list of functions and tools, under a guard: give it to an agent as `toolsets=[…]`.

    `guard` may also be a function from the `RunContext` to the guard of that run. See `Governed` for all tools of an agent.
    """
    if isinstance(tools, GovernedToolset):  # it changes its guard
        return GovernedToolset(tools.wrapped, guard, names or tools.names)
    return GovernedToolset(tools if isinstance(tools, AbstractToolset) else FunctionToolset(list(tools)), guard, names)


def _alone(args: dict[str, Any], tool: ToolsetTool[Any]) -> str:
    """The name of the only parameter whose fields the model is shown in its place; the policy knows them as the model does."""
    name = next(iter(args), "")
    beside = len(args) != 1 or name in (tool.tool_def.parameters_json_schema.get("properties") or {})
    return "" if beside or calls.is_json(args[name]) else name


def _whole(args: dict[str, Any], tool: ToolsetTool[Any]) -> dict[str, Any]:
    """The arguments with the defaults of those that the model left out, as its schema shows them."""
    shown = tool.tool_def.parameters_json_schema.get("properties") or {}
    return {name: one["default"] for name, one in shown.items() if isinstance(one, dict) and "default" in one} | args


def _seen(result: Any) -> calls.Seen:
    if not isinstance(result, ToolReturn):
        return calls.Seen(calls.plain(result))
    value = {"return_value": calls.plain(result.return_value), "content": calls.plain(result.content)}
    return calls.Seen(value, lambda judged: replace(result, **judged))


def _failed(error: ModelRetry | ToolFailed) -> calls.Seen:
    def again(message: Any) -> Any:
        raise type(error)(message)

    return calls.Seen(error.message, again, error)
