"""Which model routes there are."""

from collections.abc import Mapping
from typing import Final

from bylaw.serve import chat
from bylaw.serve.chat_stream import ChatStream, as_stream
from bylaw.serve.route import Route

ROUTES: Final[Mapping[str, Route]] = {
    "/v1/chat/completions": Route("/v1/chat/completions", chat, ChatStream, as_stream),
}
