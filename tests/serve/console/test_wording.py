"""What pages say in words: names, limits, and numbers of things."""

from types import SimpleNamespace
from typing import Any

import pytest

from bylaw.serve.console import showing
from bylaw.serve.console.page import environment
from tests.serve.console.place import Place, signed_in


def test_a_name_may_go_on_at_its_at_sign_and_is_escaped_like_all_text() -> None:
    assert showing.named("ann@refunds.example") == "ann<wbr>@refunds.example"
    assert showing.named("<b>\u202e@x") == "&lt;b&gt;⟨U+202E⟩<wbr>@x"
    assert showing.named("ops") == "ops"


@pytest.mark.parametrize(("entries", "said"), [(11, "1 entry since"), (12, "2 entries since")])
def test_entries_since_a_checkpoint_are_counted_in_grammar(entries: int, said: str) -> None:
    head = {"fault": "", "size": 10, "root": "0" * 64, "note": "n"}
    log = {"name": "x", "fault": "", "entries": entries, "last": "", "head": head, "published": head}
    visitor = SimpleNamespace(may=("read",), name="vera", csrf="")
    values: dict[str, Any] = {"visitor": visitor, "at": "/ledger", "notice": "", "alert": "", "report": None, "faults": [], "healthy": True}
    page = environment().get_template("ledger.html").render(**values, logs=[log], most=1)

    assert f'<span class="dim">{said}</span>' in page


def test_what_a_release_must_reach_is_said_in_words(at: Place) -> None:
    page = signed_in(at, "vera").get("/policy/clause?id=money.refund-limit")

    assert "resist at least 99 % of what is forbidden; refuse at most 2 % of what is allowed" in page.words


def test_a_record_for_both_says_what_was_decided_on_the_request(at: Place) -> None:
    at.says("Hello.", x_bylaw_session="both")
    one = next(one for one in at.desk_entries("decision") if one["session"] == "both")
    page = signed_in(at, "vera").get(f"/why?record={one['log']}%23{one['index']}")

    assert one["facts"]["input"] == "allow"
    assert "input allow (what was decided on the request, which has no entry of its own)" in page.words
