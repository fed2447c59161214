"""What one entry says, and its bytes: RFC 8785 JSON that the tree hashes.

    v, log, index      the format's version, the log's origin, the place in the log from 0
    time               UTC to the microsecond, as the caller gave it
    clock_back_us      by how much the clock stands before the last entry's, where that is over a second; else 0
    kind               decision, approval, release, stop, policy, retention, roots, ...
    session, seq       the session and its sequence number from 1: an event that was dropped leaves a gap
    principal, surface, tool, decision, clauses, rules, policy, approval      who, what, the answer, and why
    contents           for each content its commitment: SHA-256 over 32 random bytes and the content
    facts              a small JSON value: whatever else belongs to this kind; amounts as strings

Contents may be short and guessable (an amount, a name), so a bare hash of one would say what it was after its deletion. The random
salt is stored with the content and erased with it; then the commitment says nothing. Hence never put a hash of content into `facts`.

The envelope has no floats, and ASCII keys: so `orjson` with sorted keys gives the bytes of RFC 8785 (a property test holds it to that).
"""

import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from bylaw.errors import LedgerError

VERSION: Final = 1
SALT_BYTES: Final = 32
SALTS: Final = 64  # made at once
SLACK_US: Final = 1_000_000  # entries of several threads may change places by so much
MAX_INT: Final = 2**53 - 1  # RFC 8785: what every reader can hold
MAX_TIME_US: Final = MAX_INT  # in the year 2255
MAX_LEAF_BYTES: Final = 65_536
MAX_CONTENT_BYTES: Final = 64 * 2**20  # all of one entry
MAX_CONTENTS: Final = 64
MAX_IDS: Final = 1_000
MAX_DEPTH: Final = 8
TEXTS: Final = {"kind": 40, "session": 200, "principal": 200, "surface": 40, "tool": 200, "decision": 40, "policy": 100, "approval": 100}
LISTS: Final = ("clauses", "rules")
GIVEN: Final = frozenset({*TEXTS, *LISTS, "time", "seq", "contents", "facts"})
KEYS: Final = GIVEN | {"v", "log", "index", "clock_back_us"}

_KIND: Final = re.compile(r"[a-z][a-z0-9_.-]*")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_COMMITMENT: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HINT: Final = "Nothing was recorded; the caller must not go on as if it were."


_TEXTS: Final = tuple(TEXTS.items())
_MANY: Final = (list, tuple)  # asked of every entry: `list | tuple` would be made anew each time
_PLAIN: Final = (str, bool, type(None))
_CONTENT: Final = (bytes, str)
_UNSAID: Final[dict[str, Any]] = dict.fromkeys(KEYS, "") | dict.fromkeys(LISTS, ()) | {"facts": {}, "v": VERSION}
_EMPTY: Final = dict(sorted(_UNSAID.items()))  # with every key of a leaf, and in their order there


def checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's part of a leaf, complete and sound but for time, seq and contents; raises LedgerError on anything a leaf cannot say."""
    if not GIVEN.issuperset(entry):
        raise LedgerError(f"an entry has no {sorted(map(str, entry.keys() - GIVEN))[0]!r}", f"An entry has: {', '.join(sorted(GIVEN))}.")
    said = _EMPTY.copy()
    said.update(entry)
    for key, longest in _TEXTS:
        value = said[key]
        if not isinstance(value, str) or len(value) > longest:
            raise LedgerError(f"an entry's {key} must be text of at most {longest} characters", _HINT)
    if not _is_kind(said["kind"]):
        raise LedgerError("an entry needs a kind in small letters, such as `decision`", _HINT)
    for key in LISTS:
        ids = said[key]
        if not isinstance(ids, _MANY) or len(ids) > MAX_IDS:
            raise LedgerError(f"an entry's {key} must be a list of at most {MAX_IDS} ids", _HINT)
        for one in ids:
            if not isinstance(one, str):
                raise LedgerError(f"an entry's {key} must be a list of at most {MAX_IDS} ids", _HINT)
    if facts := said["facts"]:
        if not isinstance(facts, Mapping):
            raise LedgerError("an entry's facts must be a map", _HINT)
        said["facts"] = dict(facts)
        _check_json(said["facts"], MAX_DEPTH)
    else:
        said["facts"] = {}
    return said


@lru_cache(maxsize=64)
def _is_kind(text: str) -> bool:
    return _KIND.fullmatch(text) is not None


@lru_cache(maxsize=1_024)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _check_json(value: Any, depth: int) -> None:
    """Strings, whole numbers, booleans, null, lists and maps; nothing that two JSON writers could print in two ways."""
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INT:
            raise LedgerError("a fact holds a number too large for JSON", "Write it as a string.")
        return
    if depth == 0:
        raise LedgerError(f"facts are nested deeper than {MAX_DEPTH}", _HINT)
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise LedgerError("the keys of facts must be ASCII text", _HINT)
            if not isinstance(one, _PLAIN):
                _check_json(one, depth - 1)
    elif isinstance(value, _MANY):
        for one in value:
            if not isinstance(one, _PLAIN):
                _check_json(one, depth - 1)
    else:
        raise LedgerError(f"a fact is a {type(value).__name__}", "Facts are text, whole numbers, lists and maps; amounts are text.")


