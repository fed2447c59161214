"""What watches one process: its counts, and its spans where there is somewhere to send them. It decides nothing; nothing waits for it."""

import os
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bylaw.ledger.writer import Ledger
from bylaw.serve.gate import Gate
from bylaw.serve.lookout import Lookout
from bylaw.serve.spans import Spans, secret
from bylaw.serve.tally import Tally

if TYPE_CHECKING:
    from bylaw.serve.gateway import Begun

PASSED_ON: Final = "passed on"  # how a route on which nothing is said is counted


@dataclass(slots=True)
class Watchers:
    """What is told of everything that happens here."""

    lookout: Lookout = field(default_factory=Lookout)
    tally: Tally = field(default_factory=Tally)
    spans: Spans | None = None

    def ended(self, begun: "Begun", lasted_s: float) -> None:
        """A request on a model route has ended."""
        self.tally.request(begun.path, begun.status, lasted_s)
        if self.spans is not None and begun.path != PASSED_ON:
            self.spans.ended(begun, lasted_s)


def checked(lookout: Lookout) -> None:
    """Refuse what could never work, before anything listens; raises StoreError."""
    if lookout.otel is not None:
        secret(lookout.otel, os.environ)


def begun(lookout: Lookout, gates: Iterable[Gate], say: Callable[[str, str], object], stack: AsyncExitStack) -> Watchers:
    """Begin to watch these gates."""
    made = Watchers(lookout)
    for gate in gates:
        if isinstance(gate.recorder, Ledger):
            gate.recorder.seen = made.tally.entry
    if lookout.otel is not None:
        made.spans = Spans(lookout.otel, secret(lookout.otel, os.environ), say)
        stack.callback(made.spans.close)
    return made
