"""A streamed answer under a guard: text leaves as the hold-back filter lets it, thinking stays, calls come whole and judged at the end.

So it is for `chat.completions` where every rule on answers is about a span of bounded length, without a condition. Else, and for
`responses`, the answer is asked for whole, judged whole, and then given out as a stream. What is forbidden ends the stream in `Blocked`;
what left before it has left. A stop ends it at the next piece. Token probabilities and fields of unknown kind are left out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bylaw.govern.conversing import WITHHELD, admitted, called, converse, dumped, uncuttable
from bylaw.govern.engine import decide
from bylaw.govern.guard import Guard, Judged, blocked
from bylaw.govern.marks import left, word
from bylaw.govern.outcomes import Blocked, both
from bylaw.govern.streaming import Cut, HoldBack
from bylaw.govern.taking import CHAT, THOUGHTS, Body, Shape
from bylaw.govern.thinking import Parting
from bylaw.types import EMPTY, Decision, Event, Hit

MAX_KEPT: Final = 1 << 20  # characters of thinking and of arguments that are kept of one answer
HEAD: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "usage")
EMPTY_HEAD: Final[Body] = {
    "id": "",
    "object": "chat.completion.chunk",
    "created": 0,
    "model": "",
}  # where words stood in the place of marks
TEXTS: Final = ("content", "refusal")


def longest(guard: Guard) -> int | None:
    """The longest span that a rule on answers can match here; None where an answer must be whole before it can be judged."""
    book = guard.places.book(guard.acting_as.principal)
    slot = book.slot("output", "")
    if slot is None or any(clause.requires for clause in book.policy.clauses):
        return None
    if any(rule.effect not in ("allow", "redact", "block") or not rule.detect or rule.when is not None for rule in slot.rules):
        return None
    rails = [guard.rails.get(name) for name in slot.rails]
    spans = [None if rail is None or rail.cost > 1 else rail.longest for rail in rails]
    return None if None in spans else max((span for span in spans if span is not None), default=0)


# ---- What the caller has in hand ---------------------------------------------------------------------------------------------


class Pieces:
    """A stream of a plain client; the request has been judged when it is made."""

    def __init__(self, guard: Guard, shape: Shape, request: Body, create: Callable[..., Any]) -> None:
        span = longest(guard) if shape is CHAT else None
        self._live: Any = None
        if span is None:
            steps, given = converse(guard, shape, request), None
            try:
                while True:
                    given = create(**steps.send(given))
            except StopIteration as ended:
                self._pieces: Iterator[Any] = iter(whole(shape, ended.value))
        else:
            asked, facts = admitted(guard, shape, request)
            self._live = create(**asked, stream=True)
            self._pieces = self._through(Flow(guard, facts, span))

    def _through(self, flow: "Flow") -> Iterator[Any]:
        try:
            for chunk in self._live:
                yield from flow.feed(chunk)
            flow.end()
        finally:
            self.close()

    def __iter__(self) -> Iterator[Any]:
        return self._pieces

    def __next__(self) -> Any:
        return next(self._pieces)

    def close(self) -> None:
        """Let go of the connection."""
        if self._live is not None:
            self._live.close()

    def __enter__(self) -> "Pieces":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()


class AsyncPieces:
    """The same of an async client."""

    def __init__(self, live: Any, pieces: AsyncIterator[Any]) -> None:
        self._live, self._pieces = live, pieces

    @classmethod
    async def begun(cls, guard: Guard, shape: Shape, request: Body, create: Callable[..., Any]) -> "AsyncPieces":
        """Judge the request, and ask."""
        span = longest(guard) if shape is CHAT else None
        if span is None:
            steps, given = converse(guard, shape, request), None
            while (asked := await asyncio.to_thread(_next, steps, given))[1] is None:
                given = await create(**asked[0])
            return cls(None, _given(whole(shape, asked[1])))
        body, facts = await asyncio.to_thread(admitted, guard, shape, request)
        live = await create(**body, stream=True)
        return cls(live, _through(live, Flow(guard, facts, span)))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._pieces

    async def __anext__(self) -> Any:
        return await anext(self._pieces)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._live is not None:
            await self._live.close()

    async def __aenter__(self) -> "AsyncPieces":
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.close()


async def _through(live: Any, flow: "Flow") -> AsyncIterator[Any]:
    try:
        async for chunk in live:
            for piece in await asyncio.to_thread(flow.feed, chunk):
                yield piece
        await asyncio.to_thread(flow.end)
    finally:
        await live.close()


async def _given(pieces: Sequence[Any]) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


def _next(steps: Any, given: Any) -> tuple[Any, Any]:
    """The next request, or None and the answer that may be seen."""
    try:
        return steps.send(given), None
    except StopIteration as ended:
        return None, ended.value


# ---- One stream ---------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Voice:
    """One choice on its way."""

    filters: dict[str, HoldBack]
    parting: Parting = field(default_factory=Parting)
    thinking: list[str] = field(default_factory=list)
    unjudged: bool = False
    calls: dict[int, Body] = field(default_factory=dict)
    out: list[str] = field(default_factory=list)
    kept: int = 0
    closed: bool = False


class Flow:
    """A chat's answer, piece by piece."""

    def __init__(self, guard: Guard, facts: Any, span: int) -> None:
        self._guard, self._facts, self._span = guard, facts, span
        self._book = guard.places.book(guard.acting_as.principal)
        self._names = self._book.rails_for("output", "")
        self._finders: dict[str, set[str]] = {}
        self._voices: dict[int, Voice] = {}
        with guard.turn() as turn:
            self._event = guard.filled(Event("output"), turn)

    def feed(self, chunk: Any) -> list[Any]:
        """What may leave because of a chunk; raises Blocked."""
        if reasons := self._guard.stopped(self._event.principal):
            raise self._refused(Decision("stop", (), (), self._book.digest, reason="; ".join(sorted(reasons))))
        body = dumped(chunk)
        plain = left({key: body[key] for key in HEAD if body.get(key) is not None})
        head = {**EMPTY_HEAD, **{key: value for key, value in plain.items() if value is not None}}
        choices = body.get("choices") or []
        if not choices:
            return [type(chunk).model_validate({**head, "choices": []})]
        out = [said for choice in choices if (said := self._choice(choice))]
        return [type(chunk).model_validate({**head, "choices": [said]}) for said in out]

    def end(self) -> None:
        """No more will come; raises Blocked where an answer is not complete, whose end has therefore not left."""
        if any(not voice.closed for voice in self._voices.values()):
            reason = "could not be decided: the model's server ended before its answer did"
            raise self._refused(Decision("block", (), (), self._book.digest, ("event",), reason))

    def _choice(self, choice: Body) -> Body | None:
        voice = self._voices.get(index := int(choice.get("index") or 0))
        if voice is None:
            voice = self._voices[index] = Voice({key: HoldBack(self._look, self._weigh, self._span) for key in TEXTS})
        if voice.closed:
            return None
        delta, finish = choice.get("delta") or {}, choice.get("finish_reason")
        self._gather(voice, delta)
        shown: Body = {"role": word(delta["role"], "assistant")} if delta.get("role") else {}
        for key in TEXTS:
            text = self._text(voice, key, delta.get(key) or "", bool(finish))
            if text or (delta.get(key) == "" and shown):
                shown[key] = text
        if finish:
            voice.closed = True
            if calls := self._ended(voice):
                shown["tool_calls"] = calls
        finish = word(finish, "stop") if finish else None
        return {"index": index, "delta": shown, "finish_reason": finish} if shown or finish else None

    def _gather(self, voice: Voice, delta: Body) -> None:
        for key in THOUGHTS:
            if isinstance(thought := delta.get(key), str) and thought:
                self._think(voice, thought)
        for piece in delta.get("tool_calls") or []:
            call = voice.calls.setdefault(int(piece.get("index") or 0), {"function": {"name": "", "arguments": ""}})
            call.update({key: value for key, value in piece.items() if key in ("id", "type") and value})
            for key, value in (piece.get("function") or {}).items():
                call["function"][key] = str(call["function"].get(key) or "") + str(value or "")
                self._keep(voice, len(str(value or "")))

    def _think(self, voice: Voice, thought: str) -> None:
        voice.thinking.append(thought)
        voice.unjudged = True
        self._keep(voice, len(thought))

    def _keep(self, voice: Voice, characters: int) -> None:
        voice.kept += characters
        if voice.kept > MAX_KEPT:
            reason = "could not be decided: the model thinks or calls at too great a length"
            raise self._refused(Decision("block", (), (), self._book.digest, ("event",), reason))

    def _text(self, voice: Voice, key: str, piece: str, last: bool) -> str:
        if key == "content":
            piece = voice.parting.feed(piece) + (voice.parting.finish() if last else "")
            if voice.parting.thinking:
                self._think(voice, voice.parting.thinking)
                voice.parting.thinking = ""
        if (piece or last) and voice.unjudged:
            voice.unjudged = False
            decision = self._guard.check(Event("thinking", text="".join(voice.thinking)))
            if decision.effect not in ("allow", "redact"):
                raise blocked(decision, "the answer is withheld for its thinking")
        try:
            out = voice.filters[key].feed(piece) + (voice.filters[key].finish() if last else "")
        except Cut as cut:
            raise self._refused(cut.decision) from None
        except Blocked:
            raise
        except Exception as error:
            reason = f"could not be decided: {type(error).__name__}"
            raise self._refused(Decision("block", (), (), self._book.digest, ("event",), reason)) from error
        voice.out.append(out)
        return out

    def _ended(self, voice: Voice) -> list[Body]:
        """A choice is complete: it is recorded, and its calls are judged before they leave."""
        decision = Decision("allow", (), (), self._book.digest)
        for one in voice.filters.values():
            for met in one.decisions:
                decision = both(decision, met)
        event = replace(self._event, text="".join(voice.out))
        decision = self._guard.recorded(Judged(event, replace(decision, hits=()), self._book, cut=decision.effect != "allow"))
        if decision.effect not in ("allow", "redact"):
            raise blocked(decision, WITHHELD)
        for call in voice.calls.values():
            taken = CHAT.answer({"choices": [{"message": {"tool_calls": [call]}}]}, 0)
            uncuttable(self._guard, taken, "output", WITHHELD)
            for wanted in taken.calls:
                if (said := called(self._guard, wanted)).effect != "allow":
                    raise blocked(said, f"the model's call of {wanted.tool} is withheld")
        return [{"index": at, **call} for at, call in sorted(voice.calls.items())]

    def _refused(self, decision: Decision) -> Blocked:
        self._guard.recorded(Judged(self._event, decision, self._book, cut=True))
        return blocked(decision, WITHHELD)

    def _look(self, text: str) -> Sequence[Hit]:
        if not self._names:
            return ()
        from bylaw.govern.rails.asking import ask  # noqa: PLC0415  # RE2 loads only where a rule asks a rail
        from bylaw.govern.rails.rail import NO_FACTS, RailError  # noqa: PLC0415  # the same

        answer = ask(replace(self._event, text=text), self._names, self._guard.rails, self._facts or NO_FACTS)
        if answer.failed:
            raise RailError(f"{', '.join(sorted(answer.failed))} could not be asked", "nothing more of the answer leaves")
        for name, hits in answer.found.items():
            for hit in hits:
                self._finders.setdefault(hit.rail, set()).add(name)
        return [hit for hits in answer.found.values() for hit in hits]

    def _weigh(self, text: str, hits: Sequence[Hit]) -> Decision:
        found: dict[str, list[Hit]] = {name: [] for name in self._names}
        for hit in hits:
            for name in self._finders[hit.rail]:
                found[name].append(hit)
        return decide(replace(self._event, text=text, args=EMPTY), self._book, found)


