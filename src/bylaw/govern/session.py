"""What a session has done so far, as conditions see it: its calls, the sums of what they were given, and what has tainted it.

1. A call counts from the moment it may run, and a call that waits for a person counts while it waits: else two halves of a split refund,
   asked for at once, would both be under the limit. Refused, it is given back; judged again, it does not count against itself.
2. Sums never fall. A negative amount counts as nothing: else a call with one would make room for the next.
3. Nothing is forgotten. A session over one of the bounds below cannot be read any more, so that all it does from then on is undecidable.
4. What came from outside taints: every document, and every tool's result unless the tool's schema says `x-trusted: true`.

A `History` is a value. `Sessions` holds those of one process, one turn of a session at a time; given `histories.Histories`, those of
all processes on one store.
"""

import json
import math
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from bylaw.canonical import digest
from bylaw.errors import StoreError
from bylaw.types import EMPTY, Decision, Event, Policy

UNREAD: Final = "unread:"  # what the name of a session begins with whose turns nobody knows: it is full from the beginning
UNTRUSTED: Final = "untrusted-text"
TRUSTED_KEY: Final = "x-trusted"  # in a tool's schema: its results hold nothing that a stranger wrote
MAX_CALLS: Final = 1_000  # of one session
MAX_SUMS: Final = 1_000  # different fields summed in one session
MAX_TAINT: Final = 100
MAX_HELD: Final = 100  # calls of one session that wait for people
MAX_DEPTH: Final = 8  # levels of arguments that are summed; deeper ones make the session unreadable
MAX_SESSIONS: Final = 100_000  # of one process
LARGEST: Final = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Held:
    """A call that waits for people, and counts until it is given back."""

    tool: str
    amounts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class History:
    """One session so far."""

    id: str = ""
    calls: tuple[str, ...] = ()  # names, in the order in which they could run
    sums: Mapping[str, float] = field(default_factory=dict)  # by `tool.field`
    taint: tuple[str, ...] = ()
    held: Mapping[str, Held] = field(default_factory=dict)  # by the reference of the request
    full: bool = False  # over a bound: unreadable from now on

    def facts(self, zeros: Mapping[str, float] = EMPTY, without: str = "") -> dict[str, Any]:
        """The session as conditions see it, waiting calls included, `without` the one that is being judged again.

        `zeros` are the sums that a session has before its first call: see `zeros`.
        """
        if self.full:
            return {"id": self.id, "n_calls": math.inf}  # what is not finite is undecidable
        waiting = [one for ref, one in self.held.items() if ref != without]
        sums = {**zeros, **self.sums}
        for one in waiting:
            for name, amount in one.amounts.items():
                sums[name] = sums.get(name, 0.0) + amount
        calls = [*self.calls, *(one.tool for one in waiting)]
        return {"id": self.id, "taint": list(self.taint), "calls": calls, "n_calls": len(calls), "sums": sums}

    def after(self, event: Event, decision: Decision, ref: str = "", trusted: frozenset[str] = frozenset()) -> "History":
        """The session after an event was decided. `ref` names the request of a call that now waits for people."""
        passed = decision.effect in ("allow", "redact")
        if event.surface == "tool_call":
            if passed:
                return self._ran(event.tool, _amounts(event))
            return self._holding(ref, event) if decision.effect == "require_approval" else self
        if passed and (event.surface == "document" or (event.surface == "tool_result" and event.tool not in trusted)):
            return self.tainted(UNTRUSTED)
        return self

    def kept(self, ref: str, event: Event | None = None) -> "History":
        """A call that waited may run: it counts for good. `event` is the call itself, for a session that has forgotten that it waits."""
        one = self.held.get(ref)
        if one is not None:
            return self.given_back(ref)._ran(one.tool, one.amounts)
        return self if event is None else self._ran(event.tool, _amounts(event))

    def given_back(self, ref: str) -> "History":
        """A call that waited was refused, or ran out: it does not count."""
        return replace(self, held={key: one for key, one in self.held.items() if key != ref})

    def tainted(self, *labels: str) -> "History":
        """The session with these labels."""
        return replace(self, taint=tuple(sorted({*self.taint, *labels})))._bounded()

    def joined(self, other: "History") -> "History":
        """Two parts of one session that were counted apart."""
        sums = dict(self.sums)
        for name, amount in other.sums.items():
            sums[name] = sums.get(name, 0.0) + amount
        calls, held = (*self.calls, *other.calls), {**self.held, **other.held}
        return History(self.id, calls, sums, tuple(sorted({*self.taint, *other.taint})), held, self.full or other.full)._bounded()

    def _ran(self, tool: str, amounts: Mapping[str, float] | None) -> "History":
        if self.full:  # nobody can read what it would be; but that it changes tells a store that it is in use, and not to be forgotten
            return replace(self, calls=() if self.calls else (tool,))
        sums = dict(self.sums)
        for name, amount in (amounts or {}).items():
            sums[name] = sums.get(name, 0.0) + amount
        full = amounts is None
        return History(self.id, (*self.calls, tool), sums, self.taint, self.held, full)._bounded()  # `replace` costs more than all the rest

    def _holding(self, ref: str, event: Event) -> "History":
        if self.full:
            return self
        amounts = _amounts(event)
        held = {**self.held, ref or f"unnamed-{len(self.held)}": Held(event.tool, amounts or {})}
        return replace(self, held=held, full=amounts is None)._bounded()

    def _bounded(self) -> "History":
        small = len(self.calls) <= MAX_CALLS and len(self.sums) <= MAX_SUMS and len(self.taint) <= MAX_TAINT and len(self.held) <= MAX_HELD
        return self if small or self.full else replace(self, full=True)


