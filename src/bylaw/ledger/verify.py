"""What can be found out about logs with a public key alone: was an entry changed, deleted, added, moved; was one never recorded.

Every entry is read once. Roots are held against every signed checkpoint: those in the log, those that somebody kept elsewhere, and those
that the log of roots joined. A log that was cut back to one of its own earlier heads looks whole by itself: only a checkpoint kept
elsewhere, or the log of roots, shows it. Contents may be gone where a retention entry says so, and only there.

What it cannot show: an event that was never handed to the ledger and has no place in a session; that what was recorded is true.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from bylaw.errors import LedgerError
from bylaw.ledger import entries, place
from bylaw.ledger.merkle import Frontier, leaf_hash
from bylaw.ledger.notes import Checkpoint, PublicKey, read_checkpoint
from bylaw.ledger.reading import Content, Log

MAX_FAULTS: Final = 1_000
Code = Literal["format", "forged", "edited", "missing", "reordered", "cut", "unsigned", "gap", "roots", "content", "chain"]


class Fault(NamedTuple):
    """One thing that is wrong, in one line."""

    code: Code
    log: str
    message: str


class Summary(NamedTuple):
    """What a log holds."""

    log: str
    entries: int
    sessions: int
    checkpoints: int
    root: str  # hex
    first: str  # time of the first entry
    last: str
    clock_jumps: int  # times the clock went back, as recorded


@dataclass(frozen=True, slots=True)
class Report:
    """All logs, and all that is wrong."""

    logs: tuple[Summary, ...]
    faults: tuple[Fault, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class Signed(NamedTuple):
    """A root that a log must have had, and who says so."""

    size: int
    root: bytes
    source: Literal["log", "held", "roots"]


@dataclass
class _Pass:
    """The reading of one log, entry by entry."""

    log: Log
    faults: list[Fault]
    tree: Frontier = field(default_factory=Frontier)
    seqs: dict[str, int] = field(default_factory=dict)
    gone: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)  # by session: time, index, name of missing contents
    first: str = ""
    last: str = ""
    jumps: int = 0
    joined: list[dict[str, Any]] = field(default_factory=list)
    erased: Sequence[Mapping[str, Any]] = ()  # retention of its contents, recorded elsewhere: nobody writes to it any more

    def fault(self, code: Code, message: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(code, self.log.origin, message))


Erased = Mapping[str, Sequence[Mapping[str, Any]]]  # by log


def verify(logs: Sequence[Log], key: PublicKey, held: Sequence[Checkpoint] = (), erased: Erased = MappingProxyType({})) -> Report:
    """Read these logs and hold them against the key, against each other, and against checkpoints kept elsewhere (already verified)."""
    summaries, faults = [], []
    joined: dict[str, list[Signed]] = {}
    ordered = sorted(logs, key=lambda log: not log.origin.endswith(f"/{place.ROOTS}"))
    for log in ordered:
        elsewhere = [Signed(one.size, one.root, "held") for one in held if one.origin == log.origin]
        reading = _Pass(log, [], erased=erased.get(log.origin, ()))
        summary, found, roots = _verify_one(reading, key, [*elsewhere, *joined.pop(log.origin, [])])
        summaries.append(summary)
        faults.extend(found)
        for one in roots:
            joined.setdefault(one[0], []).append(one[1])
    present = {log.origin for log in ordered}
    faults.extend(
        Fault("roots", origin, f"the log of roots names it with {some[-1].size} entries; it is missing")
        for origin, some in joined.items()
        if some[-1].size
    )
    lost = {one.origin: one.size for one in held if one.origin not in present}
    faults.extend(
        Fault("cut", origin, f"a checkpoint of it with {size} entries was kept; the log is missing") for origin, size in lost.items()
    )
    names = [log.origin for log in ordered if log.origin]
    faults.extend(Fault("format", name, "this log was given twice") for name in sorted({name for name in names if names.count(name) > 1}))
    return Report(tuple(summaries), tuple(faults))


def _verify_one(reading: _Pass, key: PublicKey, elsewhere: Sequence[Signed]) -> tuple[Summary, list[Fault], list[tuple[str, Signed]]]:
    """One log, and what it says of others where it is the log of roots."""
    log = reading.log
    signed: list[Signed] = []
    count = 0
    try:
        notes = log.notes()
        count = len(notes)
        signed = _signatures(reading, key, notes)
        _read(reading, [*signed, *elsewhere])
    except LedgerError as error:
        reading.fault("format", error.what)
    size = reading.tree.size
    if size and not (log.origin.startswith(f"{key.name}/")):
        reading.fault("forged", "it is no log of this key")
    newest = max((one.size for one in signed), default=0)
    if size > newest:
        reading.fault(
            "unsigned", f"entries {newest} to {size - 1} are under no signature: they were added, or the signed head was taken away"
        )
    summary = Summary(log.origin, size, len(reading.seqs), count, reading.tree.root().hex(), reading.first, reading.last, reading.jumps)
    return summary, reading.faults, list(_joined(reading))


def _signatures(reading: _Pass, key: PublicKey, notes: Sequence[str]) -> list[Signed]:
    """The roots that the log's own checkpoints sign."""
    found: list[Signed] = []
    for note in notes:
        try:
            one = read_checkpoint(note, key)
        except LedgerError as error:
            reading.fault("forged", f"a checkpoint of it does not hold: {error.what}")
            continue
        if one.origin != reading.log.origin:
            reading.fault("forged", f"it holds a checkpoint of another log, {one.origin}")
            continue
        if found and one.size <= found[-1].size:
            reading.fault("reordered", f"its checkpoint of {one.size} entries stands after that of {found[-1].size}")
        found.append(Signed(one.size, one.root, "log"))
    return found


