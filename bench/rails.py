"""What the rails cost: CPU microseconds a kilobyte of plain text, each family alone and all together, and for a streamed window.

Best of 5. The text is prose of this repository with every word kept; it holds nothing to find, so this is what nearly every text costs.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import Row, row
from bylaw.govern.rails import library
from bylaw.govern.rails.asking import ask
from bylaw.govern.rails.rail import NO_FACTS
from bylaw.types import Event

TRIES: Final = 5
TIMES: Final = 200
TARGET_US: Final = 100.0  # a kilobyte, all deterministic rails together
WINDOW: Final = 400  # characters a stream looks at again with each chunk
CHUNK_US: Final = 35.0
_PROSE: Final = Path(__file__).parent.parent / "policies" / "meridian" / "60-wellbeing.md"
FAMILIES: Final = ("pii.card", "pii.iban", "pii.email", "pii.phone", "pii", "secrets", "injection", "hidden")


def prose(size: int) -> str:
    """Plain English of this size, in ASCII."""
    text = " ".join(_PROSE.read_text("utf-8").split())
    return text.encode("ascii", "ignore").decode()[2_000 : 2_000 + size]


def cost_us(work: Callable[[], object]) -> float:
    """CPU microseconds of one call."""
    work()
    best = float("inf")
    for _ in range(TRIES):
        began = time.process_time()
        for _ in range(TIMES):
            work()
        best = min(best, time.process_time() - began)
    return best / TIMES * 1e6


def asked_us(names: Sequence[str], text: str) -> float:
    """Microseconds to ask these rails about an output."""
    event, rails = Event("output", text=text), library.known()
    return cost_us(lambda: ask(event, names, rails, NO_FACTS))


def measure() -> list[Row]:
    """Each family, all together, and the plain ones on a window."""
    text, window = prose(1_000), prose(WINDOW)
    known = [name for name in FAMILIES if name in library.known()]
    every = ["pii", "secrets", "injection", *(["hidden"] if "hidden" in known else [])]
    plain = [f"{name}.plain" for name in ("pii.card", "pii.iban", "secrets") if f"{name}.plain" in library.known()]
    return [
        *(row(f"rail {name}, 1 kB of plain text", asked_us([name], text), "CPU us") for name in known),
        row(f"{' + '.join(every)}, 1 kB", asked_us(every, text), "CPU us", TARGET_US),
        row(f"{' + '.join(plain)}, a window of {WINDOW}", asked_us(plain, window), "CPU us", CHUNK_US),
    ]
