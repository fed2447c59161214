"""Logs for the tests: a clock that is set, a few entries, and a look at what lies on the disk."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bylaw.ledger import keyfile, place, reading, verify
from bylaw.ledger.notes import Checkpoint
from bylaw.ledger.writer import Ledger, Settings

SECOND = 1_000_000
NOON = 1_763_726_400 * SECOND


class Clock:
    """Microseconds that go on by one second a look, and can be set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        self.now += SECOND
        return self.now


def fill(data_dir: Path, count: int = 10, settings: Settings = Settings(checkpoint_entries=4)) -> Path:  # noqa: B008  # frozen
    """A closed log with so many decisions of two sessions, and where it lies."""
    with Ledger(data_dir, settings=settings, clock=Clock()) as ledger:
        for i in range(count):
            ledger.append(
                {
                    "kind": "decision",
                    "session": f"s{i % 2}",
                    "surface": "input",
                    "decision": "allow",
                    "clauses": ["money.refund"],
                    "contents": {"input": f"what number {i} said"},
                }
            )
        return data_dir / place.FOLDER / f"{ledger.log.rpartition('/')[2]}.sqlite"


@contextmanager
def opened(paths: Sequence[Path]) -> Iterator[list[reading.Log]]:
    """Databases and exports, open for reading."""
    with ExitStack() as stack:
        yield [reading.exported(path) if path.suffix == ".jsonl" else stack.enter_context(reading.stored(path)) for path in paths]


def report(data_dir: Path, paths: Sequence[Path] = (), held: Sequence[Checkpoint] = ()) -> verify.Report:
    """What verification says of these logs, or of all in the data directory."""
    key = keyfile.public_key(data_dir / "keys" / "ledger.pub")
    with opened(paths or sorted((data_dir / place.FOLDER).glob("*.sqlite"))) as logs:
        return verify.verify(logs, key, held)


def codes(found: verify.Report) -> set[str]:
    """The kinds of faults."""
    return {fault.code for fault in found.faults}
