"""A function under a guard: judged, recorded, perhaps approved, then run once; and what it returns is judged before the caller sees it."""

import asyncio
import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bylaw.canonical import digest
from bylaw.errors import BylawError, StoreError
from bylaw.govern.cutting import Uncut, copied, cut_args, cut_text, uncut
from bylaw.govern.guard import Guard, Judged, blocked, unrecorded
from bylaw.govern.outcomes import Blocked, Pending, both, named
from bylaw.govern.session import Turn, ref_of
from bylaw.types import EMPTY, Decision, Event


@dataclass(frozen=True, slots=True)
class Ready:
    """A call that may run now, exactly so."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    claim: Any = None  # of an approval
    ref: str = ""  # by which the session knows it


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the tool, and what it is given, as a function takes it and as JSON."""

    tool: str
    bound: inspect.BoundArguments

    @property
    def json(self) -> dict[str, Any]:
        """The arguments by name; those of `**kwargs` beside the others."""
        found: dict[str, Any] = {}
        for name, value in self.bound.arguments.items():
            kind = self.bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                if twice := found.keys() & value.keys():
                    raise TypeError(f"{self.tool} is given {min(twice)!r} twice")
                found |= value
            else:
                found[name] = list(value) if kind is inspect.Parameter.VAR_POSITIONAL else value
        return found

    def with_json(self, args: dict[str, Any]) -> "Call":
        """The same call with other arguments of the same names."""
        bound = inspect.BoundArguments(self.bound.signature, type(self.bound.arguments)())
        for name, value in self.bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {key: args[key] for key in value}
            else:
                bound.arguments[name] = tuple(args[name]) if kind is inspect.Parameter.VAR_POSITIONAL else args[name]
        return Call(self.tool, bound)


