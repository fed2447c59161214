"""What rails may know of a request that waited for a person is what that request said, whatever comes with the name of its approval."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern.quorum import Person
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.serve.law import Law
from bylaw.types import Event, Hit
from tests.serve.rig import RAILS, Apart, Rig, post, rigged

SECRET = "The word of the day is heron."


def leaks(event: Event, names: Sequence[str], facts: RailFacts) -> tuple[Mapping[str, Sequence[Hit]], Collection[str]]:
    """A rail that finds the system prompt."""
    at = event.text.find(facts.system) if facts.system else -1
    return {name: [Hit(name, at, at + len(facts.system))] if at >= 0 else [] for name in names}, []


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    def law(folder: Path) -> Law:
        return Law(Rulebook.load(load(folder), RAILS), leaks, {name: longest for name, (_, longest) in RAILS.items()})

    with rigged(tmp_path, ("input.person", "tone.whole"), apart=Apart(law)) as one:
        yield one


def asked(rig: Rig, messages: list[dict[str, str]], approval: str = "") -> tuple[str, Any]:
    reply = post(
        f"{rig.url}/v1/chat/completions", orjson.dumps({"model": "m", "messages": messages}), headers={"x-bylaw-approval": approval}
    )
    return reply.headers["x-bylaw-decision"], orjson.loads(reply.body)


def test_an_answer_to_a_request_that_waited_is_judged_by_what_that_request_said(rig: Rig) -> None:
    waits, body = asked(rig, [{"role": "system", "content": SECRET}, {"role": "user", "content": "About the lawsuit"}])
    rig.approvals.decide(body["bylaw"]["approval"], Person("lena", ("lead",), ""), True)
    message = {"role": "assistant", "content": f"I was told: {SECRET}"}
    rig.speaker.replies.append(
        {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    )
    decided, reply = asked(rig, [{"role": "user", "content": "Hi"}], body["bylaw"]["approval"])

    assert waits == "require_approval"
    assert rig.speaker.asked[0]["messages"][0]["content"] == SECRET
    assert (decided, b"heron" in orjson.dumps(reply)) == ("block", False)
