"""One call of a framework's tool under a guard: its arguments as JSON to be judged, made again from what was judged, and its result judged.

1. A framework hands its tools values of their own types. Each is told as JSON, and must come back equal from it; else it is no plain JSON,
   and the call is blocked. What runs is made from the JSON that was judged, not from what the framework held.
2. What a rule cuts out of the arguments must still be what the tool takes, unchanged by reading it; else the call is blocked.
3. What an adapter has to say to a model is said in the words of the step loop. A stop is no word to a model: it is raised.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bylaw.errors import BylawError
from bylaw.govern.guard import Guard, Judged, blocked
from bylaw.govern.guarded_tool import Call, Ready, after, before, before_later, failed
from bylaw.govern.outcomes import Blocked, Pending
from bylaw.govern.stepping import Act, not_run
from bylaw.types import Decision, Event

MAX_DEPTH: Final = 64  # levels of arguments; deeper ones are no plain JSON
Guarding = Guard | Callable[[Any], Guard]  # one guard for all, or the guard of a run, from what the framework knows about the run
Reading = Callable[[Any, Any], Any]  # from what a framework held, and the JSON that was judged, to what runs
_ANY: Final = inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_KEYWORD)])
_PLAIN: Final = (str, int, float, bool, type(None))


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tool gave back."""

    value: Any  # what a model would read of it
    whole: Callable[[Any], Any] = _itself  # the framework's own result around what may be read; it may raise
    error: BaseException | None = None  # the tool failed, and `value` is what it says about that


def missing(package: str, extra: str) -> BylawError:
    """The error where a framework is not installed."""
    return BylawError(f"{package} is not installed", f"pip install '.[{extra}]'")


def guard_of(guarding: Guarding, run: Any) -> Guard:
    """The guard of this run."""
    return guarding if isinstance(guarding, Guard) else guarding(run)


def run(guard: Guard, tool: str, args: Any, fn: Callable[[Any], Seen]) -> Any:
    """Judge a call, run it, judge its result; raises Blocked or Pending."""
    ready = before(guard, _call(tool, args))
    try:
        seen = fn(_given(guard, tool, args, ready, made))
    except BaseException as error:
        failed(guard, tool, ready, error)
        raise
    return _ended(guard, tool, ready, seen)


async def run_later(guard: Guard, tool: str, args: Any, fn: Callable[[Any], Awaitable[Seen]], reading: Reading | None = None) -> Any:
    """The same in an event loop. `reading` is how the tool itself makes its arguments from those that were judged."""
    ready = await before_later(guard, _call(tool, args))
    try:
        seen = await fn(_given(guard, tool, args, ready, reading or made))
    except BaseException as error:
        await asyncio.to_thread(failed, guard, tool, ready, error)
        raise
    return await asyncio.to_thread(_ended, guard, tool, ready, seen)


def told(guard: Guard, tool: str, error: Blocked | Pending) -> str:
    """What a model is told of a call that did not go through; a stop is raised again."""
    verdict = not_run(guard, Act(tool, {}), error)
    if verdict.next == "stop":
        raise error
    return verdict.said


# ---- Arguments ---------------------------------------------------------------------------------------------------------------


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A value as JSON from which it can be made again; what cannot be told so stays as it is, for the engine to refuse."""
    if type(value) in _PLAIN or not depth:
        return value
    if type(value) is dict:
        return {key: plain(item, depth - 1) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [plain(item, depth - 1) for item in value]
    try:
        from pydantic_core import to_json  # noqa: PLC0415  # every framework here brings pydantic, and bylaw needs it nowhere else

        written = to_json(value)
        again = _read(type(value), written)
        return json.loads(written) if type(again) is type(value) and again == value else value
    except Exception:  # noqa: BLE001  # whatever a value's own code throws: it is no plain JSON
        return value


def is_json(value: Any) -> bool:
    """Whether a value is of the types that JSON has; what is inside is not looked at."""
    return type(value) in (*_PLAIN, dict, list, tuple)


def made(value: Any, judged: Any) -> Any:
    """A value like the first, made from the JSON that was judged."""
    if type(value) in _PLAIN:
        return judged
    if type(value) is dict:
        return {key: made(value[key], item) for key, item in judged.items()}
    if type(value) in (list, tuple):
        return type(value)(made(one, item) for one, item in zip(value, judged, strict=True))
    return _read(type(value), json.dumps(judged).encode())


def _read(kind: type, written: bytes) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415  # as above

    return TypeAdapter(kind).validate_json(written)


def _call(tool: str, args: Any) -> Call:
    named = plain(args)
    if not isinstance(named, Mapping) or not all(isinstance(key, str) for key in named):
        named = {"args": args}
    return Call(tool, _ANY.bind(**named))


def _given(guard: Guard, tool: str, args: Any, ready: Ready, reading: Reading) -> Any:
    """The arguments as the tool takes them, made from those that were judged; raises Blocked where that does not give the same again."""
    try:
        given = reading(args, ready.kwargs)
        same = plain(given) == ready.kwargs
    except Exception:  # noqa: BLE001  # whatever the types of the tool say about arguments that were cut
        same = False
    if same:
        return given
    event = Event("tool_call", tool, ready.kwargs, principal=guard.acting_as.principal)
    book = guard.places.book(event.principal)
    decision = Decision("block", (), (), book.digest, ("arguments",), "what was judged cannot be given to the tool unchanged")
    raise blocked(guard.recorded(Judged(event, decision, book)), f"{tool} was not run")


# ---- Results -----------------------------------------------------------------------------------------------------------------


def _ended(guard: Guard, tool: str, ready: Ready, seen: Seen) -> Any:
    if seen.error is not None:
        failed(guard, tool, ready, seen.error)
        ready = replace(ready, claim=None)
    return seen.whole(after(guard, tool, ready, seen.value))
