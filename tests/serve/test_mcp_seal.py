"""Sealed state cannot be replayed, altered, kept too long, or used for anything or by anybody else."""

import base64
from pathlib import Path
from typing import Any

import pytest

from bylaw.serve.live import ready
from bylaw.serve.mcp_seal import BEGINS, Seal, Unsealed
from bylaw.store import database
from tests.serve.mcp_rig import OTHER, YES, lined, policy, text
from tests.serve.rig import law

LARGE = {"order": 2, "amount": 500.0}
BACK: dict[str, Any] = {"inputResponses": {"bylaw-approval": YES}}


def test_a_state_that_was_used_is_refused(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        first = rig.call("refund", LARGE, requestState=state, **BACK)
        again = rig.call("refund", LARGE, requestState=state, **BACK)
        sent = rig.server.calls

    assert text(first) == "done"
    assert "used before" in again["message"]
    assert len(sent) == 1


def test_a_no_that_was_given_is_not_made_a_yes_with_the_same_state(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        rig.call("refund", LARGE, requestState=state, inputResponses={"bylaw-approval": {"action": "cancel"}})
        again = rig.call("refund", LARGE, requestState=state, **BACK)
        sent = rig.server.calls

    assert "used before" in again["message"]
    assert sent == []


def test_a_state_with_any_one_letter_altered_is_refused(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        altered = [
            state[:at] + ("A" if state[at] != "A" else "B") + state[at + 1 :] for at in (*range(len(BEGINS), len(state), 7), len(state) - 1)
        ]
        refused = [rig.call("refund", LARGE, requestState=one, **BACK) for one in altered]
        sent = rig.server.calls

    assert all("requestState is refused" in one["message"] for one in refused)
    assert sent == []


@pytest.mark.parametrize(
    ("tool", "args"), [("refund", {**LARGE, "amount": 500.01}), ("refund", {**LARGE, "order": 3}), ("refund", {**LARGE, "extra": 1})]
)
def test_a_state_is_good_for_no_other_arguments(tmp_path: Path, tool: str, args: dict[str, object]) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        refused = rig.call(tool, args, requestState=state, **BACK)
        sent = rig.server.calls

    assert refused.get("isError") or "another arguments" in refused["message"]
    assert sent == []


def test_a_state_is_good_for_no_other_principal(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        refused = rig.call("refund", LARGE, line=rig.as_(OTHER), requestState=state, **BACK)
        still = rig.call("refund", LARGE, requestState=state, **BACK)

    assert "another principal" in refused["message"]
    assert text(still) == "done"


def test_a_state_is_good_under_no_other_policy(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        rig.laws.append(law(policy(tmp_path / "next", ("money.limit", "money.never"))))
        refused = rig.call("refund", LARGE, requestState=state, **BACK)
        sent = rig.server.calls

    assert "another policy" in refused["message"]
    assert sent == []


def test_a_state_ends(tmp_path: Path) -> None:
    now = [1_000.0]
    with lined(tmp_path) as rig:
        store = database.open(tmp_path / "store.sqlite")
        seal = Seal(tmp_path, store, lambda: now[0])
        state = seal.closed("tools/call", {"principal": "agent"}, 600)
        opened = seal.opened("tools/call", state, {"principal": "agent"})
        now[0] += 600
        with pytest.raises(Unsealed, match="past its time"):
            seal.opened("tools/call", state, {"principal": "agent"})
        store.close()
        assert rig.server.calls == []

    assert opened["principal"] == "agent"


def test_a_state_of_another_place_does_not_open(tmp_path: Path) -> None:
    with lined(tmp_path / "one") as one, lined(tmp_path / "two") as two:
        state = one.call("refund", LARGE)["requestState"]
        refused = two.call("refund", LARGE, requestState=state, **BACK)

    assert "not one of ours" in refused["message"]


def test_nothing_of_what_is_sealed_can_be_read(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"].removeprefix(BEGINS)

    content = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
    assert b"agent" not in content
    assert b"refund" not in content


def test_a_call_that_a_changed_policy_lets_through_needs_no_state_any_more(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        state = rig.call("refund", LARGE)["requestState"]
        rig.laws.append(ready(policy(tmp_path / "real", ("money.never",))).law({"id": "agent"}))
        result = rig.call("refund", LARGE, requestState=state, **BACK)
        sent = rig.server.calls

    assert text(result) == "done"
    assert "requestState" not in sent[0]
