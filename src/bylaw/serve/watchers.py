"""What watches one process: its counts, and its spans where there is somewhere to send them. It decides nothing; nothing waits for it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bylaw.ledger.writer import Ledger
from bylaw.serve.gate import Gate
from bylaw.serve.lookout import Lookout, OtelAt
from bylaw.serve.secret import secret_in
from bylaw.serve.tally import Tally
from bylaw.serve.wiring import Wiring, judge_apart
from bylaw.store import database

if TYPE_CHECKING:  # spans and samples load where they are asked for: each costs memory at rest
    from bylaw.serve.gateway import Begun
    from bylaw.serve.sampling import Sampling
    from bylaw.serve.spans import Spans

LOG: Final = logging.getLogger(__name__)
PASSED_ON: Final = "passed on"  # how a route on which nothing is said is counted


@dataclass(slots=True)
class Watchers:
    """What is told of everything that happens here."""

    lookout: Lookout = field(default_factory=Lookout)
    tally: Tally = field(default_factory=Tally)
    spans: "Spans | None" = None
    sampling: "Sampling | None" = None

    def ended(self, begun: "Begun", lasted_s: float) -> None:
        """A request on a model route has ended."""
        self.tally.request(begun.path, begun.status, lasted_s)
        try:
            if self.spans is not None and begun.path != PASSED_ON:
                self.spans.ended(begun, lasted_s)
            if self.sampling is not None:
                self.sampling.ended(begun)
        except Exception:  # the answer has left; a fault in watching must not become one in serving
            LOG.exception("a request could not be watched")


def checked(wiring: Wiring) -> None:
    """Refuse what could never work, before anything listens; raises StoreError."""
    if (lookout := wiring.lookout).sampling is not None and wiring.judge is None:
        judge_apart(wiring, 0)
    if lookout.otel is not None:
        _key(lookout.otel)


def _key(at: OtelAt) -> str:
    """The key for the collector."""
    return secret_in(at.key_env, "the key of the collector")


def begun(
    wiring: Wiring, gates: Sequence[Gate], say: Callable[[str, str], object], stack: AsyncExitStack, workers: int = 1, store: str = ""
) -> Watchers:
    """Begin to watch these gates; the first is the gateway's own, with its store. So many workers share its data directory."""
    made, lookout = Watchers(wiring.lookout), wiring.lookout
    for gate in gates:
        if isinstance(gate.recorder, Ledger):
            gate.recorder.seen = made.tally.entry
    own = gates[0]
    if workers > 1 and own.data_dir is not None and isinstance(own.recorder, Ledger):
        from bylaw.serve.tallies import Sharing  # noqa: PLC0415  # see above

        stack.callback(Sharing(made.tally, own.data_dir, own.recorder.log.rpartition("/")[2]).close)
    if lookout.otel is not None:
        from bylaw.serve.spans import Spans  # noqa: PLC0415  # see above

        made.spans = Spans(lookout.otel, _key(lookout.otel), say)
        stack.callback(made.spans.close)
    if lookout.sampling is not None:
        from bylaw.serve.sampling import Sampling  # noqa: PLC0415  # see above

        judges = judge_apart(wiring, lookout.sampling.calls_a_day)
        stack.callback(judges.close)
        made.sampling = Sampling(lookout.sampling, judges.rails_of, say)
        stack.callback(made.sampling.close)
    if lookout.signals is not None:
        from bylaw.serve.looking import Looking  # noqa: PLC0415  # see above

        own_first = [store, *(str(gate.data_dir / database.DEFAULT.name) for gate in gates[1:] if gate.data_dir)]
        places = list(zip([gate.data_dir for gate in gates if gate.data_dir], own_first, strict=True))
        stack.callback(Looking(lookout.signals, wiring, places, say).close)
    return made
