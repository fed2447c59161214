"""What a rail is: a name, the longest span it can match, and a search that finds, finds nothing, or fails.

Failing is never finding nothing: any exception means that the text could not be searched, and whoever asked must treat what depends
on it as undecidable. A text over `MOST_CHARS` fails. Patterns are RE2, so the time is linear in the text.

`longest` is the stream's promise: a hit spans at most so many code points of the text, and whether it is one depends on at most one
more on either side. A rail that says None must see the whole text; the stream then waits for its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bylaw.errors import BylawError
from bylaw.govern.rails.views import MOST_CHARS, Views
from bylaw.types import Hit

MOST_HITS: Final = 10_000  # of one rail in one text: more is an attack on whoever shows them


class RailError(BylawError):
    """A text could not be searched: what depends on the rail is undecidable."""


@dataclass(frozen=True, slots=True)
class RailFacts:
    """What a rail may know besides the text."""

    system: str = ""  # the system prompt, which must not leak
    canaries: tuple[str, ...] = ()  # tokens planted where nobody may read them
    documents: tuple[str, ...] = ()  # what an answer may rest on
    schema: Mapping[str, Any] | None = None  # the JSON Schema the text must fit
    request: str = ""  # what the user asked, for a judge
    tools: tuple[str, ...] = field(default=())  # names of tools the model has


NO_FACTS: Final = RailFacts()


class Rail(Protocol):
    """Anything that finds spans in a text."""

    @property
    def name(self) -> str:
        """What policies write in `detect:`."""

    @property
    def longest(self) -> int | None:
        """The longest span it can match, in code points; None: it must see the whole text."""

    @property
    def cost(self) -> int:
        """Which are asked first: 0 looks at patterns, 1 compares texts, 2 asks a model."""

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Every hit, in order; any exception means failed."""


def bounded(text: str) -> Views:
    """The views of a text that is not too long to search; else RailError."""
    if len(text) > MOST_CHARS:
        raise RailError(f"a text of {len(text)} characters is too long to search", f"at most {MOST_CHARS} are searched; send it in parts")
    return Views(text)


def sealed(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Hits in order, each span of a rail once (the surest, then the plainest view), and not too many."""
    best: dict[tuple[str, int, int], Hit] = {}
    for hit in hits:
        key = (hit.rail, hit.start, hit.end)
        kept = best.get(key)
        if kept is None or (-hit.confidence, len(hit.view)) < (-kept.confidence, len(kept.view)):
            best[key] = hit
    if len(best) > MOST_HITS:
        raise RailError(f"more than {MOST_HITS} findings in one text", "the text is refused as a whole")
    return tuple(sorted(best.values(), key=lambda hit: (hit.start, hit.end, hit.rail)))
