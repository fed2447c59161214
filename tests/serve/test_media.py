"""What no rail can look into is refused where the policy says so, under whatever name it comes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.serve.gate import Ways
from tests.serve.rig import Rig, post, rigged

PNG = "data:image/png;base64,AAAA"
PARTS: tuple[Any, ...] = (
    {"type": "image_url", "image_url": {"url": PNG}},
    {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}},
    {"type": "video_url", "video_url": {"url": "http://x/y.mp4"}},
    {"type": "image_embeds", "image_embeds": "AAAA"},
    {"type": "document_url", "document_url": "http://x/a.pdf"},
    {"image_url": {"url": "http://x/y.png"}},
    {"type": "text", "text": "Look.", "image_url": {"url": PNG}},
    {"type": "odd", "inside": [{"deeper": "QUJD" * 200}]},
)
ITEMS: tuple[Any, ...] = (
    {"role": "user", "content": [{"type": "input_image", "image_url": PNG}]},
    {"role": "user", "content": {"type": "input_image", "image_url": PNG}},
    {"role": "user", "content": [{"type": "input_text", "text": "Look.", "image_url": PNG}]},
    {"type": "input_image", "image_url": PNG},
    {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": PNG}},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PNG}]},
    {"type": "image_generation_call", "id": "i", "result": "QUJD" * 200},
)
BLOCKS: tuple[Any, ...] = (
    {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
    {"type": "container_upload", "file_id": "f"},
    {"type": "search_result", "source": "x", "title": "t", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]},
    {"type": "web_fetch_tool_result", "content": {"content": {"type": "document", "source": {"type": "base64", "data": "AAAA"}}}},
    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]},
)
TEXTS: tuple[tuple[str, Any], ...] = (
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "odd", "words": "Look here."}]}]}),
    ("/v1/chat/completions", {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}]}),
    ("/v1/responses", {"input": [{"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "prices"}}]}),
    ("/v1/responses", {"input": [{"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "one two", "stderr": ""}]}]}),
    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "search_result", "source": "x", "title": "t", "content": []}]}]}),
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path, ways=Ways(media="block")) as one:
        yield one


def asked(rig: Rig, path: str, body: dict[str, Any]) -> tuple[str | None, int]:
    reply = post(f"{rig.url}{path}", orjson.dumps({"model": "m", "max_tokens": 9, **body}), headers={"content-type": "application/json"})
    return reply.headers.get("x-bylaw-decision"), len(rig.speaker.asked)


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("role", ["user", "tool"])
def test_no_part_of_a_chat_brings_what_nobody_looks_into(rig: Rig, part: Any, role: str) -> None:
    assert asked(rig, "/v1/chat/completions", {"messages": [{"role": role, "content": [part]}]}) == ("block", 0)


@pytest.mark.parametrize("item", ITEMS, ids=str)
def test_no_item_of_a_response_does(rig: Rig, item: Any) -> None:
    assert asked(rig, "/v1/responses", {"input": [item]}) == ("block", 0)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_no_block_of_a_message_does(rig: Rig, block: Any) -> None:
    assert asked(rig, "/v1/messages", {"messages": [{"role": "user", "content": [block]}]}) == ("block", 0)


@pytest.mark.parametrize(("path", "body"), TEXTS, ids=str)
def test_a_part_of_unknown_kind_that_is_all_text_is_searched_and_passes(rig: Rig, path: str, body: Any) -> None:
    assert asked(rig, path, body)[1] == 1
