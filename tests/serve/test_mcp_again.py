"""MCP's decisions are made again from the ledger: under the same policy nothing changes, under another what ought to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.serve.mcp_rig import lined, policy
from tests.serve.replaying import replayed

CARD = "4111 1111 1111 1111"
ON = ("money.limit", "privacy.results", "money.till", "shop.reads")


def result(text: str) -> dict[str, Any]:
    return {"result": {"resultType": "complete", "content": [{"type": "text", "text": text}]}}


def lived(tmp_path: Path, clauses: tuple[str, ...] = ON) -> list[Mapping[str, Any]]:
    """What is in the book after some calls and what came of them."""
    with lined(tmp_path, clauses) as rig:
        rig.call("refund", {"order": 1, "amount": 50.0})
        rig.server.replies["tools/call"] = result("all is well")
        rig.call("lookup", {"order": 2})
        rig.call("empty", {})
        rig.call("refund", {"order": 1, "amount": 900.0})
        rig.server.replies["resources/read"] = {"result": {"resultType": "complete", "contents": [{"uri": "a:b", "text": "our terms"}]}}
        rig.ask("resources/read", {"uri": "a:b"})
        return list(rig.book.entries)


def test_what_was_decided_is_decided_again_the_same(tmp_path: Path) -> None:
    entries = lived(tmp_path)
    found = replayed(tmp_path / "data", entries, policy(tmp_path / "same", ON))

    assert found.decisions == len([one for one in entries if one["kind"] == "decision"]) >= 8
    assert found.unchanged == found.decisions
    assert not found.unplayable


def test_a_candidate_that_is_stricter_on_calls_and_on_what_comes_of_them_is_told_by_its_clauses(tmp_path: Path) -> None:
    entries = lived(tmp_path, tuple(one for one in ON if one != "money.till"))
    with lined(tmp_path / "cards", ("money.limit", "shop.reads")) as rig:
        rig.server.replies["tools/call"] = result(f"the card is {CARD}")
        rig.call("lookup", {"order": 2})
        entries += rig.book.entries
    found = replayed(tmp_path / "data", entries, policy(tmp_path / "stricter", ON))

    assert found.by_clause["money.till"] == {"stricter": 1}
    assert found.by_clause["privacy.results"] == {"stricter": 1}
    assert not found.unplayable


def test_what_was_cut_out_of_a_result_is_not_decided_again(tmp_path: Path) -> None:
    with lined(tmp_path, ON) as rig:
        rig.server.replies["tools/call"] = result(f"the card is {CARD}")
        rig.call("lookup", {"order": 2})
        entries = rig.book.entries
    found = replayed(tmp_path / "data", entries, policy(tmp_path / "same", ON))

    assert found.unplayable == {"something was cut out of it before it was recorded": 1}
    assert found.unchanged == found.decisions - 1


def test_what_no_condition_asked_of_a_session_then_is_undecidable_to_one_that_asks_now(tmp_path: Path) -> None:
    with lined(tmp_path, ("money.till",)) as rig:
        rig.call("refund", {"order": 1, "amount": 50.0})  # its result taints
        rig.call("refund", {"order": 2, "amount": 50.0})
        rig.call("lookup", {"order": 2})
        entries = list(rig.book.entries)
    found = replayed(tmp_path / "data", entries, policy(tmp_path / "stricter", ("money.till", "shop.tainted")))

    assert found.by_clause["shop.tainted"] == {"undecidable": 2}
    assert found.unchanged == found.decisions - 2


def test_a_call_that_was_judged_on_its_session_is_judged_on_it_again(tmp_path: Path) -> None:
    clauses = ("money.limit", "shop.tainted")
    with lined(tmp_path, clauses) as rig:
        rig.call("refund", {"order": 1, "amount": 50.0})
        rig.call("refund", {"order": 2, "amount": 50.0})
        entries = list(rig.book.entries)
    found = replayed(tmp_path / "data", entries, policy(tmp_path / "same", clauses))

    assert [one["decision"] for one in entries if one.get("surface") == "tool_call"] == ["allow", "block"]
    assert found.unchanged == found.decisions
