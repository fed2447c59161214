"""Events of a stream that differ in one text only: what stands around it is read once, and then only the text.

A frame is proven before it is used: with a text in the place of this one that stands nowhere else, the event reads as the same with that
text. JSON is read from left to right, so that this holds for every text that is a JSON string by itself. What does not fit a frame is read
as a whole.
"""

from typing import Any, NamedTuple

import orjson

from bylaw.serve.wire import BadBody, JsonMap, dump, load


class Frame(NamedTuple):
    """What stands before and after a text."""

    before: bytes
    after: bytes

    def text(self, content: bytes) -> str | None:
        """The text in an event that this frame fits; else None."""
        before, after = self
        if not (content.startswith(before) and content.endswith(after)):
            return None
        try:
            text = orjson.loads(content[len(before) : len(content) - len(after)])
        except orjson.JSONDecodeError:
            return None
        return text if isinstance(text, str) else None

    def around(self, text: str) -> bytes:
        """The same with this text."""
        return self.before + dump(text) + self.after


def made(event: bytes, text: str) -> Frame | None:
    """The frame of an event in which this text stands, as we would write it, exactly once."""
    before, found, after = event.partition(dump(text))
    return Frame(before, after) if found and dump(text) not in after else None


def learnt(content: bytes, event: JsonMap, holder: dict[str, Any], key: str) -> Frame | None:
    """The frame of an event, read from `content`, around the text that one of its maps has under a key; None where it cannot be told."""
    text, name = holder[key], dump(key)
    start = content.rfind(name) + len(name)
    begin = content.find(spelled := dump(text), start)
    if start < len(name) or begin < 0:
        return None
    frame = Frame(content[:begin], content[begin + len(spelled) :])
    holder[key] = proof = "x" * len(content)  # longer than every text in the event, so that it stands nowhere else
    try:
        return frame if load(frame.around(proof)) == event else None
    except BadBody:
        return None
    finally:
        holder[key] = text
