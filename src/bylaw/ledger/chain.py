"""Logs of several keys, verified from the one key that you trust: each key is believed because a log that holds names it.

A log whose key was exchanged ends with an entry that names the next key; the log after it begins with an entry that names the last one,
and each of its logs with size and root. Both must be there and agree. A restored log has no such end: it is reached from the log that was
begun at its restoration, and from the old key the new one is not reached. Whatever is not reached is forged, as far as can be known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bylaw.errors import LedgerError
from bylaw.ledger import entries, rotation, sealed, verify
from bylaw.ledger.notes import Checkpoint, PublicKey, read_checkpoint, read_public_key
from bylaw.ledger.reading import Log
from bylaw.ledger.verify import Fault, Report, Summary

RESTORE: Final = "restore"
_RETENTION: Final = f'"kind":"{sealed.RETENTION}"'.encode()


class Claim(NamedTuple):
    """What the first entries of a log say of one that it follows."""

    by: str  # the log that says so
    kind: str
    key: str  # the key that signed the other
    log: str
    size: int
    root: str


@dataclass
class _Said:
    """What a log says of other logs and keys; not yet believed."""

    log: Log
    next: str = ""
    before: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    erased: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key_name(self) -> str:
        return self.log.origin.rpartition("/")[0]


def verify_all(logs: Sequence[Log], key: PublicKey, notes: Sequence[str] = ()) -> Report:
    """Verify logs of this key and of all reached from it; `notes` are checkpoints kept elsewhere, one of no such key a LedgerError."""
    said = [_said(log) for log in logs]
    erased: dict[str, list[dict[str, Any]]] = {}
    for one in said:
        for facts in one.erased:
            erased.setdefault(str(facts.get("log")), []).append(facts)
    known, todo = {key.name: key}, [key]
    summaries: list[Summary] = []
    faults: list[Fault] = []
    good: list[_Said] = []
    left = list(notes)
    while todo:
        now = todo.pop(0)
        ours = [one for one in said if one.key_name == now.name or (now is key and not one.log.origin)]
        left, held = _held(left, now)
        report = verify.verify([one.log for one in ours], now, held, erased)
        summaries += report.logs
        faults += report.faults
        wrong = {fault.log for fault in report.faults if fault.code != "cut" or "kept elsewhere" not in fault.message}
        believed = [one for one in ours if one.log.origin not in wrong]
        good += believed
        for line in (line for one in believed for line in (one.next, *one.before) if line):
            named = read_public_key(line)
            if named.name not in known:
                known[named.name] = named
                todo.append(named)
    if left:
        read_checkpoint(left[0], key)  # says why it is none of ours
    for one in (one for one in said if one.log.origin and one.key_name not in known):
        faults.append(Fault("forged", one.log.origin, f"nothing that {key.name} signed leads to its key"))
    faults += _disagreements(good, {one.log: one for one in summaries})
    return Report(tuple(summaries), tuple(faults))


def _held(notes: Sequence[str], key: PublicKey) -> tuple[list[str], list[Checkpoint]]:
    """Checkpoints of this key's logs, and the notes that are of other keys."""
    ours = [note for note in notes if key.owns(note.partition("\n")[0])]
    return [note for note in notes if note not in ours], [read_checkpoint(note, key) for note in ours]


def _disagreements(good: Sequence[_Said], logs: dict[str, Summary]) -> Iterator[Fault]:
    """Where the two ends of a link do not fit."""
    ends = {one.log.origin: one.next for one in good}
    keys = {one.key_name for one in good}
    for claim in (claim for one in good for claim in one.claims):
        found = logs.get(claim.log)
        if found is None:
            yield Fault("chain", claim.log, f"{claim.by} follows it, at {claim.size} entries; it is missing")
        elif (found.entries, found.root) != (claim.size, claim.root):
            yield Fault("chain", claim.log, f"{claim.by} follows it at {claim.size} entries; it has {found.entries}, or others")
        elif claim.kind == rotation.KIND and _name(ends.get(claim.log, "")) != claim.by.rpartition("/")[0]:
            yield Fault("chain", claim.log, f"{claim.by} says that it follows it; its own last entry does not say so")
    for one in good:
        if one.next and _name(one.next) not in keys:
            yield Fault("chain", one.log.origin, f"its last entry names the key {_name(one.next)}; no log of that key is here")


def _name(line: str) -> str:
    return line.partition("+")[0]


def _said(log: Log) -> _Said:
    """One look through a log for what it says of others."""
    found = _Said(log)
    leading = True
    last = b""
    try:
        for _, leaf in log.leaves():
            if leading:
                leading = _first(found, leaf)
            if _RETENTION in leaf and (facts := _entry(leaf, sealed.RETENTION)):
                found.erased.append(facts)
            last = leaf
    except LedgerError:
        return found  # `verify` says what is wrong with it
    if facts := _entry(last, rotation.KIND):
        found.next = _key(facts.get("next"))
    return found


def _first(found: _Said, leaf: bytes) -> bool:
    """Read an entry that stands before all others; false where it names no logs."""
    kind = next((kind for kind in (rotation.KIND, RESTORE) if _entry(leaf, kind)), "")
    facts = _entry(leaf, kind) if kind else {}
    key = _key(facts.get("from"))
    if not key or not isinstance(facts.get("logs"), list):
        return False
    found.before.append(key)
    for one in facts["logs"]:
        try:
            found.claims.append(Claim(found.log.origin, kind, key, str(one["log"]), int(one["size"]), str(one["root"])))
        except (KeyError, TypeError, ValueError):
            continue  # our own writer never wrote it, and what is claimed by nothing binds nothing
    return True


def _entry(leaf: bytes, kind: str) -> dict[str, Any]:
    """The facts of an entry of this kind; empty where it is none."""
    try:
        said = entries.read_leaf(leaf) if leaf else {}
    except ValueError:
        return {}
    return dict(said["facts"]) if said.get("kind") == kind else {}


def _key(line: object) -> str:
    """A line that is a public key, or nothing."""
    try:
        return str(read_public_key(str(line))) if line else ""
    except LedgerError:
        return ""
