"""Where a hostile server, or a hostile text in an honest one, tries to say something that nobody looks at."""

from pathlib import Path
from typing import Any

import pytest

from tests.serve.mcp_rig import lined

CARD = "4111111111111111"
HIDDEN: dict[str, dict[str, Any]] = {
    "a field's name before a word of the protocol": {"content": [], "structuredContent": {f"paid with {CARD}": "text"}},
    "a blob among structured content": {"content": [], "structuredContent": {"blob": CARD}},
    "an image among structured content": {"content": [], "structuredContent": {"type": "image", "data": CARD}},
    "a field called content": {"content": [], "structuredContent": {"content": [{"type": "image", "data": CARD}]}},
    "an image that is none": {"content": [{"type": "image", "mimeType": "image/png", "data": f"paid with {CARD}, thanks"}]},
    "a blob that is none": {"content": [{"type": "resource", "resource": {"uri": "x://y", "blob": f"paid with {CARD}"}}]},
    "a blob beside a text": {"content": [{"type": "text", "text": "hello", "blob": CARD}]},
    "meta": {"content": [], "_meta": {"blob": CARD}},
}


@pytest.mark.parametrize("where", HIDDEN)
def test_no_text_hides_as_what_no_rail_reads(tmp_path: Path, where: str) -> None:
    with lined(tmp_path) as rig:
        rig.server.replies["tools/call"] = {"result": HIDDEN[where]}
        result = rig.call("lookup", {"order": 1})

    assert CARD not in str(result)


def test_an_image_and_a_blob_at_their_places_pass_as_they_are(tmp_path: Path) -> None:
    content = [
        {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="},
        {"type": "resource", "resource": {"uri": "x://y", "blob": "iVBORw0KGgo="}},
        {"type": "text", "text": "a picture"},
    ]
    with lined(tmp_path) as rig:
        rig.server.replies["tools/call"] = {"result": {"content": content}}
        result = rig.call("lookup", {"order": 1})

    assert result["content"] == content
