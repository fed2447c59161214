"""Events of a streamed answer on their way to the client, in their order, while some text of it is still held back.

What comes after a part of text waits until all of that text has left. From a certain event on, all waits until the whole answer is judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bylaw.serve.wire import JsonMap

_HOLD: Final[JsonMap] = {"type": "hold"}  # among events: from here on all is held


@dataclass(slots=True)
class InOrder:
    """The events of one answer. What a method returns leaves now, in this order."""

    closing: Callable[[Any], Sequence[JsonMap]]  # what ends a part of text; asked for when all of its text has left
    held: list[JsonMap] = field(default_factory=list)  # what waits until the whole answer is judged
    holding: bool = False  # whether all is held
    _late: dict[Any, list[JsonMap]] = field(default_factory=dict)  # parts whose end waits, and what came after each of them

    def out(self, *events: JsonMap) -> Sequence[JsonMap]:
        """Send these after all text before them."""
        if not self._late:
            return self.leave(*events)
        next(reversed(self._late.values())).extend(events)
        return ()

    def hold(self) -> None:
        """Hold what is sent from here on."""
        self.out(_HOLD)

    def end(self, part: Any, waits: bool) -> Sequence[JsonMap]:
        """A part is complete; if it waits, some of its text has not left."""
        if not waits:
            return self.out(*self.closing(part))
        self._late[part] = []
        return ()

    def caught_up(self, to: Any = None) -> Sequence[JsonMap]:
        """What waited for the text of parts before this one; of all parts, if none is named."""
        found: list[JsonMap] = []
        while self._late and (first := next(iter(self._late))) != to:
            found += self.leave(*self.closing(first), *self._late.pop(first))
        return found

    def leave(self, *events: JsonMap) -> Sequence[JsonMap]:
        """Send these now, or hold them."""
        if not self.holding and _HOLD not in events:
            return events
        found = []
        for event in events:
            if event is _HOLD:
                self.holding = True
            elif self.holding:
                self.held.append(event)
            else:
                found.append(event)
        return found
