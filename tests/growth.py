"""How the cost of a piece of work grows with its size: a ratio of one run, so that no machine is too slow for a test."""

import time
from collections.abc import Callable
from typing import Final

TIMES: Final = 4  # the large size is so many times the small
LINEAR: Final = 9  # between 4, which is linear, and 16, which is quadratic
FLOOR_S: Final = 0.004  # below this a clock says little: an overhead that both sizes have


def growth(work: Callable[[int], object], small: int) -> float:
    """Cost at `TIMES * small` over the cost at `small`, in CPU seconds of this process, the best of three taken in turn."""
    spent: dict[int, list[float]] = {small: [], TIMES * small: []}
    for _ in range(3):
        for size, costs in spent.items():
            began = time.process_time()
            work(size)
            costs.append(time.process_time() - began)
    return (min(spent[TIMES * small]) + FLOOR_S) / (min(spent[small]) + FLOOR_S)