# ---- A whole answer as a stream -----------------------------------------------------------------------------------------------


def whole(shape: Shape, completion: Any) -> list[Any]:
    """A whole answer as the pieces of a stream."""
    body = dumped(completion)
    return _chunks(body) if shape is CHAT else _events(body)


def _chunks(body: Body) -> list[Any]:
    from openai.types.chat import ChatCompletionChunk  # noqa: PLC0415  # whoever wraps a client has its library

    head = {key: body[key] for key in HEAD if body.get(key) is not None and key != "usage"} | {"object": "chat.completion.chunk"}
    out = []
    for choice in body.get("choices") or []:
        message = {key: value for key, value in (choice.get("message") or {}).items() if value is not None}
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
        for delta, finish in ((message, None), ({}, choice.get("finish_reason"))):
            said = {"index": choice.get("index", 0), "delta": delta, "finish_reason": finish}
            out.append(ChatCompletionChunk.model_validate({**head, "choices": [said]}))
    return out


def _events(body: Body) -> list[Any]:
    from openai.types import responses  # noqa: PLC0415  # the same

    out: list[Any] = []

    def say(kind: Any, name: str, **said: Any) -> None:
        out.append(kind.model_validate({"type": f"response.{name}", "sequence_number": len(out), **said}))

    say(responses.ResponseCreatedEvent, "created", response={**body, "output": [], "status": "in_progress"})
    for at, item in enumerate(body.get("output") or []):
        message = item.get("type") == "message"
        empty = {**item, "content": [], "status": "in_progress"} if message else item
        say(responses.ResponseOutputItemAddedEvent, "output_item.added", output_index=at, item=empty)
        for index, part in enumerate(item.get("content") or [] if message else []):
            where = {"item_id": item["id"], "output_index": at, "content_index": index}
            if part.get("type") == "output_text":
                blank = {**part, "text": "", "annotations": [], "logprobs": []}
                say(responses.ResponseContentPartAddedEvent, "content_part.added", **where, part=blank)
                say(responses.ResponseTextDeltaEvent, "output_text.delta", **where, delta=part["text"], logprobs=[])
                say(responses.ResponseTextDoneEvent, "output_text.done", **where, text=part["text"], logprobs=[])
            say(responses.ResponseContentPartDoneEvent, "content_part.done", **where, part=part)
        say(responses.ResponseOutputItemDoneEvent, "output_item.done", output_index=at, item=item)
    say(responses.ResponseCompletedEvent, "completed", response=body)
    return out
