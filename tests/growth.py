"""How the cost of a piece of work grows with its size: a ratio of one run, so that no machine is too slow for a test."""

import sys
import time
from collections.abc import Callable
from typing import Final

TIMES: Final = 4  # the large size is so many times the small
LINEAR: Final = 9  # between 4, which is linear, and 16, which is quadratic
FLOOR_S: Final = 0.004  # below this a clock says little: an overhead that both sizes have
ROUNDS: Final = 3  # at least
MOST: Final = 12  # rounds, where a busy machine's caches make the large size look dear


def growth(work: Callable[[int], object], small: int) -> float:
    """Cost at `TIMES * small` over the cost at `small`, in CPU seconds of this thread, the best of some rounds taken in turn."""
    spent: dict[int, list[float]] = {small: [], TIMES * small: []}
    found = float("inf")
    while len(spent[small]) < ROUNDS or (found >= LINEAR and len(spent[small]) < MOST):
        for size, costs in spent.items():
            began = time.thread_time()
            work(size)
            costs.append(time.thread_time() - began)
        found = (min(spent[TIMES * small]) + FLOOR_S) / (min(spent[small]) + FLOOR_S)
    return found


def growth_of_calls(work: Callable[[int], object], small: int) -> float:
    """The same in calls of Python's functions: exact on any machine, where what grows is how often something is done."""
    return _calls(work, TIMES * small) / _calls(work, small)


def _calls(work: Callable[[int], object], size: int) -> int:
    found = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event == "call"

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work(size)
    finally:
        sys.setprofile(before)
    return found
