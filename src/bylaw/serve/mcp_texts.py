"""Every text in an MCP message: gathered, so that it is judged as one, and each finding cut out where it stands.

A result is content, structured content, messages, descriptions: any string in it may be read by a model. So all strings are judged
together, names of fields too, in the order in which they stand; only what is no text (base64 of images, sound and blobs, where the
protocol has them) is left out. All that is called an image, a sound or a blob is named as media that no rail can look into.

Several texts of one list (`content`, `contents`, `messages`) are read one after the other, so that they are judged in one piece, too: with
nothing between them, and with a blank where words meet.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple

from bylaw.govern.streaming import Group, groups, redacted, words_meet
from bylaw.serve.wire import MAX_TEXTS, JsonMap, Path, get, put
from bylaw.types import Hit

BETWEEN: Final = "\n"
MEDIA: Final = frozenset({"image", "audio"})  # kinds of content whose `data` no rail can read
LISTS: Final = frozenset({"content", "contents", "messages"})  # whose texts a client puts one after the other
FREE: Final = frozenset({"structuredContent", "_meta", "arguments", "annotations"})  # below these the protocol gives nothing a meaning
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\r\n]*+=*+[\r\n]*+")
_WORDS: Final = (
    "2.0 text image audio resource resource_link complete input_required user assistant object string number integer boolean array "
    "application/json text/plain"
)
_PLAIN: Final = (
    "_meta annotations arguments audience blob completion contents content contextArguments cursor data description destructiveHint "
    "elicitation hasMore icons idempotentHint id inputSchema instructions isError lastModified level logger message messages mimeType "
    "name nextCursor openWorldHint outputSchema priority progress progressToken prompts properties readOnlyHint required resource "
    "resources resourceTemplates result resultType role size src structuredContent text theme title tools total type uri uriTemplate "
    "values ttlMs cacheScope requestState inputRequests method params mode requestedSchema serverInfo version capabilities "
    "protocolVersion supportedVersions"
)
WORDS: Final = frozenset(_WORDS.split())  # values that the protocol itself gives, which say nothing
PLAIN: Final = frozenset(_PLAIN.split())  # names of fields that the protocol itself gives; any other name is a text


class Piece(NamedTuple):
    """One text, and where it stands; without a path nothing can be cut out of it."""

    path: Path
    text: str


class Uncut(Exception):  # noqa: N818  # its caller withholds the whole
    """Something was found where nothing can be cut out."""


class TooMany(Exception):  # noqa: N818  # the same
    """More texts than are looked through."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All texts of one message, or those of one list in it."""

    pieces: tuple[Piece, ...]
    media: tuple[str, ...]  # kinds of what no rail can read
    gaps: tuple[str, ...] | None = None  # what stands between one text and the next; None: BETWEEN, everywhere

    @property
    def whole(self) -> str:
        """The text that is judged."""
        if self.gaps is None:
            return BETWEEN.join(piece.text for piece in self.pieces)
        return "".join(piece.text + gap for piece, gap in zip(self.pieces, (*self.gaps, ""), strict=True))


def gathered(body: JsonMap) -> Gathered:
    """The texts of a message; raises TooMany."""
    pieces: list[Piece] = []
    media: list[str] = []
    for piece in _texts(body, (), media):
        if len(pieces) >= MAX_TEXTS:
            raise TooMany
        pieces.append(piece)
    return Gathered(tuple(pieces), tuple(media))


def in_one(body: JsonMap, found: Gathered) -> Iterator[Gathered]:
    """The texts of each list that has several, as one piece, as they stand in the body by then: its reader may cut them meanwhile."""
    lists: dict[Path, list[Path]] = {}
    for piece in found.pieces if len(found.pieces) > 1 else ():
        if listed := _list_of(piece.path):
            lists.setdefault(listed, []).append(piece.path)
    for paths in lists.values():
        for blanks in (False, True):
            texts = [get(body, path) for path in paths]
            gaps = tuple(" " if blanks and words_meet(*two) else "" for two in pairwise(texts))
            if gaps and any(gaps) == blanks:
                yield Gathered(tuple(map(Piece, paths, texts)), (), gaps)


def cut(body: JsonMap, found: Gathered, hits: Sequence[Hit]) -> None:
    """Cut every hit out of the texts it touches; raises Uncut."""
    standing = groups(hits)  # in order, and none over another: each text has its own run of them
    at = first = 0
    for piece, gap in zip(found.pieces, (*(found.gaps or (BETWEEN,) * (len(found.pieces) - 1)), "")):  # noqa: B905  # of no texts there is no gap
        end = at + len(piece.text)
        while first < len(standing) and standing[first].end <= at:
            first += 1
        last = first
        while last < len(standing) and standing[last].start < end:
            last += 1
        if first < last:
            if not piece.path:
                raise Uncut
            put(body, piece.path, redacted(piece.text, [_within(group, at, end) for group in standing[first:last]]))
        at = end + len(gap)


def _within(group: Group, start: int, end: int) -> Hit:
    return replace(group.hits[0], start=max(group.start, start) - start, end=min(group.end, end) - start)


def _list_of(path: Path) -> Path:
    """The list whose texts are read one after the other, of which this is one; empty where it is none."""
    if not path or not (path[-1] in ("text", "content") or isinstance(path[-1], int)) or not FREE.isdisjoint(path):
        return ()
    return next((path[: at + 1] for at, (step, then) in enumerate(pairwise(path)) if step in LISTS and isinstance(then, int)), ())


def _texts(value: Any, path: Path, media: list[str]) -> Iterator[Piece]:
    if isinstance(value, str):
        if value:
            yield Piece(path, value)
    elif isinstance(value, Mapping):
        kind = value.get("type")
        binary = "data" if isinstance(kind, str) and kind in MEDIA else "blob"
        if isinstance(value.get(binary), str):
            media.append(str(kind) if binary == "data" else "blob")
        for name, item in value.items():
            if name not in PLAIN:
                yield Piece((), name)
            if isinstance(item, str) and ((item in WORDS and name != "text") or (name == binary and _no_text(name, item, path))):
                continue
            yield from _texts(item, (*path, name), media)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index), media)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Piece((), str(value))


def _no_text(name: str, item: str, path: Path) -> bool:
    """Whether this is base64 at a place where the protocol has it: whoever reads the message does not read it as text."""
    last, before = (None, None, *path)[-1], (None, None, *path)[-2]
    listed = before if isinstance(last, int) else None
    placed = "content" in (last, listed) if name == "data" else last == "resource" or listed == "contents"
    return placed and FREE.isdisjoint(path) and _BASE64.fullmatch(item) is not None
