#!/usr/bin/env python3
"""Verify exported ledgers and proofs without bylaw: one file; besides Python 3.11 it needs `cryptography` alone.

    python verify.py --key KEY [--checkpoint FILE]... PATH...

KEY is a public key (NAME+ID+BASE64) or a file that holds one. Take it from where you trust it, not from the folder you verify.
PATH is an exported `.jsonl`, a folder of them, or a proof of one entry (c2sp.org/tlog-proof). `--checkpoint` names a signed checkpoint
that you kept from earlier: a log that was cut back or rewritten since does not fit it. Exit 0: all holds; 1: something does not;
2: cannot be read.

It shares no code with the writer. Formats: RFC 8785 (JSON), RFC 6962 (tree), c2sp.org/signed-note and tlog-checkpoint (signatures).
"""

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "bylaw-ledger-export-1"
HEADER = {"checkpoints", "contents", "format", "leaves", "log"}
TEXTS = {"approval", "decision", "kind", "log", "policy", "principal", "session", "surface", "time", "tool"}
LEAF = TEXTS | {"clauses", "clock_back_us", "contents", "facts", "index", "rules", "seq", "v"}
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
MOST = 2**53 - 1
MOST_BYTES = 64 << 20  # of a pipe or a device: what is cut there holds nowhere
Key = tuple[str, bytes]  # name, 32 bytes


class Wrong(Exception):  # noqa: N818  # what does not hold, in one line
    """What does not hold."""


# ---- JSON, base64, times: one way to write each ------------------------------------------------------------------------


def strict(line: bytes, keys: Collection[str]) -> dict[str, Any]:
    """A map from its canonical JSON."""
    try:
        value = json.loads(line.decode("utf-8"), parse_float=refuse, parse_constant=refuse)
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Wrong("not canonical JSON") from error
    if again != line or not isinstance(value, dict) or set(value) != set(keys):
        raise Wrong("not a line of this format")
    return value


def refuse(text: str) -> None:
    """There are no floats in a ledger."""
    raise ValueError(text)


def plain(value: Any, depth: int) -> bool:
    """Whether a fact is text, a whole number, a boolean, null, or a list or map of such."""
    if isinstance(value, dict):
        return depth > 0 and all(key.isascii() and plain(one, depth - 1) for key, one in value.items())
    if isinstance(value, list):
        return depth > 0 and all(plain(one, depth - 1) for one in value)
    return isinstance(value, str | bool | None) or whole(value)


def whole(value: Any) -> bool:
    """Whether this is a whole number that every JSON reader can hold."""
    return type(value) is int and abs(value) <= MOST


def unbase64(text: str) -> bytes:
    """Bytes from canonical base64."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise Wrong("not canonical base64")
    return raw


def moment(stamp: Any) -> tuple[float, str]:
    """A time as one number that can be compared."""
    if not isinstance(stamp, str) or not TIME.fullmatch(stamp):
        raise Wrong("not a time")
    try:
        return datetime.fromisoformat(stamp[:-1] + "+00:00").timestamp(), stamp
    except ValueError as error:
        raise Wrong("not a time") from error


def read_key(text: str) -> Key:
    """(name, 32 bytes) of a public key."""
    parts = text.strip().split("+", 2)
    raw = unbase64(parts[2]) if len(parts) == 3 else b""
    if len(raw) != 33 or raw[0] != 1 or key_id(parts[0], raw[1:]).hex() != parts[1]:
        raise Wrong("not a public key")
    return parts[0], raw[1:]


def key_id(name: str, raw: bytes) -> bytes:
    """Four bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n\x01" + raw).digest()[:4]


