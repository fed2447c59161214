"""A judge as a rail: any OpenAI-compatible model is asked with the clause's judge card, within a time and a cost budget.

The card, the framing and the reading of the verdict are `judge.rubric`'s: a forged, cut-off or unreadable verdict has no score. No score,
no time left, no money left, no free thread: the rail has failed, which is never "found nothing". A rail is named `judge.CLAUSE`.
A thread that is late goes on until the model's own limits end it, and its verdict is not used; its place stays taken until then.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from typing import Final

from bylaw.govern.rails.rail import RailError, RailFacts, bounded
from bylaw.judge.rubric import RubricJudge
from bylaw.types import Answered, Hit, Judge, Model, Policy, Prompt, Verdict

PASSES: Final = 0.5  # the least score that is no finding
THREADS: Final = 8
_DAY_S: Final = 86_400.0


@dataclass(slots=True)
class Budget:
    """What judging may take, over all rails that share it. A day after its first call it starts anew."""

    timeout_s: float = 10.0  # one verdict
    most_calls: int = 10_000  # a day
    most_chars: int = 24_000  # of one text
    most_cost: float | None = None  # a day, in the currency of the model's prices; None: calls alone are counted
    paid: Callable[[], float | None] = lambda: None  # so far, where the model knows its prices
    now: Callable[[], float] = time.monotonic
    _calls: int = 0
    _began: float | None = None
    _before: float = 0.0  # paid before this day
    _lock: Lock = field(default_factory=Lock, repr=False)

    def take(self) -> None:
        """Count one call; RailError where there is none left."""
        with self._lock:
            now, paid = self.now(), self.paid()
            if self.most_cost is not None and paid is None:
                raise RailError("what judging costs is not known", "give the model's prices, or limit the calls only")
            if self._began is None or now - self._began >= _DAY_S:
                self._began, self._calls, self._before = now, 0, paid or 0.0
            today = (paid or 0.0) - self._before
            if self._calls >= self.most_calls or (self.most_cost is not None and today >= self.most_cost):
                raise RailError(f"the judges' budget of today is spent: {self._calls} calls, {today:.2f}", "raise it, or wait")
            self._calls += 1


class Pool:
    """Threads for calls that may hang: never more than so many at once, and nobody waits in line."""

    def __init__(self, threads: int = THREADS) -> None:
        self._free = BoundedSemaphore(threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="judge")

    def run(self, work: Callable[[], list[Verdict]], timeout_s: float) -> list[Verdict]:
        """What the work returns; RailError where no thread is free, TimeoutError where the time is over."""
        if not self._free.acquire(blocking=False):
            raise RailError("all judges are busy", "raise the number of threads, or ask a faster model")

        def released() -> list[Verdict]:
            try:
                return work()
            finally:
                self._free.release()

        return self._threads.submit(released).result(timeout_s)

    def close(self) -> None:
        """Take no more; what is being asked ends by the model's own limits."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class JudgeRail:
    """One clause's judge: a text that breaks the clause is one hit over all of it."""

    name: str
    clause: str
    judge: Judge
    budget: Budget
    pool: Pool
    passes: float = PASSES
    longest: int | None = None
    cost: int = 2

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """The whole text, as sure as the judge was, or nothing; RailError where the judge gave no verdict."""
        bounded(text)
        if len(text) + len(facts.request) > self.budget.most_chars:
            raise RailError(f"a text of {len(text)} characters is too long to judge", f"at most {self.budget.most_chars}")
        if not text:
            return ()
        row = Answered(Prompt("event", facts.request, clauses=(self.clause,)), text)
        self.budget.take()
        (verdict,) = self.pool.run(lambda: self.judge.grade([row]), self.budget.timeout_s)
        if verdict.score is None:
            raise RailError(f"{self.judge.name} gave no verdict: {verdict.reason}"[:300], "see the judge's reply")
        return () if verdict.score >= self.passes else (Hit(self.name, 0, len(text), 1 - verdict.score),)


def rails(policy: Policy, model: Model, key: bytes, budget: Budget, pool: Pool | None = None) -> dict[str, JudgeRail]:
    """A judge for each clause of a policy, as `judge.CLAUSE`. The key of the codes is a secret; it must not be a run's seed."""
    shared = pool or Pool()
    judge = RubricJudge(policy, model, key, max_new_tokens=512)
    named = {f"judge.{clause.id}": clause.id for clause in policy.clauses}
    return {name: JudgeRail(name, clause, judge, budget, shared) for name, clause in named.items()}
