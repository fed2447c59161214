"""The console in a real browser: every action, by people of several roles, with text in it that wants to do harm."""

from collections.abc import Callable
from typing import Any

import pytest

from bylaw.store.console_tables import LOGINS
from tests.serve.console.place import HOSTILE, Place

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
    ops.page.wait_for_selector("tr a.row", timeout=8_000)
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