def _read(reading: _Pass, signed: Sequence[Signed]) -> None:
    """Every entry once, each signed root when the tree has its size."""
    due: dict[int, list[Signed]] = {}
    for one in signed:
        due.setdefault(one.size, []).append(one)
    good = 0
    broken = False
    contents = _Contents(reading) if reading.log.with_contents else None
    expected = 0
    for at, leaf in _with_end(reading.log.leaves()):
        size = reading.tree.size
        for one in due.pop(size, ()):
            if one.root == reading.tree.root():
                good = size
            elif not broken or one.source != "log":
                broken = broken or one.source == "log"
                _wrong_root(reading, one, good)
        if leaf is None:
            break
        expected = _entry(reading, at, leaf, expected, contents)
    for size in sorted(due):
        source = {"log": "its own checkpoint", "held": "a checkpoint kept elsewhere", "roots": "the log of roots"}[due[size][-1].source]
        code: Code = "roots" if due[size][-1].source == "roots" else "cut"
        reading.fault(code, f"it was cut: {reading.tree.size} entries are there, {source} has {size}")
    if contents:
        contents.end()
    elif next(reading.log.contents(), None) is not None:
        reading.fault("content", "it says that it has no contents, and has some")


def _with_end(leaves: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes | None]]:
    yield from leaves
    yield 0, None


def _wrong_root(reading: _Pass, one: Signed, good: int) -> None:
    between = f"between {good} and {one.size - 1}" if one.size else "of none"
    if one.source == "log":
        reading.fault("edited", f"the entries {between} are not those that were signed: one was changed, added or taken out")
    elif one.source == "held":
        reading.fault("edited", f"a checkpoint kept elsewhere signs other entries up to {one.size}: the log was rewritten")
    else:
        reading.fault("roots", f"the log of roots has another root for its first {one.size} entries: the log was rewritten")


def _entry(reading: _Pass, at: int, leaf: bytes, expected: int, contents: "_Contents | None") -> int:
    """One entry; returns the index that must come next."""
    reading.tree.add(leaf_hash(leaf))
    try:
        said = entries.read_leaf(leaf)
    except ValueError as error:
        reading.fault("edited", f"entry {at} is {error}")
        return at + 1
    if at > expected:
        reading.fault("missing", f"entries {expected} to {at - 1} are missing" if at - expected > 1 else f"entry {expected} is missing")
    if said["index"] != at:
        reading.fault("reordered", f"at the place of entry {at} stands one that says it is entry {said['index']}")
    if said["log"] != reading.log.origin:
        reading.fault("reordered", f"entry {at} is of another log")
    _sequence(reading, at, said)
    reading.first = reading.first or said["time"]
    reading.last = said["time"]
    reading.jumps += said["clock_back_us"] > 0
    if said["kind"] == place.ROOTS:
        reading.joined.append(said["facts"])
    if contents:
        contents.check(at, said)
    return at + 1


def _sequence(reading: _Pass, at: int, said: dict[str, Any]) -> None:
    session, seq = said["session"], said["seq"]
    last = reading.seqs.get(session, 0)
    whose = f"session {session!r}" if session else "the entries without a session"
    if seq > last + 1:
        reading.fault("gap", f"{whose}: number {last + 1} was never recorded; entry {at} is number {seq}")
    elif seq <= last:
        reading.fault("gap", f"{whose}: entry {at} is number {seq} again, after number {last}")
    reading.seqs[session] = max(last, seq)


class _Contents:
    """Contents and the entries that commit to them, read side by side."""

    def __init__(self, reading: _Pass) -> None:
        self._reading = reading
        self._rest = reading.log.contents()
        self._next: Content | None = next(self._rest, None)

    def check(self, at: int, said: dict[str, Any]) -> None:
        """Hold an entry's contents to its commitments; note what is not there; let a retention entry explain what went before it."""
        missing = dict(said["contents"])
        while self._next is not None and self._next.at <= at:
            one, self._next = self._next, next(self._rest, None)
            wanted = missing.pop(one.name, None) if one.at == at else None
            if wanted is None or entries.commitment(one.salt, one.content) != wanted:
                self._reading.fault("content", f"the content {one.name!r} of entry {one.at} is not what the entry commits to")
        time_us = entries.microseconds(said["time"])
        gone = self._reading.gone
        if missing:
            gone.setdefault(said["session"], []).extend((time_us, at, name) for name in missing)
        if said["kind"] == "retention":
            self._explain(said["facts"])

    def _explain(self, facts: Mapping[str, Any]) -> None:
        gone, session = self._reading.gone, facts.get("session")
        try:
            before = entries.microseconds(str(facts.get("before")))
        except ValueError:
            return  # it explains nothing
        for one in list(gone) if session == "" else [session] if session in gone else []:
            gone[one] = [lost for lost in gone[one] if lost[0] >= before]
            if not gone[one]:
                del gone[one]

    def end(self) -> None:
        """Nothing may be left over on either side."""
        for facts in self._reading.erased:
            self._explain(facts)
        if self._next is not None:
            self._reading.fault("content", f"a content of entry {self._next.at}, which is not there")
        for lost in self._reading.gone.values():
            for _, at, name in lost:
                self._reading.fault("content", f"the content {name!r} of entry {at} is gone, and no retention entry says why")


def _joined(reading: _Pass) -> Iterator[tuple[str, Signed]]:
    """What the log of roots says of other logs."""
    for facts in reading.joined:
        for one in facts.get("logs", ()):
            try:
                yield one["log"], Signed(int(one["size"]), bytes.fromhex(one["root"]), "roots")
            except (KeyError, TypeError, ValueError):
                reading.fault("format", "an entry of the log of roots cannot be read")
