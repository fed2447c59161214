"""Which sessions there are, for a while: what each of them has called, and whether it has read what nobody vouches for.

Kept in this process, the latest `MAX_SESSIONS` of them. A session is a principal's own: the same name under two keys is two sessions.
What an agent did before is also read from the conversation it sends, by call id, so that calls through another process count as well.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

MAX_SESSIONS: Final = 50_000
MAX_CALLS: Final = 5_000  # of one session; beyond that it can do no more
MAX_RELEASED: Final = 200  # answers remembered
UNTRUSTED: Final = "untrusted-text"  # the taint of whoever has read a tool's result or a document


@dataclass(slots=True)
class Session:
    """What is known of one session."""

    id: str
    taint: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)  # ids of calls that are counted
    answers: "OrderedDict[bytes, None]" = field(default_factory=OrderedDict)  # digests of texts that have left

    def facts(self, zeros: Mapping[str, float]) -> dict[str, Any]:
        """The session as conditions see it; `zeros` are the sums of one that has called nothing."""
        sums = {**zeros, **self.sums}
        return {"id": self.id, "taint": sorted(self.taint), "calls": list(self.calls), "n_calls": len(self.calls), "sums": sums}

    def called(self, tool: str, args: Mapping[str, Any] | None, call_id: str = "") -> None:
        """Count one call."""
        if call_id:
            if call_id in self.seen:
                return
            self.seen.add(call_id)
        self.calls.append(tool)
        for name, value in (args or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                key = f"{tool}.{name}"
                self.sums[key] = self.sums.get(key, 0.0) + value

    def answered(self, text: str) -> None:
        """Remember a text that has left, so that it is known when it comes back as history."""
        self.answers[_digest(text)] = None
        if len(self.answers) > MAX_RELEASED:
            self.answers.popitem(last=False)

    def said(self, text: str) -> bool:
        """Whether this text left in this session."""
        return bool(self.answers) and _digest(text) in self.answers


class Sessions:
    """The latest sessions."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def of(self, principal: str, name: str) -> Session:
        """This principal's session of that name; a new one, where there is none."""
        key = (principal, name)
        session = self._known.get(key)
        if session is None:
            session = self._known[key] = Session(name)
            if len(self._known) > MAX_SESSIONS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return session


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