def guarded(guard: Guard, fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function under the guard; a coroutine function stays one."""
    signature = inspect.signature(fn)

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        made = Call(name, bound)
        return made.with_json(copied(made.json))

    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def run_later(*args: Any, **kwargs: Any) -> Any:
            ready = await before_later(guard, call(args, kwargs))
            try:
                result = _done(name, await fn(*ready.args, **ready.kwargs))
            except BaseException as error:
                await asyncio.to_thread(failed, guard, name, ready, error)
                raise
            return await asyncio.to_thread(after, guard, name, ready, result)

        return run_later

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        ready = before(guard, call(args, kwargs))
        try:
            result = _done(name, fn(*ready.args, **ready.kwargs))
        except BaseException as error:
            failed(guard, name, ready, error)
            raise
        return after(guard, name, ready, result)

    return run


def _done(name: str, result: Any) -> Any:
    """The result of a call that has ended; raises TypeError where it would go on later, when nobody judges it or looks for stops."""
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        result.close()
        kind = "coroutine and is no `async def`" if inspect.iscoroutine(result) else "generator"
        raise TypeError(f"{name} gives a {kind}: nothing of it was run")
    if inspect.isasyncgen(result) or inspect.isawaitable(result):
        raise TypeError(f"{name} gives something that goes on after the call: let it give its result")
    return result


# ---- Before the call -----------------------------------------------------------------------------------------------------


def before(guard: Guard, call: Call) -> Ready:
    """The call as it may run now; raises Blocked or Pending."""
    event = Event("tool_call", call.tool, call.json)
    try:
        judged, ready = guard.in_turn(functools.partial(_begun, guard, call))
        if ready.claim is None:  # an approval looks at the stops itself, last of all
            _last_look(guard, judged, judged.decision)
        else:
            _counted(guard, judged.event, ready)
    except StoreError as error:
        raise blocked(guard.undecidable(event, error), f"{call.tool} was not run") from error
    return ready


async def before_later(guard: Guard, call: Call) -> Ready:
    """The same in an event loop. Cancelled meanwhile, the call does not run, and an approval that it has claimed is not left open."""
    begun = asyncio.create_task(asyncio.to_thread(before, guard, call))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError as error:
        with contextlib.suppress(Blocked, Pending):
            ready = await begun
            await asyncio.to_thread(failed, guard, call.tool, ready, error)
        raise


def _begun(guard: Guard, call: Call, turn: Turn) -> tuple[Judged, Ready]:
    """What was judged, and the call as it may run. It counts from here on; where an approval is claimed it has counted all along."""
    call, judged, ref = _judged(guard, call, turn)
    decision = guard.recorded(judged)
    if decision.effect == "allow":
        turn.history = turn.history.given_back(ref).after(judged.event, decision)
        return judged, Ready(call.bound.args, call.bound.kwargs)
    if decision.effect == "require_approval":
        return judged, _approved(guard, call, judged, ref, turn)
    turn.history = turn.history.given_back(ref)
    raise blocked(decision, f"{call.tool} was not run")


def _judged(guard: Guard, call: Call, turn: Turn) -> tuple[Call, Judged, str]:
    """What is decided on a call; what a rule redacts is cut out of it first, and the rest is judged again."""
    ref = ref_of(call.tool, call.json)
    judged = guard.judge(guard.filled(Event("tool_call", call.tool, call.json), turn, ref))
    if judged.decision.effect not in ("redact", "require_approval") or not _redacting(judged):
        return call, judged, ref
    guard.recorded(judged)
    try:
        call = call.with_json(cut_args(call.json, judged.placed, judged.decision.hits))
    except Uncut:
        return call, _uncut(judged), ref
    ref = ref_of(call.tool, call.json)
    again = guard.judge(guard.filled(Event("tool_call", call.tool, call.json), turn, ref))
    return call, _uncut(again) if _redacting(again) else again, ref


def _redacting(judged: Judged) -> bool:
    return judged.book.redacts(judged.event, judged.decision)


def _uncut(judged: Judged) -> Judged:
    decision = uncut(judged.decision)
    return judged if decision is judged.decision else replace(judged, decision=decision, cut=True)


def _approved(guard: Guard, call: Call, judged: Judged, ref: str, turn: Turn) -> Ready:
    """The call with its approval claimed; raises Pending while nobody has answered, Blocked where it may not run."""
    decision, approvals, principal = judged.decision, guard.approvals, judged.event.principal
    if approvals is None:
        raise Blocked(decision, f"{call.tool} was not run: {named(decision)} asks for a person", "Give the guard a store: `store=PATH`.")
    what = {"tool": call.tool, "args": call.json, "session": guard.acting_as.session}

    def rejudge() -> Decision:
        return guard.judge(guard.filled(Event("tool_call", call.tool, call.json), turn, ref)).decision

    def stops() -> tuple[str, ...]:
        return guard.stopped(principal, call.tool, now=True)

    try:
        found = approvals.request(what, principal, decision)
        state = getattr(found, "state", "")
        if state == "pending":
            turn.history = turn.history if ref in turn.history.held else turn.history.after(judged.event, decision, ref)
            raise Pending(decision, found.id, f"{call.tool} waits for a person: {named(decision)}")
        if state == "approved":
            found = approvals.claim(found.id, what, principal, decision.policy, rejudge, stops)
    except Pending:
        raise
    except Exception as error:  # a store that is gone or full, or whatever else: nobody has approved anything
        why = error.what if isinstance(error, BylawError) else type(error).__name__
        raise _refused(turn, ref, judged, f"{call.tool} was not run, for its approval could not be asked for: {why}") from error
    if getattr(found, "token", ""):
        return Ready(call.bound.args, call.bound.kwargs, found, ref)
    why = getattr(found, "text", "") or f"its approval is {getattr(found, 'state', 'not there')}"
    raise _refused(turn, ref, judged, f"{call.tool} was not run: {why}")


def _refused(turn: Turn, ref: str, judged: Judged, what: str) -> Blocked:
    turn.history = turn.history.given_back(ref)
    return Blocked(replace(judged.decision, effect="block"), f"{what} ({named(judged.decision)})")


def _counted(guard: Guard, event: Event, ready: Ready) -> None:
    """A call that people let through counts for good, whether or not this session saw it wait. What cannot be counted does not run."""

    def work(turn: Turn) -> None:
        turn.history = turn.history.kept(ready.ref, event)

    try:
        guard.in_turn(work)
    except StoreError:
        if guard.approvals is not None:
            guard.approvals.finish(ready.claim, "failed")
        raise


def _last_look(guard: Guard, judged: Judged, decision: Decision) -> None:
    reasons = guard.stopped(judged.event.principal, judged.event.tool, now=True)
    if reasons:
        stop = replace(decision, effect="stop", reason="; ".join(sorted(reasons)))
        guard.recorded(replace(judged, decision=stop))
        raise blocked(stop, f"{judged.event.tool} was not run")


# ---- After the call --------------------------------------------------------------------------------------------------------


def after(guard: Guard, tool: str, ready: Ready, result: Any) -> Any:
    """The result as the caller may see it; raises Blocked where it may not."""
    text = _text(result)
    if ready.claim is not None and guard.approvals is not None:
        guard.approvals.finish(ready.claim, "done", digest(text) if text is not None else "")
    event = Event("tool_result", tool, EMPTY, text or "")

    def work(turn: Turn) -> Decision:
        judged = guard.judge(guard.filled(event, turn))
        if text is not None and text is not result and "\\" in text:
            judged = _unescaped(guard, judged, result)
        if text is None and (slot := judged.book.slot("tool_result", tool)) is not None and slot.rules:
            judged = replace(
                judged, decision=replace(judged.decision, effect="block", undecided=("result",), reason="the result is no JSON")
            )
        decision = guard.recorded(judged)
        turn.history = turn.history.after(judged.event, decision, trusted=judged.book.trusted)
        return decision

    try:
        decision = guard.in_turn(work)
    except StoreError as error:
        decision = guard.undecidable(event, error)
    if decision.effect == "allow":
        return result
    if decision.effect == "redact" and text is not None:
        return _cut(result, text, decision, tool)
    raise blocked(decision, f"{tool} has run, and its result is withheld")


def _unescaped(guard: Guard, judged: Judged, result: Any) -> Judged:
    """What is decided where JSON writes escapes, which not every rail reads: the strings as they are count too, uncut."""
    again = guard.judge(replace(judged.event, text="\n".join(_strings(result))))
    if again.decision.effect == "redact" and judged.decision.effect == "allow":
        return _uncut(replace(judged, decision=again.decision))
    return judged if again.decision.effect == "redact" else replace(judged, decision=both(judged.decision, again.decision))


def _strings(value: Any) -> Iterator[str]:
    """Every string in a value that JSON could write, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def failed(guard: Guard, tool: str, ready: Ready, error: BaseException) -> None:
    """Write down that a call ended in an error; the error itself goes on to the caller."""
    if ready.claim is not None and guard.approvals is not None:
        guard.approvals.finish(ready.claim, "failed")
    facts = {"route": "guard", "step": "failed", "error": type(error).__name__}
    acting = guard.acting_as
    guard.record(
        {"kind": "result", "session": acting.session, "principal": str(acting.principal.get("id", "")), "tool": tool, "facts": facts}
    )


def _text(result: Any) -> str | None:
    """A result as text that rails can search; None where it is no JSON."""
    if isinstance(result, str):
        return result
    if result is None:
        return ""
    try:
        return json.dumps(result, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _cut(result: Any, text: str, decision: Decision, tool: str) -> Any:
    cut = cut_text(text, decision.hits)
    if isinstance(result, str):
        return cut
    try:
        return json.loads(cut)
    except ValueError as error:
        refused = replace(unrecorded(decision), effect="block", reason="what was found cannot be cut out of the result")
        raise blocked(refused, f"{tool} has run, and its result is withheld") from error
