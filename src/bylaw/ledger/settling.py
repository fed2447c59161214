"""An entry's place in its log, its number in its session, and its bytes: settled when it is handed in, before it is written."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bylaw.errors import LedgerError
from bylaw.ledger import entries
from bylaw.ledger.disk import Disk
from bylaw.ledger.waiting import Waiting

MAX_SESSIONS: Final = 100_000  # whose sequence numbers are kept in memory; far above `max_waiting`


class Prepared(NamedTuple):
    """An entry that has been looked at, without its place."""

    said: dict[str, Any]
    time_us: int
    seq: int  # 0: the ledger counts
    contents: list[tuple[str, bytes, bytes]]  # name, salt, content


class Places:
    """Where the next entries of one log go."""

    def __init__(self, disk: Disk, clock: Callable[[], int]) -> None:
        self._disk, self._clock = disk, clock
        self._next, self._last_us = disk.size, disk.last_us
        self._salts = entries.Salts()
        self.sessions: OrderedDict[str, int] = OrderedDict()  # the last number handed out

    def prepared(self, entry: Mapping[str, Any]) -> Prepared:
        """Look an entry through; safe from many threads. Raises LedgerError."""
        said = entries.checked(entry)
        time_us = entries.check_time(entry["time"] if "time" in entry else self._clock())
        seq = entry.get("seq", 0)
        if type(seq) is not int or not 0 <= seq <= entries.MAX_INT:
            raise LedgerError("an entry's seq must be a whole number from 1", "Leave it out, and the ledger counts.")
        contents, said["contents"] = [], {}
        if given := entry.get("contents"):
            contents = [(name, self._salts.next(), content) for name, content in entries.check_contents(given).items()]
            said["contents"] = {name: entries.commitment(salt, content) for name, salt, content in contents}
        return Prepared(said, time_us, seq, contents)

    def settled(self, prepared: Prepared) -> Waiting:
        """Give an entry the next place. One caller at a time; nothing is settled where the bytes cannot be made: raises LedgerError."""
        said, time_us, seq, contents = prepared
        session = said["session"]
        seq = seq or self._last(session) + 1
        back = self._last_us - time_us
        said["log"], said["index"], said["seq"] = self._disk.log, self._next, seq
        said["time"], said["clock_back_us"] = entries.timestamp(time_us), back if back > entries.SLACK_US else 0
        leaf = entries.encoded(said)
        weight = len(leaf) + sum(len(content) for _, _, content in contents) if contents else len(leaf)
        waiting = Waiting(self._next, seq, session, time_us, leaf, contents, weight)
        self._next += 1
        self._last_us = time_us
        self.sessions[session] = seq
        self.sessions.move_to_end(session)
        if len(self.sessions) > MAX_SESSIONS:
            self.sessions.popitem(last=False)
        return waiting

    def _last(self, session: str) -> int:
        known = self.sessions.get(session)
        return self._disk.last_of(session) if known is None else known
