"""The guard around LangChain tools: each becomes one of its own class whose `_run` and `_arun` are judged, and nothing else changes.

A call is judged on the arguments that LangChain has read with the tool's schema, defaults included. What LangChain itself sets in every
call (the run's manager and configuration, the call's id) is passed on unjudged. A parameter that is only hidden from the model
(`InjectedToolArg`: state, stores) is judged as all others are, since LangChain takes it from a model that writes it; unless the program
says in `injected` that it sets it in every call. Blocked and pending calls end as LangChain's own tool errors: a `ToolMessage` with
`status="error"` whose content names the clause or the request. An emergency stop raises `Blocked`. What a tool says in a `ToolException` is
judged as a result is. Of `content_and_artifact` the content is judged; the artifact is the program's.
"""

import functools
import inspect
import json
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from bylaw.errors import BylawError
from bylaw.govern.adapters import calls
from bylaw.govern.guard import Guard
from bylaw.govern.outcomes import Blocked, Pending
from bylaw.types import EMPTY

try:
    from langchain_core.callbacks import BaseRunManager
    from langchain_core.messages import ToolMessage
    from langchain_core.messages.tool import ToolOutputMixin
    from langchain_core.runnables import RunnableConfig, ensure_config
    from langchain_core.tools import BaseTool, InjectedToolCallId, ToolException
except ImportError as error:
    raise calls.missing("langchain-core", "langchain") from error

_MARK = "__bylaw_governed__"


class NotRun(ToolException):
    """A call that the policy did not let through; its words are for the model."""


@dataclass(frozen=True, slots=True)
class _Governed:
    """A tool under a guard."""

    tool: BaseTool
    guarding: calls.Guarding
    named: str  # what the policy calls it
    injected: frozenset[str]  # parameters that the program sets in every call

    def run(self, *given: Any, **beside: Any) -> Any:
        guard, args, injected = self._parted(given, beside)

        def call(judged: dict[str, Any]) -> calls.Seen:
            try:
                return self._seen(self.tool._run(*_first(given, judged), **_rest(given, judged), **injected))
            except ToolException as error:
                return _failed(error)

        try:
            return calls.run(guard, self.named, args, call)
        except (Blocked, Pending) as error:
            raise NotRun(calls.told(guard, self.named, error)) from error

    async def run_later(self, *given: Any, **beside: Any) -> Any:
        guard, args, injected = self._parted(given, beside)

        async def call(judged: dict[str, Any]) -> calls.Seen:
            try:
                return self._seen(await self.tool._arun(*_first(given, judged), **_rest(given, judged), **injected))
            except ToolException as error:
                return _failed(error)

        try:
            return await calls.run_later(guard, self.named, args, call)
        except (Blocked, Pending) as error:
            raise NotRun(calls.told(guard, self.named, error)) from error

    def _parted(self, given: tuple[Any, ...], beside: dict[str, Any]) -> tuple[Guard, dict[str, Any], dict[str, Any]]:
        """Whose call it is, what the model may have given, and what it cannot have given."""
        config = (_config_name(self.tool._run), _config_name(self.tool._arun))
        surely = {*config, *self.injected, *_call_ids(self.tool)}
        injected = {name: value for name, value in beside.items() if name in surely or isinstance(value, BaseRunManager)}
        args = {name: value for name, value in beside.items() if name not in injected}
        names = [name for name in self.tool.args if name not in args]
        return calls.guard_of(self.guarding, ensure_config()), dict(zip(names, given, strict=False)) | args, injected

    def _seen(self, result: Any) -> calls.Seen:
        if self.tool.response_format == "content_and_artifact" and isinstance(result, tuple) and len(result) == 2:
            return calls.Seen(_shown(result[0]), lambda content: (content, result[1]))
        if isinstance(result, ToolMessage):
            return calls.Seen(result.content, lambda content: result.model_copy(update={"content": content}))
        return calls.Seen(_shown(result))

    def said(self, error: ToolException) -> Any:
        """What the model reads of an error: ours as it is, the tool's own as the tool has it."""
        own = self.tool.handle_tool_error
        if isinstance(error, NotRun) or own is True:
            return str(error) or "Tool execution error"
        if not own:
            raise error
        return own if isinstance(own, str) else own(error)


