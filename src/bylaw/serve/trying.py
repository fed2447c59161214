"""Trials in one process: who is under the candidate, and what came of it, read from this process's own log and written into the store.

Nothing of it stands on the way of a decision but one question, while a canary runs: is this principal one of its share. Outcomes are read
from the ledger four times a second, by a thread; where no trial runs, it sleeps. A shadow decides again what was recorded, as
`bylaw replay` does, and takes that time from this process's other threads.

It fails closed: a canary that cannot be made ready here, whose terms cannot be read, or that another activation has overtaken, is over.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import Connection

from bylaw.errors import BylawError, StoreError
from bylaw.govern import canary
from bylaw.govern.replaying import CHANGES, Replay
from bylaw.ledger import place, reading
from bylaw.ledger.writer import Ledger
from bylaw.serve import bundle, trials
from bylaw.serve import live as lives
from bylaw.serve.gate import Gate
from bylaw.serve.live import InForce, Live, Record
from bylaw.serve.trials import Standing
from bylaw.store import policy_rows, trial_rows
from bylaw.store.policy_rows import Activation
from bylaw.store.trial_rows import Count, Trial
from bylaw.store.watching import Watch

if TYPE_CHECKING:  # loaded with the first trial: most gateways have none
    from bylaw.serve.replay import Again, Recorded

POLL_S: Final = 0.25
MADE: Final = "made"  # the step of an appeal that counts; see `govern.appeals`
BATCH: Final = 500  # entries of one log that are read at a time
LOG: Final = logging.getLogger(__name__)


@dataclass
class Share:
    """The candidate of a canary, ready, for those who are under it."""

    trial: int
    made: InForce
    baseline: str
    takes: Callable[[Mapping[str, Any], str], bool]

    def in_force(self, principal: Mapping[str, Any], now: InForce, talk: str = "") -> InForce:
        """What holds for a principal, in a conversation. Where another policy has come in force meanwhile, the canary is over."""
        return self.made if now.digest == self.baseline and self.takes(principal, talk) else now


@dataclass
class Tail:
    """One log of this process, read as it grows."""

    path: Path
    log: str
    at: int = -1  # the last entry that was read
    counts: dict[str, Count] = field(default_factory=dict)

    def begin(self, found: Mapping[str, Count]) -> None:
        """Begin at the end, or where whoever wrote to this log before has stopped."""
        self.counts = dict(found)
        if trials.AT in found:
            self.at = found[trials.AT].total
            return
        with reading.stored(self.path) as log:
            self.at = max((at for at, _ in log.last(1)), default=-1)

    def read(self, contents: bool) -> "list[Recorded]":
        """What has come since, at most a batch."""
        from bylaw.serve.replay import Recorded  # noqa: PLC0415  # see above

        with reading.stored(self.path) as log:
            found = []
            for at, leaf in log.after(self.at, BATCH):
                kept = log.contents_of(at) if contents else {}
                found.append(Recorded(self.log, reading.entry(self.path, leaf), kept))
                self.at = at
        return found

    def add(self, name: str, count: Count) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, Count()).plus(count)


class Reading(Protocol):
    """What is done with entries of a trial."""

    contents: bool  # whether they are needed

    def take(self, tail: Tail, found: "Sequence[Recorded]") -> None:
        """Count entries."""


@dataclass
class CanaryReading:
    """Counts outcomes on both sides."""

    trial: Trial
    terms: canary.Terms
    contents: bool = False

    def take(self, tail: Tail, found: "Sequence[Recorded]") -> None:
        """Count entries."""
        sides = {self.trial.digest: trials.CANDIDATE, self.trial.baseline: trials.BASELINE}
        for one in found:
            side = sides.get(one.entry["policy"])
            if side is None:
                continue
            record = f"{one.entry['log']}#{one.entry['index']}"
            if canary.outcome(one.entry):
                bad = canary.bad(one.entry, self.terms.signal)
                tail.add(side, Count(1, int(bad), record if bad else ""))
            elif self.terms.signal == "appeals" and one.entry["kind"] == "appeal" and one.entry["facts"].get("step") == MADE:
                tail.add(side, Count(0, 1, record))


@dataclass
class ShadowReading:
    """Decides again what was recorded, and counts what would have been."""

    again: "Again"
    contents: bool = True

    def take(self, tail: Tail, found: "Sequence[Recorded]") -> None:
        """Count entries."""
        report = Replay(self.again.candidate.made.digest, 1)
        asyncio.run(self._all(found, report))
        tail.add(trials.SEEN, Count(report.decisions))
        tail.add(trials.SAME, Count(report.unchanged))
        for reason, count in report.unplayable.items():
            tail.add(trials.UNPLAYABLE + reason, Count(count))
        for clause, kinds in report.by_clause.items():
            for kind in CHANGES:
                if kinds[kind]:
                    example = report.examples[clause, kind][0].case.record
                    tail.add(f"{clause}|{kind}", Count(kinds[kind], 0, example))

    async def _all(self, found: "Sequence[Recorded]", report: Replay) -> None:
        for one in found:
            await self.again.count(one, report)


@dataclass
class Open:
    """A trial that this process takes part in."""

    trial: Trial
    reading: Reading
    tails: list[Tail]
    worse: str = ""  # what was seen when it was found to be worse: it is rolled back as soon as the store takes that


class Trying:
    """All trials of one process."""

    def __init__(self, live: Live, record: Record, logs: Sequence[tuple[Path, str]], clock: Callable[[], float] = time.time) -> None:
        self._live, self._store, self._record, self._clock = live, live.store, record, clock
        self._logs = [(folder / place.FOLDER / f"{log.rpartition('/')[2]}.sqlite", log) for folder, log in logs]
        self._running: list[Trial] = []
        self._open: dict[int, Open] = {}
        self._wanted, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None

    def follow(self, watch: Watch) -> None:
        """Take part, in a thread of its own from the first trial on."""
        watch.add(trial_rows.NAME, self._risen)

    def close(self) -> None:
        """Stop."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _risen(self, connection: Connection) -> None:
        """A trial has begun or ended. What has ended decides nothing from here on."""
        self._running = trial_rows.running(connection)
        share = self._live.share
        if share is not None and share.trial not in [one.id for one in self._running]:
            self._live.share = None
        self._wanted.set()
        if self._running and self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._go_on, name="bylaw-trials", daemon=True)
            self._thread.start()

    def _go_on(self) -> None:
        busy = False
        while not self._closed:
            if not busy:
                self._wanted.wait(POLL_S if self._open or self._running else None)
            self._wanted.clear()
            try:
                busy = self.look()
            except BylawError as error:
                busy = False
                LOG.warning("trials of policies could not be followed: %s", error.what)
            except Exception:  # this thread must live to see the next one
                busy = False
                LOG.exception("trials of policies could not be followed")

    def look(self) -> bool:
        """Begin and end what has begun and ended, and read on; whether more is waiting to be read."""
        running = {one.id: one for one in self._running}
        for gone in self._open.keys() - running.keys():
            self._read(self._open.pop(gone))
        for trial in running.values():
            if trial.id not in self._open:
                self._begin(trial)
        busy = False
        for one in list(self._open.values()):
            busy = self._read(one) or busy
            if one.trial.kind == "canary":
                self._weigh(one)
        return busy

    def _begin(self, one: Trial) -> None:
        tails = [Tail(path, log) for path, log in self._logs]
        for tail in tails:
            tail.begin(trial_rows.counts(self._store, one.id, tail.log))
        try:
            if one.kind == "canary":
                terms = canary.read(one.terms)
                made = lives.loaded(self._store, Activation(one.digest, one.content, "", 0, ""), self._live.rails_of)
                self._open[one.id] = Open(one, CanaryReading(one, terms), tails)
                if one.id in [other.id for other in self._running]:  # it may have ended while it was made ready
                    self._live.share = Share(one.id, made, one.baseline, canary.taking(terms, one.digest))
            else:
                self._open[one.id] = Open(one, ShadowReading(self._again(one)), tails)
        except StoreError:
            raise  # tried again
        except BylawError as error:
            trials.ended(self._store, self._record, one, "rolled_back", f"it cannot be made ready: {error.what}")

    def _again(self, one: Trial) -> "Again":
        from bylaw.serve import replay  # noqa: PLC0415  # see above

        with bundle.unpacked(policy_rows.files(self._store, one.content)) as folder:
            return replay.Again(replay.candidate(folder, round(self._clock() * 1_000_000), self._live.rails_of))

    def _read(self, one: Open) -> bool:
        busy = False
        for tail in one.tails:
            found = tail.read(one.reading.contents)
            if not found:
                continue
            one.reading.take(tail, found)
            tail.counts[trials.AT] = Count(tail.at)
            trial_rows.put(self._store, one.trial.id, tail.log, tail.counts)
            busy = busy or len(found) == BATCH
        return busy

    def _weigh(self, one: Open) -> None:
        """Whether a canary is over."""
        trial, terms = one.trial, canary.read(one.trial.terms)
        shown = Standing(trial, trial_rows.counts(self._store, trial.id))
        at = canary.look(shown.candidate, shown.baseline, terms)
        said = f"{terms.signal}: {shown.candidate} under the candidate, {shown.baseline} beside it"
        last = lives.latest(self._store)
        if last is not None and last.digest not in (trial.baseline, trial.digest):
            trials.ended(self._store, self._record, trial, "stopped", "another policy was put in force")
        elif at > trial.looks and trial_rows.looked(self._store, trial.id, at):
            one.trial = trial._replace(looks=at)
            if canary.worse(shown.candidate, shown.baseline, terms, at):
                one.worse = said
        if one.worse:
            self._live.share = None  # here at once, whether or not the store takes it now
            trials.ended(self._store, self._record, trial, "rolled_back", one.worse)
        elif self._clock() * 1000 >= trial.started_at + terms.window_s * 1000:
            seen = "not shown to be worse" if at else "too little was seen to tell"
            trials.ended(self._store, self._record, trial, "ended", f"its window is over, {seen}; {said}")


def begun(live: Live, record: Record, gates: Iterable[Gate], watch: Watch | None) -> Callable[[], None]:
    """Take part in the trials of a store, with the logs that these gates write; how to stop. Without a watch there is nothing to follow."""
    logs = [(gate.data_dir, gate.recorder.log) for gate in gates if gate.data_dir and isinstance(gate.recorder, Ledger)]
    one = Trying(live, record, logs)
    if watch is not None:
        one.follow(watch)
        watch.look()  # else what is shared counts as unknown until the next look, and all is stopped so long
    return one.close
