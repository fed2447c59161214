"""The guard around function tools of the OpenAI Agents SDK: their `on_invoke_tool`, one by one or for all tools of an agent.

A call is judged on the arguments as the function's own signature reads them, defaults included, and the tool is given exactly that as its
JSON; a tool that is no decorated function (one of an MCP server, an agent as a tool) is judged on the JSON it is given. A blocked or
pending call returns words for the model, as the SDK's own tool errors do. An emergency stop raises `Stopped` out of the run. What the SDK
does not run as a function (hosted tools, computers, shells, patches) cannot be judged: it is refused, unless named in `ungoverned`.
"""

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from bylaw.errors import BylawError
from bylaw.govern.adapters import calls
from bylaw.govern.outcomes import Blocked, Pending
from bylaw.types import EMPTY

try:
    from agents import Agent, FunctionTool, ToolOutputFileContent, ToolOutputImage, ToolOutputText
    from agents.exceptions import AgentsException
    from agents.function_schema import FuncSchema, function_schema
    from agents.tool import Tool
    from agents.tool_context import ToolContext
except ImportError as error:
    raise calls.missing("openai-agents", "openai-agents") from error

_SHOWN: Final = (ToolOutputText, ToolOutputImage, ToolOutputFileContent)
MAX_COMPLAINT: Final = 500  # characters of why arguments cannot be read, for the model


class Stopped(Blocked, AgentsException):
    """An emergency stop is in force: the run ends, and the SDK raises this as it is."""


@dataclass(frozen=True)
class _Invoker:
    """What the SDK calls in a governed tool's place."""

    tool: FunctionTool  # as it was, a copy of its own
    guarding: calls.Guarding
    named: str  # what the policy calls it
    schema: FuncSchema | None  # of a decorated function

    async def __call__(self, ctx: ToolContext[Any], input: str) -> Any:  # noqa: A002  # the SDK's own name for it
        guard = calls.guard_of(self.guarding, ctx)
        try:
            args = self._read(input)
        except Exception as error:  # noqa: BLE001  # whatever the types of the tool say about what a model wrote; nothing was run
            return f"The arguments of {self.tool.name} cannot be read: {str(error)[:MAX_COMPLAINT]}"

        async def run(judged: Any) -> calls.Seen:
            return _seen(await self.tool.on_invoke_tool(ctx, json.dumps(calls.plain(judged))))

        try:
            return await calls.run_later(guard, self.named, args, run, lambda _, judged: self._read(json.dumps(judged)))
        except (Blocked, Pending) as error:
            if error.decision.effect == "stop":
                raise Stopped(error.decision, error.what, error.hint) from error
            return calls.told(guard, self.named, error)

    def _read(self, text: str) -> dict[str, Any]:
        """The arguments as the tool will read them."""
        args = json.loads(text) if text else {}
        if not isinstance(args, dict):
            raise TypeError("they are no JSON object")
        return dict(vars(self.schema.params_pydantic_model(**args))) if self.schema else args


def governed_tools(
    guard: calls.Guarding, tools: Iterable[Tool], names: Mapping[str, str] = EMPTY, ungoverned: Collection[str] = ()
) -> list[Tool]:
    """Tools under a guard. `names` says what the policy calls a tool, where that is not its name here.

    `guard` may also be a function from the `ToolContext` of a call to the guard of that run. Raises BylawError for a tool that cannot be
    judged here and is not named in `ungoverned`.
    """
    return [_governed(guard, tool, names, ungoverned) for tool in tools]


def governed_agent(
    guard: calls.Guarding, agent: Agent[Any], names: Mapping[str, str] = EMPTY, ungoverned: Collection[str] = ()
) -> Agent[Any]:
    """The agent with every tool under the guard: those it has, those of its MCP servers, and those it is given later.

    Agents that it hands over to are agents of their own: govern each.
    """
    kind = type(agent)

    async def get_all_tools(self: Agent[Any], run_context: Any) -> list[Tool]:
        return governed_tools(guard, await kind.get_all_tools(self, run_context), names, ungoverned)

    made = copy.copy(agent)
    made.__class__ = type(kind.__name__, (kind,), {"__module__": __name__, "get_all_tools": get_all_tools})
    return made


def _governed(guard: calls.Guarding, tool: Tool, names: Mapping[str, str], ungoverned: Collection[str]) -> Tool:
    if not isinstance(tool, FunctionTool):
        if tool.name in ungoverned:
            return tool
        raise BylawError(
            f"{tool.name} is no function tool: its calls cannot be judged here", f"Leave it out, or say `ungoverned=[{tool.name!r}]`."
        )
    inner, named = copy.copy(tool), names.get(tool.qualified_name, "")
    if isinstance(tool.on_invoke_tool, _Invoker):  # it changes its guard
        inner, named = tool.on_invoke_tool.tool, named or tool.on_invoke_tool.named
    made = copy.copy(tool)
    made.on_invoke_tool = _Invoker(inner, guard, named or tool.qualified_name, _schema(inner))
    return made


def _schema(tool: FunctionTool) -> FuncSchema | None:
    function = getattr(tool, "__wrapped__", None)
    if function is None:
        return None
    try:
        return function_schema(cast("Callable[..., Any]", function), use_docstring_info=False, strict_json_schema=False)
    except Exception as error:
        raise BylawError(f"{tool.name}: its arguments cannot be read from its function", "Make the tool of a plain function.") from error


def _seen(result: Any) -> calls.Seen:
    """A result as a model reads it: the SDK shows pictures and files as such, and all else that is no JSON by `str`."""
    if isinstance(result, ToolOutputText):
        return calls.Seen(result.text, lambda text: ToolOutputText(text=text))
    if any(isinstance(one, _SHOWN) for one in (result if isinstance(result, list | tuple) else (result,))):
        return calls.Seen(result)
    told = calls.plain(result)
    try:
        json.dumps(told)
    except (TypeError, ValueError, RecursionError):
        return calls.Seen(str(result))
    return calls.Seen(told)
