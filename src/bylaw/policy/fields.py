"""Typed reading of one YAML map: each key by its kind, unknown keys refused with a suggestion.

Keys that start with `x-` are a policy's own, but for those that something here reads: one that is nearly such a key, or stands where
nobody reads it, is refused, since what it was to say would silently not hold.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar, get_args

from bylaw.policy.notation import Node, is_day, plain, wrong
from bylaw.types import Place

_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])")
SHOWN_CHARS: Final = 60
MAX_DURATION_S: Final = 366 * 86400
SHORT_CHARS: Final = 7  # `x-` and five letters: of a word so short one edit is near, of a longer one two

# The `x-` keys that a gateway reads, by where. Each is read by name in `govern` or `serve`; a test holds this list to the sources.
RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "policy.yaml": ("x-appeal", "x-hosted", "x-media", "x-notice", "x-stored"),
    "a clause": ("x-disagreement", "x-safe-completion"),
    "a tool's schema": ("x-trusted",),
}

C = TypeVar("C")


class Fields:
    """One map of a policy file, read key by key; `done` refuses what nobody read."""

    def __init__(self, node: Node, what: str, example: str, keys: str = "") -> None:
        """`keys`, where given, are all there are: another is refused at once, before one that it was meant for is missed."""
        if not isinstance(node.value, dict):
            raise wrong(node.place, f"{what} must be a map of `key: value` lines", f"Write for example `{example}`.")
        self.what = what
        self.place = node.place
        self.nodes: dict[str, Node] = node.value
        self.read: dict[str, None] = {}
        if keys:
            self._refuse_others([key for key in self.nodes if not key.startswith("x-")], keys.split())

    def node(self, key: str) -> Node | None:
        """The node under a key, marked as read; a key without a value counts as absent."""
        self.read[key] = None
        node = self.nodes.get(key)
        return None if node is None or node.value is None else node

    def need(self, key: str, hint: str) -> Node:
        """The node under a key that must be there."""
        node = self.node(key)
        if node is None:
            at = self.nodes[key].place if key in self.nodes else self.place
            raise wrong(at, f"{self.what} has no {key}", hint)
        return node

    def text(self, key: str, default: str = "") -> str:
        """Text under a key."""
        node = self.node(key)
        return default if node is None else as_text(node, key)

    def choice(self, key: str, kind: Any, default: C) -> C:
        """One of the words of a Literal."""
        node = self.node(key)
        return default if node is None else as_choice(node, key, kind)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts, or a single text."""
        node = self.node(key)
        return () if node is None else tuple(as_text(item, key) for item in as_list(node))

    def whole(self, key: str, low: int, high: int) -> int | None:
        """A whole number within bounds."""
        node = self.node(key)
        if node is None:
            return None
        if type(node.value) is not int or not low <= node.value <= high:
            raise wrong(node.place, f"{key} must be a whole number from {low} to {high}", f"Write for example `{key}: {max(low, 1)}`.")
        return node.value

    def share(self, key: str) -> float | None:
        """A share from 0 to 1."""
        node = self.node(key)
        if node is None:
            return None
        if type(node.value) not in (int, float) or not 0 <= node.value <= 1:
            raise wrong(node.place, f"{key} must be a share from 0 to 1", f"Write for example `{key}: 0.99`.")
        return float(node.value)

    def day(self, key: str) -> str:
        """An ISO date, as text."""
        node = self.node(key)
        if node is None:
            return ""
        text = as_text(node, key)
        if not is_day(text):
            raise wrong(node.place, f"{key} must be a date, not {shown(node)!r}", f"Write `{key}: 2026-12-01`.")
        return text

    def seconds(self, key: str) -> int | None:
        """A duration such as `30m`, in seconds."""
        node = self.node(key)
        if node is None:
            return None
        match = _DURATION.fullmatch(node.value) if isinstance(node.value, str) else None
        found = int(match[1]) * _UNIT_S[match[2]] if match else 0
        if not 0 < found <= MAX_DURATION_S:
            raise wrong(node.place, f"{key} must be a duration of at most 366d", f"Write `{key}: 30m`; units are s, m, h, d.")
        return found

    def extra(self, where: str = "") -> Mapping[str, Any]:
        """The x-* keys, as plain values; `where` says which of the reserved ones are read here."""
        found = {key: plain(node) for key, node in self.nodes.items() if key.startswith("x-")}
        if odd := next((key for key in found if not (key.isascii() and key.isprintable())), None):
            raise wrong(self.nodes[odd].place, f"a key {ascii(odd)[:SHOWN_CHARS]} that may be shown as another", "Write it in ASCII.")
        for key in found if where else ():
            refuse_near(key, where, self.what, self.nodes[key].place)
        self.read.update(dict.fromkeys(found))
        return found

    def done(self) -> None:
        """Refuse keys that nobody read."""
        self._refuse_others(self.nodes, list(self.read))

    def _refuse_others(self, given: Iterable[str], known: Sequence[str]) -> None:
        for key in given:
            if key not in known:
                near = get_close_matches(key[:SHOWN_CHARS], known, n=1)
                hint = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(known)}; your own keys start with `x-`."
                raise wrong(self.nodes[key].place, f"{self.what} has an unknown key {key[:SHOWN_CHARS]!r}", hint)


