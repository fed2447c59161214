"""What comes while MCP is being judged: a stop holds what it finds, and rails that take long keep nobody else waiting."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern.rails.rail import RailFacts
from bylaw.serve.live import ready
from bylaw.types import Event, Hit
from tests.figures import stands
from tests.serve.mcp_rig import AGENT, lined, policy


def test_a_stop_that_comes_while_a_resource_is_being_recorded_keeps_it_from_being_read(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        take = rig.book.append

        def append(entry: Any) -> object:
            rig.stopped["global"] = "drill"
            return take(entry)

        rig.book.append = append  # type: ignore[method-assign]  # somebody presses it just then
        said = rig.ask("resources/read", {"uri": "shop://hours"})
        sent, decided = rig.server.asked, [entry.get("decision") for entry in rig.book.entries]

    assert said["error"]["data"]["bylaw"]["decision"] == "stop"
    assert sent == []
    assert decided == ["allow", "stop"]


@pytest.mark.parametrize(("method", "params"), [("tools/call", {"name": "lookup", "arguments": {}}), ("resources/read", {"uri": "a"})])
def test_a_stop_that_comes_while_what_a_server_says_is_being_judged_holds_it(tmp_path: Path, method: str, params: dict[str, Any]) -> None:
    with lined(tmp_path) as rig:
        threads, before = list[str](), rig.laws[-1]

        def judge(event: Event, names: Sequence[str], facts: RailFacts) -> tuple[dict[str, list[Hit]], list[str]]:
            threads.append(threading.current_thread().name)
            if event.surface in ("tool_result", "document"):
                rig.stopped["global"] = "drill"
            return {name: [] for name in names}, []

        rig.laws.append(replace(before, ask=judge, slow=frozenset(before.book.rails)))
        rig.server.replies["resources/read"] = {"result": {"contents": [{"uri": "a", "text": "from nine"}]}}
        rig.server.replies["tools/call"] = {"result": {"content": [{"type": "text", "text": "from nine"}]}}
        said = rig.ask(method, params)
        sent, decided = [name for name, _ in rig.server.asked], [entry.get("decision") for entry in rig.book.entries]

    assert method in sent
    assert decided[-1] == "stop"
    assert b"from nine" not in orjson.dumps(said)
    assert threading.current_thread().name not in threads


def test_where_a_finding_stands_in_a_call_is_asked_beside_the_loop(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        real = policy(tmp_path / "real", ("privacy.calls",))
        (real / "tools" / "lookup.json").write_text('{"type": "object", "properties": {"note": {"type": "string"}}}')
        threads, before = list[str](), ready(real).law(AGENT)

        def judge(event: Event, names: Sequence[str], facts: RailFacts) -> Any:
            threads.append(threading.current_thread().name)
            return before.ask(event, names, facts)

        rig.laws.append(replace(before, ask=judge, slow=frozenset(before.book.rails)))
        rig.call("lookup", {"note": "card 4111 1111 1111 1111 please"})
        sent = rig.server.calls

    assert sent[0]["arguments"]["note"].endswith(" please")
    assert not stands(4111, str(sent))
    assert threading.current_thread().name not in threads