def read_checkpoint(note: str, key: Key) -> tuple[str, int, bytes]:
    """(origin, size, root) of a checkpoint that this key signed under the origin's name."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not note.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise Wrong("not a signed note")
    origin, *rest = text.split("\n")
    if origin != key[0] and not origin.startswith(key[0] + "/"):
        raise Wrong(f"no checkpoint of a log of {key[0]}")
    found = False
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise Wrong("not a signature line")
        signed = unbase64(parts[2])
        if parts[1] == origin and signed[:4] == key_id(origin, key[1]):
            try:
                Ed25519PublicKey.from_public_bytes(key[1]).verify(signed[4:], (text + "\n").encode())
            except InvalidSignature as error:
                raise Wrong(f"a forged signature of {origin}") from error
            found = True
    if not found:
        raise Wrong(f"no signature of {origin}")
    if len(rest) != 2 or not re.fullmatch(r"0|[1-9][0-9]{0,15}", rest[0]) or len(unbase64(rest[1])) != 32:
        raise Wrong("not a checkpoint")
    return origin, int(rest[0]), unbase64(rest[1])


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962, 2.1."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, 2.1."""
    return hashlib.sha256(b"\1" + left + right).digest()


def grow(peaks: list[tuple[int, bytes]], hashed: bytes) -> None:
    """Add a leaf hash to a list of (height, hash) of perfect subtrees."""
    height = 0
    while peaks and peaks[-1][0] == height:
        hashed, height = node_hash(peaks.pop()[1], hashed), height + 1
    peaks.append((height, hashed))


def root(peaks: list[tuple[int, bytes]]) -> bytes:
    """The root over perfect subtrees."""
    if not peaks:
        return hashlib.sha256(b"").digest()
    found = peaks[-1][1]
    for _, peak in peaks[-2::-1]:
        found = node_hash(peak, found)
    return found


def root_from_path(index: int, size: int, hashed: bytes, path: list[bytes]) -> bytes | None:
    """The root to which an audit path leads, or None (RFC 6962, 2.1.1, read from the top)."""
    if size == 1:
        return None if path or index else hashed
    if not path or not 0 <= index < size:
        return None
    half = 1 << ((size - 1).bit_length() - 1)
    if index < half:
        below = root_from_path(index, half, hashed, path[:-1])
        return below and node_hash(below, path[-1])
    below = root_from_path(index - half, size - half, hashed, path[:-1])
    return below and node_hash(path[-1], below)