def refuse_near(key: str, where: str, what: str, place: Place) -> None:
    """Refuse an `x-` key that is nearly one that is read, or is one that is read somewhere else."""
    if key in RESERVED[where]:
        return
    for other, names in RESERVED.items():
        if key in names:
            raise wrong(place, f"{what} has the key `{key}`, which is read in {other} alone", f"Move it into {other}, or remove it.")
    near = next((name for names in RESERVED.values() for name in names if _near(key.lower(), name)), "")
    if near:
        hint = f"Did you mean `{near}`? A key of your own needs a name that is less like it."
        raise wrong(place, f"{what} has the key `{key[:SHOWN_CHARS]}`, which nobody reads", hint)


def _near(key: str, name: str) -> bool:
    """Whether so few letters are wrong, missing, too many or exchanged with the next that a slip is likelier than another word."""
    most = 1 if len(name) <= SHORT_CHARS else 2
    if abs(len(key) - len(name)) > most:
        return False
    above: list[int] = []
    row = list(range(len(name) + 1))
    for i, letter in enumerate(key, 1):
        last, row, older = row, [i], above
        for j, other in enumerate(name, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == name[j - 2] and key[i - 2] == other:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        above = last
    return row[-1] <= most


def as_text(node: Node, what: str) -> str:
    """The node's text."""
    if not isinstance(node.value, str):
        raise wrong(node.place, f"{what} must be text", "Put the value in quotes.")
    return node.value.strip()


def as_list(node: Node) -> list[Node]:
    """The node's items; a single value counts as a list of one."""
    return node.value if isinstance(node.value, list) else [node]


def as_choice(node: Node, what: str, kind: Any) -> Any:
    """The node's word, which must be one of a Literal's."""
    words = get_args(kind)
    if node.value not in words:
        near = get_close_matches(shown(node), words, n=1) if isinstance(node.value, str) else []
        hint = f"Did you mean `{near[0]}`?" if near else f"Use one of: {', '.join(words)}."
        raise wrong(node.place, f"{what} cannot be {shown(node)!r}", hint)
    return node.value


def shown(node: Node) -> str:
    """A node's value as an error message may quote it."""
    return str(plain(node))[:SHOWN_CHARS]


def duration(seconds: int) -> str:
    """Seconds as the shortest duration text: 1800 is `30m`."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _UNIT_S[unit] == 0)
    return f"{seconds // _UNIT_S[unit]}{unit}"


def where(node: Node | None, otherwise: Place) -> Place:
    """The place of a node that may be absent."""
    return node.place if node else otherwise
