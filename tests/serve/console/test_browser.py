"""The console in a real browser: every action, by people of several roles, with text in it that wants to do harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types

from bylaw.govern import stops
from bylaw.serve import live
from bylaw.store.console_tables import LOGINS
from tests.serve.console.place import HOSTILE, Place
from tests.serve.test_serving import edited, until

pytestmark = pytest.mark.slow  # a browser takes seconds to start
Windows = Callable[..., Any]


def test_an_approver_signs_in_and_approves_with_a_reason(at: Place, window: Windows) -> None:
    waits = at.waiting(order=1)
    lead = window("lead")
    lead.page.click(f"a[href$='{waits}']")
    lead.page.fill("#reason", "seen the receipt")
    lead.page.click("text=Approve exactly this")
    lead.page.wait_for_selector("text=takes no more answers")
    released = at.ask("Refund it", authorization=f"Bearer {at.people['agent']}", x_bylaw_approval=waits)

    assert "lead said yes" in lead.words
    assert "seen the receipt" in lead.words
    assert b"640.0" in released.body


def test_it_is_signed_in_and_denied_with_the_keyboard_alone(at: Place, window: Windows) -> None:
    waits = at.waiting(order=2)
    lead = window("lead")
    lead.go(f"/approvals/{waits}")
    lead.page.focus("#reason")
    for key in ("n", "o", "Tab", "Tab", "Enter"):
        lead.page.keyboard.press(key)
    lead.page.wait_for_selector("text=takes no more answers")

    assert "lead said no" in lead.words


def test_what_wants_to_be_a_script_is_text(at: Place, window: Windows) -> None:
    waits = at.waiting(order=3, words=HOSTILE, session="hostile")
    lead, ops = window("lead"), window("ops")
    lead.go(f"/approvals/{waits}")
    seen = lead.words
    ops.go("/decisions?session=hostile")
    ops.page.click("a.row >> nth=0")
    ops.page.wait_for_selector("#contents")

    for one in (lead, ops):
        assert one.page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    assert "<script>alert(1)</script>" in seen
    assert "⟨U+202E⟩" in seen
    assert "⟨U+200B⟩" in seen
    assert "{{ 7*7 }}" in seen


def test_a_session_that_has_ended_does_nothing_and_says_so(at: Place, window: Windows) -> None:
    waits = at.waiting(order=4)
    lead = window("lead")
    lead.go(f"/approvals/{waits}")
    with at.store.writing() as connection:
        connection.execute(LOGINS.delete())
    lead.page.fill("#reason", "too late")
    lead.page.click("text=Approve exactly this")
    lead.page.wait_for_selector("#key")

    assert "Your session has ended, and nothing was done" in lead.words
    assert b'"pending"' in at.get(f"/api/approvals/{waits}", authorization=f"Bearer {at.people['lead']}").body


def test_a_form_with_another_token_does_nothing(at: Place, window: Windows) -> None:
    waits = at.waiting(order=5)
    lead = window("lead")
    lead.go(f"/approvals/{waits}")
    lead.page.evaluate("document.querySelectorAll('[name=csrf]').forEach(one => one.value = 'forged')")
    lead.page.fill("#reason", "forged")
    lead.page.click("text=Approve exactly this")
    lead.page.wait_for_selector("text=This did not work")

    assert "nothing was done" in lead.words
    assert b'"pending"' in at.get(f"/api/approvals/{waits}", authorization=f"Bearer {at.people['lead']}").body


def test_the_list_of_decisions_is_live_and_can_be_paused(at: Place, window: Windows) -> None:
    ops = window("ops")
    ops.go("/decisions?session=lively")
    none = ops.words
    at.says("Hello.", x_bylaw_session="lively")
    ops.page.wait_for_selector("tr a.row", timeout=60_000)
    ops.page.click("text=Pause")

    assert "No decision fits" in none
    assert "paused" in ops.words


def test_filters_narrow_the_list(at: Place, window: Windows) -> None:
    at.says("Your card is 4111 1111 1111 1111.", x_bylaw_session="filtered")
    at.says("Fine.", x_bylaw_session="filtered")
    ops = window("ops")
    ops.go("/decisions?session=filtered")
    every = ops.page.locator("tbody tr").count()
    ops.page.select_option("#f-decision", "redact")
    ops.page.click("text=Filter")
    ops.page.wait_for_url("**decision=redact**")

    assert (every, ops.page.locator("tbody tr").count()) == (2, 1)
    assert "privacy.card-numbers" in ops.page.inner_text("tbody")


def test_leaving_ends_the_session(at: Place, window: Windows) -> None:
    lead = window("lead")
    lead.page.click("text=Sign out")
    lead.page.wait_for_selector("#key")
    lead.go("/approvals")

    assert "Sign in" in lead.words


def test_without_the_script_everything_is_there(at: Place, window: Windows) -> None:
    waits = at.waiting(order=6)
    lead = window("lead", java_script_enabled=False)
    lead.page.click(f"a[href$='{waits}']")
    lead.page.fill("#reason", "no script needed")
    lead.page.click("text=Deny")
    lead.page.wait_for_selector("text=takes no more answers")

    assert "lead said no" in lead.words


def test_an_admin_stops_a_tool_lifts_it_and_runs_the_drill(at: Place, window: Windows) -> None:
    ops = window("ops")
    ops.go("/stop")
    ops.page.check("input[value=tool]")
    ops.page.fill("#name", "payments.refund")
    ops.page.fill("#why", HOSTILE)
    ops.page.check("input[name=sure]")
    ops.page.click("button.danger")
    ops.page.wait_for_selector("text=tool:payments.refund")
    stopped = [one.scope for one in stops.active(at.store)]
    ops.page.fill("td input[name=reason]", "over")
    ops.page.click("text=Lift >> nth=-1")
    ops.page.wait_for_selector("text=nothing is stopped")
    ops.page.click("text=Run the drill", timeout=90_000)
    ops.page.wait_for_selector("text=The limit is", timeout=90_000)

    assert stopped == ["tool:payments.refund"]
    assert "saw it after" in ops.words
    assert ops.words.count("(the drill's own)") == 1


def test_an_admin_sees_what_has_changed_and_rolls_back(at: Place, window: Windows, tmp_path: Path) -> None:
    first = live.history(at.store)[-1]["digest"]
    live.activate(at.store, at.ledger.append, edited(tmp_path / "next", "200 EUR", "150 EUR"), "tester", "a test")
    ops = window("ops")

    def there(version: str) -> bool:
        ops.go("/policy")
        return version in str(ops.page.inner_text("h1"))

    until(lambda: there("1.4.0"))
    ops.page.click("text=What has changed since >> nth=0")
    changed = ops.words
    ops.go("/policy")
    ops.page.click("summary:has-text('Roll back')")
    ops.page.check("input[name=sure]")
    ops.page.click("button:has-text('Roll back')")
    until(lambda: there("1.3.0"))

    assert "money.refund-limit" in changed
    assert live.history(at.store)[-1]["digest"] == first
    assert "ops" in ops.page.inner_text("table >> nth=1")


def test_an_admin_verifies_the_ledger(at: Place, window: Windows) -> None:
    ops = window("ops")
    ops.go("/ledger")
    ops.page.click("text=Verify every entry now")
    ops.page.wait_for_selector("text=All holds")

    assert "signature does not hold" not in ops.words


def test_a_viewer_is_offered_nothing_to_do(at: Place, window: Windows) -> None:
    vera = window("vera")
    seen = []
    for path in ("/decisions", "/rates", "/ledger", "/policy", "/debt", "/stop"):
        vera.go(path)
        seen += vera.page.eval_on_selector_all("form[method=post]", "all => all.map(one => one.action)")
    menu = vera.page.inner_text("nav").split()

    assert {one.rpartition("/console")[2] for one in seen} == {"/logout"}
    assert menu == ["Decisions", "Rates", "Ledger", "Policy", "Debt", "Stop"]


def test_a_call_is_edited(at: Place, window: Windows) -> None:
    waits = at.waiting(order=7)
    lead = window("lead")
    lead.go(f"/approvals/{waits}")
    lead.page.click("text=Ask for other arguments instead")
    lead.page.fill("#args0", '{"order": 7, "amount": 300}')
    lead.page.fill("#why0", "half of it")
    lead.page.click("text=Ask for this instead")
    lead.page.wait_for_selector("text=You cannot answer this")

    assert waits not in lead.page.url
    assert "300" in lead.words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_a_phone(at: Place, window: Windows, scheme: str, tmp_path: Path) -> None:
    if len(live.history(at.store)) == 1:  # so that there are two versions to compare
        live.activate(at.store, at.ledger.append, edited(tmp_path / "next", "200 EUR", "150 EUR"), "tester", "a test")
    waits = at.waiting(order=8 if scheme == "light" else 9, words=HOSTILE, session="axe")
    at.says("Your card is 4111 1111 1111 1111.")
    stops.stop(at.store, at.ledger.append, "tenant:none", "tester", "for the look of it")
    record = next(f"{one['log']}#{one['index']}" for one in at.desk_entries("decision") if one["surface"] == "tool_call")
    digest = live.history(at.store)[0]["digest"]
    ada, found, wide = window(color_scheme=scheme, viewport={"width": 360, "height": 760}), [], []
    passed, rules = 0, {"runOnly": ["color-contrast"]} if scheme == "dark" else None  # in the dark all else is the same
    why, compare = f"/why?record={quote(record, safe='')}", f"/policy/compare?old={digest}&new={live.history(at.store)[1]['digest']}"
    lists = ["/login", "/approvals", "/approvals?state=all", f"/approvals/{waits}", "/decisions", why, "/rates", "/ledger"]
    for path in [*lists, "/policy", "/policy/clause?id=money.refund-limit", compare, "/debt", "/stop", "/nowhere"]:
        ada.go(path)
        report = Axe().run(ada.page, options=rules).response
        passed += len(report["passes"])
        found += [
            (path, one["id"], one["nodes"][0]["html"][:200]) for one in report["violations"] if one["impact"] in ("serious", "critical")
        ]
        wide += [path] if ada.page.evaluate("document.documentElement.scrollWidth") > 360 else []
        if path == "/login":
            ada.enter("ada")
    vera = window("vera", color_scheme=scheme, viewport={"width": 320, "height": 640})  # names of fields stand there, without values
    for path in (why, "/rates", "/stop"):
        vera.go(path)
        wide += [f"{path} for a viewer"] if vera.page.evaluate("document.documentElement.scrollWidth") > 320 else []
    stops.resume(at.store, at.ledger.append, "tenant:none", "tester", "")

    assert found == []
    assert wide == []
    assert passed >= 14 if rules else passed > 200  # else nothing was looked at
