"""What watches one process: its counts, and its spans where there is somewhere to send them. It decides nothing; nothing waits for it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bylaw.ledger.writer import Ledger
from bylaw.serve.gate import Gate
from bylaw.serve.lookout import Lookout
from bylaw.serve.tally import Tally

if TYPE_CHECKING:
    from bylaw.serve.gateway import Begun


@dataclass(slots=True)
class Watchers:
    """What is told of everything that happens here."""

    lookout: Lookout = field(default_factory=Lookout)
    tally: Tally = field(default_factory=Tally)

    def ended(self, begun: "Begun", lasted_s: float) -> None:
        """A request on a model route has ended."""
        self.tally.request(begun.path, begun.status, lasted_s)


def begun(lookout: Lookout, gates: Iterable[Gate]) -> Watchers:
    """Begin to watch these gates."""
    made = Watchers(lookout)
    for gate in gates:
        if isinstance(gate.recorder, Ledger):
            gate.recorder.seen = made.tally.entry
    return made
