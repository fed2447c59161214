"""Sampled checks of answers that have left: a judge reads a share of them, one clause each, within so many calls a day.

After the reply and never in its way: a request leaves a few references in a bounded queue, and one thread with a judge, a budget and a
connection of its own works it off. What is chosen follows from the record's name, so that anybody can check the choice; so does the clause,
evenly over all clauses of the policy. Each check is an entry `sample` of the ledger: clause, verdict, the record it is about, no text. A
judge that gives no verdict is `cannot_tell`; `/readyz` names `sampling` until it works again. The budget is each process's own.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bylaw.errors import BylawError
from bylaw.govern.rails.rail import Rail, RailFacts
from bylaw.govern.sampled import KIND
from bylaw.ledger.writer import Ledger
from bylaw.serve.ends import OPEN
from bylaw.serve.lookout import SamplingAt
from bylaw.serve.wire import BadBody, load
from bylaw.types import Policy

if TYPE_CHECKING:
    from bylaw.serve.gateway import Begun
    from bylaw.serve.route import Shape

PART: Final = "sampling"
MAX_QUEUED: Final = 256
MAX_REPLY_BYTES: Final = 256 * 1024
DAY_S: Final = 86_400
LOG: Final = logging.getLogger(__name__)

Rails = Callable[[Policy], Mapping[str, Rail]]
Say = Callable[[str, str], object]


class Sample(NamedTuple):
    """An answer that is to be checked."""

    record: str
    reply: bytes
    request: str
    shape: "Shape"
    policy: Policy
    ledger: Ledger


class Sampling:
    """The checks of one process."""

    def __init__(self, at: SamplingAt, rails_of: Rails, say: Say, clock: Callable[[], float] = time.time) -> None:
        self.skipped = 0  # chosen, and not checked: the budget was spent, the queue full, or the answer too long
        self._at, self._rails_of, self._say, self._clock = at, rails_of, say, clock
        self._queue: deque[Sample] = deque()
        self._wake, self._closed = threading.Event(), False
        self._day, self._calls = -1, 0
        self._rails: tuple[str, Mapping[str, Rail]] = ("", {})
        self._thread = threading.Thread(target=self._go_on, name="bylaw-sampling", daemon=True)
        self._thread.start()

    def ended(self, begun: "Begun") -> None:
        """A request has ended; perhaps its answer is looked at. Never waits."""
        exchange = begun.exchange
        if exchange is None or exchange.outcome is None or begun.status != 200:
            return
        entry, record = exchange.outcome
        if entry["decision"] not in OPEN or not chosen(record, self._at.share):
            return
        reply, ledger = entry["contents"].get("reply", b""), exchange.gate.recorder
        if len(self._queue) >= MAX_QUEUED or not 0 < len(reply) <= MAX_REPLY_BYTES or not isinstance(ledger, Ledger):
            self.skipped += 1
            return
        request = next((text.text for text in reversed(exchange.asked.texts) if text.role == "user"), "")
        self._queue.append(Sample(record, reply, request, exchange.route.shape, exchange.law.book.policy, ledger))
        self._wake.set()

    def close(self) -> None:
        """Stop; what waits is not checked."""
        self._closed = True
        self._wake.set()
        self._thread.join(5.0)

    def _go_on(self) -> None:
        while self._wake.wait() and not self._closed:
            self._wake.clear()
            while self._queue and not self._closed:
                try:
                    self.check(self._queue.popleft())
                except Exception as error:
                    LOG.exception("a sampled answer could not be checked")  # this thread must live to check the next one
                    self._say(PART, type(error).__name__)

    def check(self, sample: Sample) -> None:
        """Have one answer judged, and record what came of it."""
        clause = clause_of(sample)
        text = said(sample)
        if not clause or not text or not self._take():
            self.skipped += 1
            return
        verdict = self._verdict(sample, clause, text)
        facts = {"verdict": verdict, "record": sample.record}
        try:
            sample.ledger.append({"kind": KIND, "clauses": [clause], "policy": sample.policy.digest, "facts": facts})
        except BylawError as error:
            LOG.warning("a sampled check could not be recorded: %s", error.what)

    def _verdict(self, sample: Sample, clause: str, text: str) -> str:
        if self._rails[0] != sample.policy.digest:
            self._rails = (sample.policy.digest, self._rails_of(sample.policy))
        try:
            hits = self._rails[1][f"judge.{clause}"].find(text, RailFacts(request=sample.request))
        except Exception as error:  # noqa: BLE001  # whatever keeps a judge from a verdict: it cannot tell
            self._say(PART, f"{getattr(error, 'what', '') or type(error).__name__}"[:300])
            return "cannot_tell"
        self._say(PART, "")
        return "broken" if hits else "kept"

    def _take(self) -> bool:
        """One call of today's budget."""
        if (day := int(self._clock() // DAY_S)) != self._day:
            self._day, self._calls = day, 0
        self._calls += 1
        return self._calls <= self._at.calls_a_day


def _number(record: str, use: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{use} {record}".encode()).digest()[:8], "big")


def chosen(record: str, share: float) -> bool:
    """Whether the answer with this record is one of the share."""
    return _number(record, "share") < share * 2**64


def clause_of(sample: Sample) -> str:
    """The clause that this answer is held against; evenly one of all."""
    clauses = sample.policy.clauses
    return clauses[_number(sample.record, "clause") % len(clauses)].id if clauses else ""


def said(sample: Sample) -> str:
    """The answer's own text, as it left."""
    try:
        body: Any = load(sample.reply)
        choices = sample.shape.said(body, {}).choices
    except BadBody:
        return ""
    return "\n".join(text.text for choice in choices for text in choice.texts if text.path)
