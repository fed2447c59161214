"""What this process has seen, counted as plain numbers: decisions, clauses, steps, and how long requests took. Read at `/metrics`.

Counting costs about a microsecond an entry and nothing that can fail: no metrics library on the way of a request. An entry counts when it
is on the disk. Labels are bounded: effects, surfaces, kinds and steps are ours, clauses are the policy's; principals, sessions and tools
are never labels.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

MAX_LABELS: Final = 2_000  # of one count; what is beyond is counted together as `other`
OTHER: Final = "other"
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = tuple[str, ...]


class Count:
    """Numbers by labels, so many at most."""

    __slots__ = ("by",)

    def __init__(self) -> None:
        self.by: dict[Labels, int] = {}

    def add(self, labels: Labels) -> None:
        """One more."""
        by = self.by
        known = by.get(labels)
        if known is None and len(by) >= MAX_LABELS:
            labels = (OTHER,) * len(labels)
            known = by.get(labels)
        by[labels] = 1 if known is None else known + 1


class Tally:
    """The counts of one process. Safe from many threads."""

    def __init__(self) -> None:
        self.entries, self.decisions, self.clauses, self.steps, self.requests = (Count() for _ in range(5))
        self.undecided = 0  # decisions in which a rule could not be decided
        self.lasted = [0] * (len(BOUNDS_S) + 1)  # requests, by the first bound that is not below
        self.lasted_s = 0.0
        self._lock = threading.Lock()

    def entry(self, entry: Mapping[str, Any]) -> None:
        """A ledger's entry is on the disk."""
        kind, facts = entry["kind"], entry.get("facts")
        with self._lock:
            self.entries.add((kind,))
            if kind == "decision":
                effect = entry.get("decision", "")
                self.decisions.add((effect, entry.get("surface", "")))
                for clause in entry.get("clauses", ()):
                    self.clauses.add((clause, effect))
                if facts and "undecided" in facts:
                    self.undecided += 1
            elif facts and isinstance(step := facts.get("step"), str):
                self.steps.add((kind, step))

    def request(self, path: str, status: int, lasted_s: float) -> None:
        """A request on a model route has ended."""
        with self._lock:
            self.requests.add((path, str(status)))
            self.lasted[bisect_left(BOUNDS_S, lasted_s)] += 1
            self.lasted_s += lasted_s