def check_time(time_us: Any) -> int:
    """Microseconds since 1970; raises LedgerError where no calendar has them. A time before the last one is no error."""
    if not isinstance(time_us, int) or isinstance(time_us, bool) or not 0 <= time_us <= MAX_TIME_US:
        raise LedgerError("an entry's time must be whole microseconds since 1970, before the year 2255", _HINT)
    return time_us


def check_contents(contents: Any) -> dict[str, bytes]:
    """Contents by name, as bytes. Text may hold anything a client sent, lone surrogates too."""
    if not isinstance(contents, Mapping) or len(contents) > MAX_CONTENTS:
        raise LedgerError(f"contents must be a map of at most {MAX_CONTENTS} texts", _HINT)
    found, size = {}, 0
    for name, content in contents.items():
        if not isinstance(name, str) or not _is_name(name) or not isinstance(content, _CONTENT):
            raise LedgerError("a content needs a plain name, and is text or bytes", _HINT)
        found[name] = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        size += len(found[name])
    if size > MAX_CONTENT_BYTES:
        raise LedgerError(f"an entry's contents are larger than {MAX_CONTENT_BYTES} bytes", _HINT)
    return found


class Salts:
    """Random bytes for contents, asked of the system for many at once: each question hands the interpreter to another thread and back."""

    def __init__(self) -> None:
        self._ready: deque[bytes] = deque()

    def next(self) -> bytes:
        """A salt that nobody has had; safe from many threads."""
        try:
            return self._ready.popleft()
        except IndexError:
            fresh = os.urandom(SALTS * SALT_BYTES)
            first, *others = (fresh[at : at + SALT_BYTES] for at in range(0, len(fresh), SALT_BYTES))
            self._ready.extend(others)
            return first


def commitment(salt: bytes, content: bytes) -> str:
    """What a leaf says of a content: SHA-256 over the salt and the content."""
    return "sha256:" + hashlib.sha256(salt + content).hexdigest()


def now_us() -> int:
    """The clock of a machine: microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


def timestamp(time_us: int) -> str:
    """Microseconds since 1970 as `2026-11-21T16:19:17.000123Z`."""
    return f"{_second(time_us // 1_000_000)}.{time_us % 1_000_000:06d}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def microseconds(stamp: str) -> int:
    """The inverse of `timestamp`; raises ValueError."""
    if not _TIME.fullmatch(stamp):
        raise ValueError("not a time in UTC")
    return int(datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()) * 1_000_000 + int(stamp[20:26])


def encoded(value: Mapping[str, Any]) -> bytes:
    """The RFC 8785 bytes of a checked value; raises LedgerError where it holds what no UTF-8 can say, or is too large."""
    try:
        leaf = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:  # a lone surrogate in a name
        raise LedgerError(f"an entry cannot be written as JSON: {error}", _HINT) from error
    if len(leaf) > MAX_LEAF_BYTES:
        raise LedgerError(f"an entry is larger than {MAX_LEAF_BYTES} bytes", "Put what is large into `contents`.")
    return leaf


def read_leaf(leaf: bytes) -> dict[str, Any]:
    """A leaf taken apart; raises ValueError, with the reason, on bytes that `encoded` would not have written."""
    try:
        value = orjson.loads(leaf)
    except orjson.JSONDecodeError as error:
        raise ValueError("not JSON") from error
    if not isinstance(value, dict) or value.keys() != KEYS or value["v"] != VERSION:
        raise ValueError("not an entry of this format")
    try:
        canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # nested too deeply
        raise ValueError("not in the canonical form") from error
    if canonical != leaf:
        raise ValueError("not in the canonical form")
    counts = (value["v"], value["index"], value["seq"], value["clock_back_us"])
    if not all(type(one) is int and 0 <= one <= MAX_INT for one in counts) or value["seq"] == 0:
        raise ValueError("a count is no whole number")
    if not all(isinstance(value[key], str) for key in (*TEXTS, "log", "time")) or not all(isinstance(value[key], list) for key in LISTS):
        raise ValueError("a text or a list is missing")
    contents = value["contents"]
    if not isinstance(contents, dict) or not isinstance(value["facts"], dict):
        raise ValueError("its contents or facts are no map")
    try:
        _check_json(value["facts"], MAX_DEPTH)
    except LedgerError as error:
        raise ValueError(error.what) from error
    if not all(isinstance(one, str) and _COMMITMENT.fullmatch(one) for one in contents.values()):
        raise ValueError("a content's commitment is no SHA-256")
    microseconds(value["time"])
    return value