class Log:
    """An exported file, taken apart; `wrong` collects what does not hold."""

    def __init__(self, path: Path, key: Key) -> None:
        self.wrong: list[str] = []
        self.hashes: list[bytes] = []
        self.seqs: dict[str, int] = {}  # the last number of each session
        self.claims: list[tuple[int, bytes, str]] = []  # size, root, who signed it
        self.joined: list[dict[str, Any]] = []  # what a log of roots says of others
        self.missing: list[tuple[int, str, tuple[float, str], str]] = []  # contents that are gone: entry, name, time, session
        lines = content(path).split(b"\n")
        if lines.pop() != b"":
            raise Wrong("the last line does not end")
        header = strict(lines[0], HEADER) if lines else {}
        leaves, notes = header.get("leaves", -1), header.get("checkpoints", -1)
        if header.get("format") != FORMAT or type(header["contents"]) is not bool or not isinstance(header["log"], str):
            raise Wrong("not an export of this version")
        if not whole(leaves) or not whole(notes) or min(leaves, notes) < 0 or len(lines) < 1 + leaves + notes:
            raise Wrong("not a whole export")
        self.name, self.size = header["log"], leaves
        if not self.name.startswith(key[0] + "/"):
            self.wrong.append("it is no log of this key")
        contents = self.read_contents(lines[1 + leaves + notes :])
        if contents and not header["contents"]:
            self.wrong.append("it says that it has no contents, and has some")
        self.read_leaves(lines[1 : 1 + leaves], contents if header["contents"] else None)
        self.read_notes(lines[1 + leaves : 1 + leaves + notes], key)

    def read_contents(self, lines: list[bytes]) -> dict[tuple[int, str], str]:
        """(entry, name) -> commitment."""
        found: dict[tuple[int, str], str] = {}
        last = (-1, "")
        for line in lines:
            one = strict(line, {"at", "content", "name", "salt"})
            texts = all(isinstance(one[key], str) for key in ("content", "name", "salt"))
            if not texts or not whole(one["at"]) or (one["at"], one["name"]) <= last:
                raise Wrong("not a content in its place")
            last = one["at"], one["name"]
            hashed = hashlib.sha256(unbase64(one["salt"]) + unbase64(one["content"])).hexdigest()
            found[last] = f"sha256:{hashed}"
        return found

    def read_leaves(self, lines: list[bytes], contents: dict[tuple[int, str], str] | None) -> None:
        """Every entry: its form, its place, its session, its contents."""
        for at, line in enumerate(lines):
            self.hashes.append(leaf_hash(line))
            try:
                self.read_leaf(at, strict(line, LEAF), contents)
            except Wrong as error:
                self.wrong.append(f"entry {at} is {error}")
        if contents:
            self.wrong.append(f"{len(contents)} contents that no entry commits to")
        self.wrong.extend(f"the content {name} of entry {at} is gone, and no retention entry says why" for at, name, _, _ in self.missing)

    def read_leaf(self, at: int, said: dict[str, Any], contents: dict[tuple[int, str], str] | None) -> None:
        """One entry."""
        good = all(isinstance(said[key], str) for key in TEXTS) and all(isinstance(said[key], list) for key in ("clauses", "rules"))
        counts = [said[key] for key in ("v", "index", "seq", "clock_back_us")]
        maps = isinstance(said["contents"], dict) and isinstance(said["facts"], dict)
        if not good or not maps or not all(whole(one) and one >= 0 for one in counts) or said["v"] != 1 or said["seq"] == 0:
            raise Wrong("not an entry of this format")
        if not plain(said["facts"], 8) or not all(re.fullmatch("sha256:[0-9a-f]{64}", str(one)) for one in said["contents"].values()):
            raise Wrong("not an entry of this format")
        when = moment(said["time"])
        if said["index"] != at or said["log"] != self.name:
            self.wrong.append(f"at the place of entry {at} stands entry {said['index']} of {said['log']}")
        session, last = said["session"], self.seqs.get(said["session"], 0)
        if said["seq"] != last + 1:
            self.wrong.append(f"session {session!r}: entry {at} is number {said['seq']}, after number {last}")
        self.seqs[session] = max(last, said["seq"])
        if said["kind"] == "roots":
            self.joined.append(said["facts"])
        if contents is not None:
            self.read_commitments(at, said, contents, when)

    def read_commitments(self, at: int, said: dict[str, Any], contents: dict[tuple[int, str], str], when: tuple[float, str]) -> None:
        """An entry's contents, and what a retention entry explains."""
        for name, wanted in said["contents"].items():
            found = contents.pop((at, name), None)
            if found is None:
                self.missing.append((at, name, when, said["session"]))
            elif found != wanted:
                self.wrong.append(f"the content {name} of entry {at} is not what the entry commits to")
        if said["kind"] == "retention":
            try:
                before = moment(said["facts"].get("before"))
            except Wrong:
                return
            whose = said["facts"].get("session")
            self.missing = [one for one in self.missing if one[2] >= before or whose not in {"", one[3]}]

    def read_notes(self, lines: list[bytes], key: Key) -> None:
        """Every checkpoint, and that the last covers every entry."""
        newest = 0
        for line in lines:
            try:
                note = strict(line, {"note"})["note"]
                origin, size, signed = read_checkpoint(note if isinstance(note, str) else "", key)
            except Wrong as error:
                self.wrong.append(f"a checkpoint does not hold: {error}")
                continue
            if size <= newest:
                self.wrong.append(f"the checkpoint of {size} entries stands after that of {newest}")
            newest = max(newest, size)
            self.claim(origin, size, signed, "its own checkpoint")
        if newest < self.size:
            self.wrong.append(f"entries {newest} to {self.size - 1} are under no signature")

    def claim(self, origin: str, size: int, signed: bytes, who: str) -> None:
        """Somebody signed that this log has this root at this size."""
        if origin != self.name:
            self.wrong.append(f"{who} is of another log, {origin}")
        else:
            self.claims.append((size, signed, who))

    def settle(self) -> bytes:
        """Hold the log to every claim, in one pass over the tree; returns the root over all entries."""
        peaks: list[tuple[int, bytes]] = []
        done = 0
        for size, signed, who in sorted(self.claims):
            for hashed in self.hashes[done:size]:
                grow(peaks, hashed)
            done = min(size, self.size)
            if size > self.size:
                self.wrong.append(f"it was cut: {self.size} entries are there, {who} has {size}")
            elif root(peaks) != signed:
                self.wrong.append(f"the first {size} entries are not those that {who} signs")
        for hashed in self.hashes[done:]:
            grow(peaks, hashed)
        return root(peaks)


