"""A request that waited is asked, and answered, as a stream or whole as it said itself, whatever comes with the name of its approval."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern.quorum import Person
from tests.serve.rig import Reply, Rig, post, rigged

WHOLE: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good day"}}],
}
PIECE = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "good day"}, "finish_reason": "stop"}]}
STREAM = [b"data: %b\n\n" % orjson.dumps(PIECE), b"data: [DONE]\n\n"]


def asked(rig: Rig, stream: bool, approval: str = "") -> Reply:
    body = {"model": "m", "messages": [{"role": "user", "content": "About the lawsuit"}], **({"stream": True} if stream else {})}
    return post(f"{rig.url}/v1/chat/completions", orjson.dumps(body), headers={"x-bylaw-approval": approval})


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize("released", [False, True])
def test_the_request_that_was_approved_says_in_which_form_it_is_answered(tmp_path: Path, waited: bool, released: bool) -> None:
    with rigged(tmp_path, ("input.person",)) as rig:
        approval = asked(rig, waited).headers["x-bylaw-approval"]
        rig.approvals.decide(approval, Person("lena", ("lead",), ""), True)
        rig.speaker.replies.append(STREAM if waited else WHOLE)
        reply = asked(rig, released, approval)

    assert rig.speaker.asked[0].get("stream", False) is waited
    assert reply.status == 200
    assert b"good day" in reply.body
    assert reply.headers["content-type"].startswith("text/event-stream" if waited else "application/json")