def governed_tool(guard: calls.Guarding, tool: BaseTool, name: str = "", injected: Collection[str] = ()) -> BaseTool:
    """A tool under a guard, of the same class. `name` is what the policy calls it. One that is governed already changes its guard.

    `injected` names parameters that are passed on unjudged because your program, and never the model, sets them in every call.
    """
    if earlier := getattr(_a_tool(tool), _MARK, None):
        return governed_tool(guard, earlier.tool, name or earlier.named, injected or earlier.injected)
    kind, bound = type(tool), _Governed(tool, guard, name or tool.name, frozenset(injected))
    members: dict[str, Any] = {"__module__": __name__, "_run": _method(bound.run, kind._run), _MARK: bound}
    if kind._arun is not BaseTool._arun:  # else it is `_run` in a thread, and judged there
        members["_arun"] = _method(bound.run_later, kind._arun)
    made = tool.model_copy()
    made.__class__ = cast("Any", type(kind))(kind.__name__, (kind,), members)
    made.handle_tool_error = bound.said
    return made


def governed_tools(
    guard: calls.Guarding, tools: Iterable[BaseTool], names: Mapping[str, str] = EMPTY, injected: Collection[str] = ()
) -> list[BaseTool]:
    """Tools under a guard. `names` says what the policy calls a tool, where that is not its name here; `injected` as for one tool.

    `guard` may also be a function from the `RunnableConfig` of a call to the guard of that run.
    """
    return [governed_tool(guard, tool, names.get(_a_tool(tool).name, ""), injected) for tool in tools]


def _a_tool(tool: Any) -> BaseTool:
    if isinstance(tool, BaseTool):
        return tool
    name = str(getattr(tool, "__name__", type(tool).__name__))[:100]
    raise BylawError(f"{name} is no LangChain tool", "Wrap a function with `@tool` of langchain_core.tools.")


def _method(run: Callable[..., Any], like: Callable[..., Any]) -> Callable[..., Any]:
    """A method that LangChain takes for the one it is like: it looks at what a method can be given."""
    if inspect.iscoroutinefunction(run):

        async def later(_self: BaseTool, *given: Any, **beside: Any) -> Any:
            return await run(*given, **beside)

        return functools.wraps(like)(later)

    def now(_self: BaseTool, *given: Any, **beside: Any) -> Any:
        return run(*given, **beside)

    return functools.wraps(like)(now)


@functools.lru_cache(maxsize=1024)
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001  # hints of a stranger's function that cannot be read name no config
        return {}


def _config_name(method: Callable[..., Any]) -> str:
    """The parameter by which a method is given the run's configuration."""
    wanted = (RunnableConfig, RunnableConfig | None)
    return next((name for name, kind in _hints(getattr(method, "__func__", method)).items() if kind in wanted), "")


def _call_ids(tool: BaseTool) -> set[str]:
    """The parameters that LangChain sets to the call's id, whatever the model wrote there: those of the schema it reads a call with."""
    schema = tool.args_schema
    if schema is None or isinstance(schema, dict):
        return set()
    fields = typing.get_type_hints(schema, include_extras=True)
    return {name for name, kind in fields.items() if any(_is_call_id(mark) for mark in typing.get_args(kind)[1:])}


def _is_call_id(mark: Any) -> bool:
    return isinstance(mark, InjectedToolCallId) or (isinstance(mark, type) and issubclass(mark, InjectedToolCallId))


def _first(given: tuple[Any, ...], judged: dict[str, Any]) -> list[Any]:
    return list(judged.values())[: len(given)]


def _rest(given: tuple[Any, ...], judged: dict[str, Any]) -> dict[str, Any]:
    return dict(list(judged.items())[len(given) :])


def _shown(result: Any) -> Any:
    """A result as a model reads it: JSON as it is, all else as `str` has it; messages and commands stay what they are."""
    if isinstance(result, ToolOutputMixin) or (isinstance(result, list) and any(isinstance(one, ToolOutputMixin) for one in result)):
        return result
    try:
        json.dumps(result)
    except (TypeError, ValueError, RecursionError):
        return str(result)
    return result


def _failed(error: ToolException) -> calls.Seen:
    def again(words: str) -> Any:
        raise error if words == str(error) else ToolException(words)

    return calls.Seen(str(error), again, error)