def check_logs(paths: list[Path], key: Key, held: list[tuple[str, int, bytes]]) -> tuple[list[str], list[str]]:
    """(what holds, what does not), each a list of lines."""
    logs: dict[str, Log] = {}
    good, wrong = [], []
    for path in paths:
        try:
            log = Log(path, key)
            if log.name in logs:
                wrong.append(f"{path}: the log {log.name} a second time")
            logs[log.name] = log
        except (Wrong, UnicodeDecodeError) as error:
            wrong.append(f"{path}: {error}")
    claims = [(*one, "a checkpoint kept elsewhere") for one in held]
    for facts in [facts for log in list(logs.values()) if log.name == f"{key[0]}/roots" for facts in log.joined]:
        try:
            claims.extend((str(one["log"]), int(one["size"]), bytes.fromhex(one["root"]), "the log of roots") for one in facts["logs"])
        except (KeyError, TypeError, ValueError):
            wrong.append("an entry of the log of roots cannot be read")
    for origin, size, signed, who in claims:
        if origin in logs:
            logs[origin].claim(origin, size, signed, who)
        elif size:
            wrong.append(f"{origin}: {who} names it with {size} entries; it is missing")
    for log in logs.values():
        top = log.settle()
        wrong.extend(f"{log.name}: {one}" for one in log.wrong)
        good.append(f"{log.name}: {log.size} entries, {len(log.seqs)} sessions, root {top.hex()}")
    return good, wrong


def check_proof(text: str, key: Key) -> str:
    """One line on what a tlog-proof shows; raises Wrong."""
    body, _, note = text.partition("\n\n")
    first, *lines = body.split("\n")
    extra, index, path = lines[:1], lines[1:2], [unbase64(line) for line in lines[2:]]
    if first != "c2sp.org/tlog-proof@v1" or not extra or not extra[0].startswith("extra ") or not index:
        raise Wrong("not a proof of a bylaw ledger")
    if not re.fullmatch(r"index (0|[1-9][0-9]{0,15})", index[0]) or len(path) > 64:
        raise Wrong("not a proof of a bylaw ledger")
    leaf, at = unbase64(extra[0][6:]), int(index[0][6:])
    origin, size, signed = read_checkpoint(note, key)
    said = strict(leaf, LEAF)
    if at >= size or root_from_path(at, size, leaf_hash(leaf), path) != signed or said["index"] != at or said["log"] != origin:
        raise Wrong("the proof does not lead to the signed root")
    return f"{origin}: entry {at} of {size} is signed: {leaf.decode()}"


def files(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """The exports and proofs among these paths and in these folders."""
    found = [one for path in paths for one in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    return [path for path in found if path.suffix == ".jsonl"], [path for path in found if path.suffix != ".jsonl"]


def content(path: Path) -> bytes:
    """The bytes of a file; of anything else as many as may be read, for a device may give them without an end."""
    with path.open("rb") as file:
        return file.read() if path.is_file() else file.read(MOST_BYTES)


def main(arguments: list[str]) -> int:
    """Verify and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--key", required=True, help="a public key, or a file that holds one")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, help="a signed checkpoint that you kept")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    asked = parser.parse_args(arguments)
    try:
        key = read_key(Path(asked.key).read_text("ascii") if Path(asked.key).is_file() else asked.key)
        held = [read_checkpoint(content(path).decode("utf-8"), key) for path in asked.checkpoint]
        logs, proofs = files(asked.paths)
        if not logs and not proofs:
            raise Wrong("nothing to verify there")
        good, wrong = check_logs(logs, key, held)
        for path in proofs:
            try:
                good.append(check_proof(content(path).decode("utf-8"), key))
            except (Wrong, UnicodeDecodeError) as error:
                wrong.append(f"{path}: {error}")
    except (Wrong, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for line in [*good, *(f"WRONG {one}" for one in wrong), "something does not hold" if wrong else "all holds"]:
        sys.stdout.write(line.encode("unicode_escape").decode("ascii") + "\n")  # no entry can steer a terminal
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
