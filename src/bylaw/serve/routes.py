"""Which model routes there are."""

from collections.abc import Mapping
from typing import Final

from bylaw.serve import chat, chat_stream, messages, messages_stream, responses, responses_stream
from bylaw.serve.route import Route

ROUTES: Final[Mapping[str, Route]] = {
    route.path: route
    for route in (
        Route("/v1/chat/completions", chat, chat_stream.ChatStream, chat_stream.as_stream),
        Route("/v1/responses", responses, responses_stream.ResponsesStream, responses_stream.as_stream),
        Route("/v1/messages", messages, messages_stream.MessagesStream, messages_stream.as_stream),
    )
}
