"""What asking an endpoint has cost so far: calls, tokens, money."""

from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Final

from bylaw.models.endpoint import Reply

PER: Final = 1_000_000  # prices are per million tokens


@dataclass(frozen=True, slots=True)
class Spent:
    """Counted since the model was opened. `cost` is None where a price or a token count is not known: then it is not nought."""

    calls: int = 0  # requests sent
    cached: int = 0  # rows answered from the cache
    retries: int = 0  # calls beyond the first for a row
    failed: int = 0  # rows without a reply
    uncounted: int = 0  # replies whose tokens the server did not tell
    unsaved: int = 0  # replies that the cache could not keep
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


COUNTS: Final = tuple(one.name for one in fields(Spent) if one.name != "cost")


@dataclass(slots=True)
class Tally:
    """The running count; judges may ask from several threads."""

    counts: dict[str, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, **counts: int) -> None:
        """Count some more."""
        with self._lock:
            for name, count in counts.items():
                self.counts[name] = self.counts.get(name, 0) + count

    def reply(self, reply: Reply) -> None:
        """Count the tokens of a reply that was paid for."""
        known = reply.prompt_tokens is not None and reply.completion_tokens is not None
        self.add(prompt_tokens=reply.prompt_tokens or 0, completion_tokens=reply.completion_tokens or 0, uncounted=int(not known))

    def spent(self, price_in: float | None, price_out: float | None) -> Spent:
        """The count now, in money where prices (per million tokens) are known."""
        with self._lock:
            now = Spent(**self.counts)
        if price_in is None or price_out is None or now.uncounted:
            return now
        cost = (now.prompt_tokens * price_in + now.completion_tokens * price_out) / PER
        return replace(now, cost=cost)
