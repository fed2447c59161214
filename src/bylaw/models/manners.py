"""How to ask an endpoint: how many calls, how long, how much, at what price. Apart from `remote`, so that naming it loads no client."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(".bylaw/cache/models")  # replies are kept beside the project that paid for them


@dataclass(frozen=True, slots=True)
class Manners:
    """How to ask an endpoint."""

    concurrency: int = 8  # calls at a time
    tries: int = 5  # calls a row at the most
    backoff_s: float = 0.5  # before the second try; doubles, with jitter
    longest_wait_s: float = 60.0  # between two tries, whatever the server asks for
    timeout_s: float = 120.0  # one call
    deadline_s: float | None = None  # one batch; rows not answered by then are missing
    reply_bytes: int = 8 << 20  # of one reply, unpacked
    give_up_after: int = 8  # rows in a row that meet a closed door, and nobody else is sent there
    price_in: float | None = None  # per million prompt tokens
    price_out: float | None = None  # per million completion tokens
    cache: Path | None = HERE  # None: ask every time
    seed: int = 0  # of the jitter


USUAL: Final = Manners()
