"""The notice that an AI speaks, put in front of the first answer of a session: whole or streamed, on every route.

The model's own text follows it unchanged. Where the client asked for a form (a JSON schema), and where the policy says `beside`, the notice
stands in the `bylaw` object only. As long as nobody has seen it as text, every reply carries it there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from bylaw.serve.sayings import Notice, Sayings
from bylaw.serve.sse import sent
from bylaw.serve.wire import Asked, JsonMap, dump

FORMS: Final = ("json_object", "json_schema")  # of answers, as requests name them: no text can stand before one


class Talk(Protocol):
    """A session, as far as it is needed here."""

    def answered(self, text: str) -> None:
        """Remember a text that has left."""

    def said(self, text: str) -> bool:
        """Whether this text left in this session."""


@dataclass(slots=True)
class Preface:
    """A notice that is due in one reply."""

    notice: Notice
    path: str  # the route's
    formed: bool  # whether the answer must have a form
    spoken: bool = False  # whether it stands in a text
    _begun: bool = False
    _voices: set[Any] = field(default_factory=set)  # choices of a stream that have it
    _place: tuple[Any, Any] | None = None  # the part of a streamed response that has it

    @property
    def aloud(self) -> bool:
        """Whether it is to stand in the text."""
        return self.notice.show == "text" and not self.formed

    @property
    def fact(self) -> dict[str, str]:
        """What the record says of it."""
        return {"wording": self.notice.wording, "show": "text" if self.aloud else "beside", "clause": self.notice.clause}

    @property
    def given(self) -> bool:
        """Whether it has now been given as it should be."""
        return self.spoken or not self.aloud

    # ---- Whole --------------------------------------------------------------------------------------------------------

    def whole(self, body: JsonMap) -> None:
        """Put it into a whole reply."""
        if self.aloud:
            for holder, key in _WHOLE[self.path](body):
                self._front(holder, key)
                for one in holder.get("annotations") or ():  # they point into the text, and move along
                    _moved(one, len(self.notice.front))
        body["bylaw"] = {**(body.get("bylaw") or {}), "notice": self.notice.told(self.spoken)}

    # ---- Streamed -----------------------------------------------------------------------------------------------------

    def piece(self, events: bytes) -> bytes:
        """Put it into some events of a stream; they are ours, each whole and on one line."""
        return b"".join(self._event(one) for one in events.split(b"\n\n") if one)

    def _event(self, event: bytes) -> bytes:
        name, _, content = event.rpartition(b"data: ")
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:  # `[DONE]`
            return event + b"\n\n"
        if not self._begun:
            self._begun = True
            holder = body.get("response") or body.get("message") or body
            holder["bylaw"] = {**(holder.get("bylaw") or {}), "notice": self.notice.told(self.aloud)}
        if self.aloud:
            _STREAMED[self.path](self, body)
        return sent(dump(body), name.removeprefix(b"event: ").strip().decode())

    def _front(self, holder: JsonMap, key: str) -> None:
        holder[key] = self.notice.front + holder[key]
        self.spoken = True

    def chat(self, body: JsonMap) -> None:
        """An event of `/v1/chat/completions`: the first text of each choice."""
        for choice in body.get("choices", ()):
            delta = choice.get("delta") or {}
            if choice.get("index") not in self._voices and isinstance(delta.get("content"), str) and delta["content"]:
                self._voices.add(choice.get("index"))
                self._front(delta, "content")

    def messages(self, body: JsonMap) -> None:
        """An event of `/v1/messages`: the first text of the first block that has one."""
        delta = body.get("delta")
        if not self._voices and isinstance(delta, dict) and delta.get("type") == "text_delta" and delta.get("text"):
            self._voices.add(0)
            self._front(delta, "text")

    def responses(self, body: JsonMap) -> None:
        """An event of `/v1/responses`: the first delta of text, and whatever tells the same text once more."""
        kind, place = str(body.get("type")), (body.get("output_index"), body.get("content_index"))
        if kind == "response.output_text.delta":
            if self._place is None and body.get("delta"):
                self._place = place
                self._front(body, "delta")
        elif self._place is None:
            return
        elif kind == "response.output_text.done" and place == self._place:
            self._front(body, "text")
        elif kind == "response.content_part.done" and place == self._place:
            self._front(body["part"], "text")
        elif kind == "response.output_item.done" and place[0] == self._place[0]:
            self._front(body["item"]["content"][self._place[1]], "text")
        elif kind in ("response.completed", "response.incomplete"):
            self._front(body["response"]["output"][self._place[0]]["content"][self._place[1]], "text")


def due(sayings: Sayings, place: object, talk: Talk, asked: Asked, path: str, begins: bool = False) -> Preface | None:
    """The notice that is due in the reply to a request, if one is: it has not been given in this session, nor does the request show it.

    `begins`: a conversation begins here, whatever others of this name have been told.
    """
    notice = sayings.notice(place)
    if notice is None or (talk.said(_mark(notice)) and not begins):
        return None
    if notice.show == "text" and any(text.role == "assistant" and text.text.startswith(notice.text) for text in asked.texts):
        return None
    return Preface(notice, path, _formed(asked.body))


def given(preface: Preface, talk: Talk) -> None:
    """Remember in a session that the notice was given there."""
    if preface.given:
        talk.answered(_mark(preface.notice))


def without(sayings: Sayings, place: object, text: str) -> str:
    """A text that a client sends back, without the notice that this gateway put before it."""
    notice = sayings.notice(place)
    return text.removeprefix(notice.front) if notice is not None else text


def _moved(annotation: Any, by: int) -> None:
    found = [annotation, annotation.get("url_citation")] if isinstance(annotation, dict) else []
    for one in found:
        for key in ("start_index", "end_index"):
            if isinstance(one, dict) and isinstance(one.get(key), int):
                one[key] += by


def _mark(notice: Notice) -> str:
    return f"\0notice {notice.wording}"


def _formed(body: Mapping[str, Any]) -> bool:
    text = body.get("text")
    forms = [body.get("response_format"), text.get("format") if isinstance(text, dict) else None, body.get("output_format")]
    config = body.get("output_config")
    forms.append(config.get("format") if isinstance(config, dict) else None)
    return any(isinstance(form, dict) and form.get("type") in FORMS for form in forms)


Holder = tuple[JsonMap, str]


def _chat(body: JsonMap) -> list[Holder]:
    """The first text of each choice."""
    found: list[Holder] = []
    for choice in body["choices"]:
        message = choice["message"]
        parts = message.get("content")
        if isinstance(parts, str):
            found += [(message, "content")] if parts else []
        elif isinstance(parts, list):
            found += _first(parts, "text", "output_text")
    return found


def _messages(body: JsonMap) -> list[Holder]:
    return _first(body["content"], "text")


def _responses(body: JsonMap) -> list[Holder]:
    """The first text of the first message."""
    body.pop("output_text", None)
    for item in body["output"]:
        if isinstance(item, dict) and item.get("type") == "message" and isinstance(item.get("content"), list):
            return _first(item["content"], "output_text", "text")
    return []


def _first(parts: list[Any], *kinds: str) -> list[Holder]:
    for part in parts:
        if isinstance(part, dict) and part.get("type") in kinds and isinstance(part.get("text"), str) and part["text"]:
            return [(part, "text")]
    return []


_WHOLE: Final[Mapping[str, Callable[[JsonMap], list[Holder]]]] = {
    "/v1/chat/completions": _chat,
    "/v1/messages": _messages,
    "/v1/responses": _responses,
}
_STREAMED: Final[Mapping[str, Callable[[Preface, JsonMap], None]]] = {
    "/v1/chat/completions": Preface.chat,
    "/v1/messages": Preface.messages,
    "/v1/responses": Preface.responses,
}
