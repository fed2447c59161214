"""What a model route must be able to do; each is a module (`chat`, `responses`, `messages`), and its stream a class beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bylaw.govern.streaming import HoldBack
from bylaw.serve.sse import Sent
from bylaw.serve.wire import Asked, Call, Choice, JsonMap, Said, Text
from bylaw.types import EMPTY, Decision


class Shape(Protocol):
    """Takes requests and replies of one API apart, and puts them together again."""

    def asked(self, body: JsonMap) -> Asked:
        """Take a request apart; raises BadBody."""

    def said(self, body: JsonMap, sent: Mapping[str, Any] = EMPTY) -> Said:
        """Take a reply apart; raises BadBody. Thinking that stands in the text is taken out of it. `sent` is the request: what it says
        itself is nothing new in the reply."""

    def speak(self, body: JsonMap, choice: Choice, text: str, finish: str = "content_filter") -> None:
        """Let one choice of a reply say something else."""

    def without_thinking(self, body: JsonMap) -> None:
        """Take out what the client must not see of the model's thinking."""

    def without_tokens(self, body: JsonMap, choice: Choice) -> None:
        """Take out what would spell a text that was changed."""

    def solo(self, body: JsonMap, choice: Choice) -> JsonMap:
        """A reply with this choice alone."""

    def adopt(self, body: JsonMap, choice: Choice, other: JsonMap) -> JsonMap:
        """A reply in which the only choice of another reply stands for this one."""

    def fresh(self, model: str, reply_id: str, text: str, finish: str = "content_filter") -> JsonMap:
        """A whole reply of our own."""

    def again(self, body: JsonMap, said_text: str, critique: str) -> JsonMap:
        """The same request once more, after an answer that must be mended."""

    def whole(self, body: JsonMap) -> JsonMap:
        """The same request without streaming."""

    def error(self, status: int, what: str, param: str = "") -> JsonMap:
        """An error as clients of this API expect it."""


class Halt(NamedTuple):
    """In a stream: a choice must end here. `before` is what may still leave of it."""

    choice: int
    decision: Decision


class Finished(NamedTuple):
    """In a stream: a choice is complete. Its tool calls are whole, and none of them has left."""

    choice: int
    calls: tuple[Call, ...]
    said: tuple[str, ...]  # the texts that have left of this choice, each by itself and in one piece
    met: tuple[Decision, ...]  # what was decided on findings in it
    loose: tuple[Text, ...] = ()  # what else it says, that no filter has seen; has not left
    thinking: str = ""  # has not left, and does not


Step = bytes | Halt | Finished


class Gates(Protocol):
    """Makes what a stream needs to judge by itself."""

    def text(self) -> HoldBack | None:
        """A new hold-back filter; None where nothing searches answers."""

    def thinking(self, text: Text) -> Decision:
        """What is decided on a piece of thinking that is complete."""

    @property
    def naming(self) -> Callable[[str], str] | None:
        """How ids of the upstream are given out; None: as they are."""


class Stream(Protocol):
    """One stream of an upstream, let through. Every step must be acted on before the next one is asked for."""

    def feed(self, event: Sent) -> Sequence[Step]:
        """What one event of the upstream becomes. Raises BadBody."""

    def finish(self) -> Sequence[Step]:
        """The upstream has ended, whether it said so or not."""

    def release(self, done: Finished) -> bytes:
        """The tool calls and the end of a choice that may leave."""

    def replace(self, choice: int, text: str, told: dict[str, Any] | None = None) -> bytes:
        """The end of a choice in our words, without its tool calls."""

    def close(self, told: dict[str, Any] | None = None) -> bytes:
        """The end of the stream; with the `bylaw` object, where there is something to tell."""

    def fail(self, what: str) -> bytes:
        """The end of a stream that broke."""

    def reply(self, done: Finished) -> JsonMap:
        """A choice as a reply that did not stream, to be stored for approval."""


class MakeStream(Protocol):
    """Begins a stream."""

    def __call__(self, asked: Asked, gates: Gates) -> Stream:
        """One per request."""


@dataclass(frozen=True)
class Route:
    """A model route."""

    path: str
    shape: Shape
    stream: MakeStream
    as_stream: Callable[[JsonMap, Asked], bytes]  # a whole reply as the events of a stream
