"""What the rails cost: CPU microseconds a kilobyte, each family alone and all together, of plain and of mixed text, and for a window.

Best of 5. The plain text is prose of this repository with every word kept; it holds nothing to find and has few readings. The mixed texts
are pieces of this repository's own files (prose in two languages, tables, code), which have many readings and name what orders name. They
are read once by fresh rails, which build their automata meanwhile, and then again, best of 3. What they add to memory is shown beside it:
these rows come from a process of their own, so nothing that was measured before counts.
"""

import multiprocessing
import os
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
MIXED: Final = 25  # texts of 1,500 characters
REREAD: Final = 3
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


def read_mixed(names: Sequence[str]) -> tuple[float, float, float]:
    """Microseconds a kilobyte of mixed text, by rails that are fresh and by the same again; and the megabytes that it added."""
    from bench import start  # noqa: PLC0415  # its texts; the gateway it starts is not needed where plain text is measured

    said = start.texts()
    events = [Event("output", text=text) for text in said[:: len(said) // MIXED][:MIXED]]
    rails, size = library.known(), sum(len(event.text) for event in events) / 1_000
    before, took = start.rss_mb(os.getpid()), []
    for _ in range(1 + REREAD):
        began = time.process_time()
        for event in events:
            ask(event, names, rails, NO_FACTS)
        took.append((time.process_time() - began) / size * 1e6)
    return took[0], min(took[1:]), start.rss_mb(os.getpid()) - before


def mixed(names: Sequence[str]) -> tuple[float, float, float]:
    """The same, by a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(read_mixed, (names,))


def measure() -> list[Row]:
    """Each family, all together, the plain ones on a window, and mixed text."""
    text, window = prose(1_000), prose(WINDOW)
    known = [name for name in FAMILIES if name in library.known()]
    every = ["pii", "secrets", "injection", *(["hidden"] if "hidden" in known else [])]
    plain = [f"{name}.plain" for name in ("pii.card", "pii.iban", "secrets") if f"{name}.plain" in library.known()]
    alone = [(name, mixed([name])) for name in every]
    first, again, added = mixed(every)
    return [
        *(row(f"rail {name}, 1 kB of plain text", asked_us([name], text), "CPU us") for name in known),
        row(f"{' + '.join(every)}, 1 kB", asked_us(every, text), "CPU us", TARGET_US),
        row(f"{' + '.join(plain)}, a window of {WINDOW}", asked_us(plain, window), "CPU us", CHUNK_US),
        *(row(f"rail {name}, 1 kB of mixed text, read again", cost[1], "CPU us") for name, cost in alone),
        row(f"{' + '.join(every)}, 1 kB of mixed text, read again", again, "CPU us"),
        row(f"{' + '.join(every)}, 1 kB of mixed text, by fresh rails", first, "CPU us"),
        row(f"memory that {MIXED} mixed texts add", added, "MB"),
    ]