def owner(principal: Mapping[str, Any]) -> str:
    """Whose a session is: the principal of a tenant. The same id in two tenants is two owners."""
    name, tenant = str(principal.get("id") or ""), str(principal.get("tenant") or "")
    return json.dumps([tenant, name]) if tenant or name.startswith("[") else name


def ref_of(tool: str, args: Mapping[str, Any]) -> str:
    """By what a call is known again; "" for one that is no plain JSON, which is blocked anyway or asked for anew."""
    try:
        return digest({"tool": tool, "args": dict(args)})
    except (ValueError, TypeError, RecursionError):
        return ""


def zeros(policy: Policy) -> dict[str, float]:
    """The sums of a session that has called nothing: every number that a tool of this policy takes."""
    found: dict[str, float] = {}
    for tool, schema in policy.tools.items():
        for name in _numbers(schema, MAX_DEPTH):
            found[f"{tool}.{name}"] = 0.0
    return found


def trusted(policy: Policy) -> frozenset[str]:
    """The tools whose results do not taint."""
    return frozenset(tool for tool, schema in policy.tools.items() if schema.get(TRUSTED_KEY) is True)


def _numbers(schema: Any, depth: int) -> Iterator[str]:
    fields = schema.get("properties") if isinstance(schema, Mapping) and depth else None
    for name, inner in fields.items() if isinstance(fields, Mapping) else ():
        while isinstance(inner, Mapping) and inner.get("type") == "array":
            inner = inner.get("items")  # noqa: PLW2901  # a list is summed under its own name
        if isinstance(inner, Mapping) and inner.get("type") in ("number", "integer"):
            yield name
        for further in _numbers(inner, depth - 1):
            yield f"{name}.{further}"


def _amounts(event: Event) -> dict[str, float] | None:
    """What a call adds to each sum: its positive numbers by dotted path, lists under their own name; None where it is too deep."""
    found: dict[str, float] = {}
    waiting: list[tuple[str, Any, int]] = [(event.tool, event.args, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, str | bool):
            continue
        if isinstance(value, int | float):
            if not abs(value) <= LARGEST:  # a whole number may be too large for a float; NaN is neither
                return None
            found[name] = found.get(name, 0.0) + max(0.0, float(value))
        elif isinstance(value, dict | list | tuple | Mapping):  # the abstract one last: it is asked in Python
            if depth > MAX_DEPTH:
                return None
            inner = ((None, item) for item in value) if isinstance(value, list | tuple) else value.items()
            waiting += [(name if key is None else f"{name}.{key}", item, depth + 1) for key, item in inner]
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """A history as it stands in a store."""

    history: History
    version: int = 0  # 0: it is not there yet


class Keeping(Protocol):
    """Histories that several processes share: `histories.Histories` is one."""

    def read(self, principal: str, name: str) -> Kept:
        """What a session has done; raises StoreError."""

    def swap(self, principal: str, name: str, kept: Kept, history: History) -> Kept | None:
        """Put a history in the place of the one that was read; None where another was faster. Raises StoreError."""


class Crowded(StoreError):  # noqa: N818  # as all errors here, it is named by what is the matter
    """Others change this session faster than it can be judged: what was to be counted is undecidable."""


def crowded() -> Crowded:
    """The error for a session that others change too fast."""
    return Crowded("a session changes too fast to be judged", "Nothing was let through; come again.")


class Sessions:
    """Sessions, each a principal's own: the same name under two principals is two sessions. Of one process, or `kept` for several.

    Where they are kept, a turn ends in `Crowded` if another process has changed the session meanwhile: what was judged in it does not
    count, and must not run. Whoever holds the turn may take another and judge anew.
    """

    def __init__(self, kept: Keeping | None = None) -> None:
        self._kept = kept
        self._histories: dict[tuple[str, str], History] = {}
        self._turns: dict[tuple[str, str], Turn] = {}  # of who holds the lock
        self._locks: dict[tuple[str, str], threading.RLock] = {}
        self._door = threading.Lock()

    @contextmanager
    def turn(self, principal: str, name: str) -> Iterator["Turn"]:
        """One session, to read and to change; whoever else in this process wants it waits. Raises StoreError."""
        key = (principal, name)
        with self._door:
            if key not in self._locks and len(self._locks) >= MAX_SESSIONS:
                raise StoreError(f"{MAX_SESSIONS} sessions are open", "End some, or start another process; nothing was let through.")
            lock = self._locks.setdefault(key, threading.RLock())
        with lock:
            if key in self._turns:  # the same thread, inside its own turn: one history, not two
                yield self._turns[key]
                return
            begun = self._kept.read(principal, name) if self._kept else Kept(self._histories.get(key) or History(name))
            turn = self._turns[key] = Turn(begun.history)
            try:
                yield turn
            finally:
                del self._turns[key]
                if self._kept is None:
                    self._histories[key] = turn.history
                elif turn.history != begun.history and self._kept.swap(principal, name, begun, turn.history) is None:
                    raise crowded()

    def end(self, principal: str, name: str) -> None:
        """Forget a session in this process; whoever calls this says that it is over. What a store keeps rests until it is pruned."""
        with self._door:
            self._histories.pop((principal, name), None)
            self._locks.pop((principal, name), None)


@dataclass(slots=True)
class Turn:
    """A session while somebody holds it: change `history`, and that is what remains."""

    history: History
