"""A stop that memory has not seen yet is seen by the store's own answer, right before what was withheld is given out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern import stops
from bylaw.govern.quorum import Person
from bylaw.govern.stops import Stops
from bylaw.store import database
from bylaw.store.watching import Watch
from tests.figures import stands
from tests.serve.rig import Rig, post, rigged

CALL = {"id": "t", "type": "function", "function": {"name": "refund", "arguments": '{"order": 81, "amount": 640}'}}
REPLY = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [CALL]}}],
}  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        store = database.open(tmp_path / "store.sqlite")
        one.gate.stops = lambda who, tool: ()
        one.gate.stops_now = Stops(Watch(store)).applies_now
        yield one
        store.close()


def asked(rig: Rig, approval: str = "") -> tuple[str, Any]:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "refund it"}]})
    reply = post(f"{rig.url}/v1/chat/completions", body, headers={"content-type": "application/json", "x-bylaw-approval": approval})
    return reply.headers["x-bylaw-decision"], orjson.loads(reply.body)


def approved(rig: Rig) -> str:
    rig.speaker.replies.append(REPLY)
    _, body = asked(rig)
    approval: str = body["bylaw"]["approval"]
    rig.approvals.decide(approval, Person("lena", ("lead",), ""), True)
    return approval


@pytest.mark.parametrize("scope", ["global", "principal:local", "tool:refund"])
def test_a_stop_pressed_a_moment_ago_holds_what_people_have_approved(rig: Rig, tmp_path: Path, scope: str) -> None:
    approval, store = approved(rig), database.open(tmp_path / "store.sqlite")
    stops.stop(store, rig.book.append, scope, "ops")
    held, body = asked(rig, approval)
    stops.resume(store, rig.book.append, scope, "ops")
    given, reply = asked(rig, approval)
    store.close()

    assert held == "block"
    assert not stands(640, orjson.dumps(body))
    assert [entry["facts"]["why"] for entry in rig.book.entries if entry["kind"] == "refusal" and "why" in entry["facts"]][-1] == "stopped"
    assert (given, reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"]) == ("allow", "refund")


def test_stops_that_cannot_be_read_hold_it_too(rig: Rig, tmp_path: Path) -> None:
    approval, store = approved(rig), database.open(tmp_path / "store.sqlite")
    with store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE stops RENAME TO gone")
    held, body = asked(rig, approval)
    store.close()

    assert held == "block"
    assert not stands(640, orjson.dumps(body))
