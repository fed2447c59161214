"""What a call brings its server besides its arguments is approved with them, seen by whoever approves, and sent as it was seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from bylaw.canonical import canonical
from bylaw.serve.console.approving import calls_of
from tests.serve.mcp_rig import LENA, SHOP, YES, User, lined, text

LARGE = {"order": 2, "amount": 500.0}
THEIRS: dict[str, Any] = {"requestState": "theirs", "inputResponses": {"q": {"action": "accept", "content": {"to": "lena"}}}}
EVIL: dict[str, Any] = {"inputResponses": {"q": {"action": "accept", "content": {"to": "mallory"}}}}


@pytest.mark.parametrize("other", [{**THEIRS, "requestState": "evil"}, {**THEIRS, **EVIL}, {"requestState": "theirs"}, {}])
def test_an_approval_is_good_for_no_other_state_and_no_other_answers(tmp_path: Path, other: dict[str, Any]) -> None:
    with lined(tmp_path, keyboard=False) as rig:
        approval = rig.call("refund", LARGE, **THEIRS)["_meta"]["bylaw"]["approval"]
        rig.approvals.decide(approval, LENA, True)
        refused = rig.call("refund", LARGE, **other)
        before = list(rig.server.calls)
        result = rig.call("refund", LARGE, **THEIRS)
        sent = rig.server.calls

    assert text(refused).startswith("pending approval")
    assert approval not in text(refused)
    assert before == []
    assert text(result) == "done"
    assert {key: sent[0][key] for key in THEIRS} == THEIRS


def test_whoever_approves_sees_what_goes_to_the_server(tmp_path: Path) -> None:
    with lined(tmp_path, keyboard=False) as rig:
        rig.call("refund", LARGE, **THEIRS)
        asked = rig.approvals.find()[0]
    rows = dict(calls_of(asked)[0]["args"])

    assert {key: asked.what()[key] for key in THEIRS} == THEIRS
    assert (rows["requestState"], json.loads(rows["inputResponses"])) == ("theirs", THEIRS["inputResponses"])


def test_a_call_without_either_is_the_call_it_always_was(tmp_path: Path) -> None:
    with lined(tmp_path, keyboard=False) as rig:
        rig.call("refund", LARGE)
        asked = rig.approvals.find()[0]

    assert asked.subject == canonical({"server": "shop", "tool": "refund", "args": LARGE})


@pytest.mark.parametrize("modern", [True, False])
def test_a_form_shows_it_and_what_was_shown_is_sent(tmp_path: Path, modern: bool) -> None:
    with lined(tmp_path) as rig:
        user = User(modern=modern, answers=[YES])
        asked = rig.call("refund", LARGE, user, **THEIRS)
        if modern:
            message = asked["inputRequests"]["bylaw-approval"]["params"]["message"]
            asked = rig.call(
                "refund", LARGE, requestState=asked["requestState"], inputResponses={"bylaw-approval": YES, **EVIL["inputResponses"]}
            )
        else:
            message = user.asked[0]["message"]
        sent = rig.server.calls

    assert text(asked) == "done"
    assert '"to":"lena"' in message
    assert 'requestState "theirs"' in message
    assert [{key: call[key] for key in THEIRS} for call in sent] == [THEIRS]


def test_nobody_is_asked_at_the_keyboard_about_more_than_can_be_sealed_in(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:
        result = rig.call("refund", LARGE, requestState="\u6c34" * 3_900)

    assert text(result).startswith("pending approval")


def test_reading_waits_for_exactly_what_is_sent_too(tmp_path: Path) -> None:
    with lined(tmp_path, [name for name in SHOP if name != "shop.reads"], keyboard=False) as rig:
        said = [rig.ask("resources/read", {"uri": "shop://hours", "requestState": state}) for state in ("one", "two", "one")]
        asked = [one["error"]["data"]["bylaw"]["approval"] for one in said]

    assert asked[0] == asked[2]
    assert asked[0] != asked[1]
