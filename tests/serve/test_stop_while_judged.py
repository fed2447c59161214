"""A stop that is pressed while a request or an answer is being judged holds it: what asks a model may take long."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.serve.law import Law
from bylaw.types import Event, Hit
from tests.serve.rig import PATIENCE_S, RAILS, Apart, Reply, Rig, post, rigged

ROUTE = "/v1/chat/completions"
CALL = {"id": "t", "type": "function", "function": {"name": "lookup", "arguments": '{"order": 81}'}}
CHECKED = """## Lookups are checked {#money.lookups}

```yaml clause
severity: high
response: comply
owner: desk
enforce:
  - rule: r
    on: tool_call
    tool: lookup
    detect: [whole]
    then: block
```

A lookup MUST be checked.

## Requests are checked {#input.checked}

```yaml clause
severity: high
response: comply
owner: desk
enforce:
  - rule: r
    on: input
    detect: [whole]
    then: block
```

A request MUST be checked.
"""


class Judge:
    """A rail that on one surface takes until it is told to go on."""

    def __init__(self) -> None:
        self.surface = ""
        self.asked, self.answers = threading.Event(), threading.Event()

    def ask(self, event: Event, names: Sequence[str], facts: RailFacts) -> tuple[Mapping[str, Sequence[Hit]], Collection[str]]:
        if event.surface == self.surface:
            self.asked.set()
            self.answers.wait(PATIENCE_S)
        return {name: [] for name in names}, []


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def rig(tmp_path: Path, judge: Judge) -> Iterator[Rig]:
    def law(folder: Path) -> Law:
        (folder / "checked.md").write_text(CHECKED)
        spans = {name: longest for name, (_, longest) in RAILS.items()}
        return Law(Rulebook.load(load(folder), RAILS), judge.ask, spans, frozenset({"whole"}))

    with rigged(tmp_path, ("tone.whole",), apart=Apart(law)) as one:
        yield one


def stopped_at(rig: Rig, judge: Judge, surface: str) -> Reply:
    """What comes of a request where a stop is pressed while the rail works on this surface."""
    judge.surface, replies = surface, list[Reply]()
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
    client = threading.Thread(target=lambda: replies.append(post(rig.url + ROUTE, body)))
    client.start()
    judge.asked.wait(PATIENCE_S)
    rig.stopped.add("drill")
    judge.answers.set()
    client.join(PATIENCE_S)
    return replies[0]


def test_a_request_that_is_being_judged_when_a_stop_comes_is_not_sent_on(rig: Rig, judge: Judge) -> None:
    reply = stopped_at(rig, judge, "input")

    assert (reply.headers["x-bylaw-decision"], rig.speaker.asked) == ("stop", [])
    assert rig.book.kinds() == [("decision", "input", "stop")]


@pytest.mark.parametrize(
    ("surface", "message"), [("output", {"content": "The answer."}), ("tool_call", {"content": None, "tool_calls": [CALL]})]
)
def test_an_answer_that_is_being_judged_when_a_stop_comes_does_not_leave(
    rig: Rig, judge: Judge, surface: str, message: dict[str, Any]
) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    rig.speaker.replies.append({"id": "c", "object": "chat.completion", "choices": [choice]})
    reply = stopped_at(rig, judge, surface)

    assert reply.headers["x-bylaw-decision"] == "stop"
    assert (b"The answer." in reply.body, b"lookup" in reply.body) == (False, False)
    assert ("decision", "output", "stop") in rig.book.kinds()
