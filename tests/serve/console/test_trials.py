"""Policies on trial in the console over HTTP: who sees them, who ends them, and what a form must carry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bylaw.govern.canary import Terms
from bylaw.serve import live, trials
from bylaw.store import trial_rows
from bylaw.store.trial_rows import Count, Trial
from tests.serve.console.place import HOSTILE, Place, signed_in
from tests.serve.test_serving import edited, unguarded, until

pytestmark = pytest.mark.slow


@pytest.fixture
def canary(at: Place, tmp_path: Path) -> Iterator[Trial]:
    terms = Terms(50, ("ana",), window_s=7_200)
    unguarded(at, tmp_path / "unguarded")
    yield trials.begin(
        at.store, at.ledger.append, edited(tmp_path / "c", "200 EUR", "150 EUR", "1.5.0"), trials.new("canary", HOSTILE[:60], terms)
    )
    if any(one.state == "running" for one in trial_rows.listed(at.store, "canary")):
        trials.stop(at.store, at.ledger.append, "canary", "tester")


@pytest.mark.slow
def test_the_policys_page_says_whom_a_canary_decides_for_what_it_has_counted_and_when_it_ends(at: Place, canary: Trial) -> None:
    trial_rows.put(at.store, canary.id, "writer", {trials.CANDIDATE: Count(8, 3), trials.BASELINE: Count(90, 4)})
    page = signed_in(at, "vera").get("/policy")

    for words in ("5 % of principals, ana", "3 of 8 refused", "4 of 90 refused", "the next when both sides have 20", "more than 5 points"):
        assert words in page.words
    assert "<script>alert" not in page.text
    assert "/policy/trial" not in page.text  # a viewer ends nothing


@pytest.mark.slow
def test_an_admin_stops_a_canary_once_and_the_ledger_says_who(at: Place, canary: Trial) -> None:
    client = signed_in(at, "ops")
    form = {"kind": "canary", "trial": str(canary.id)}
    done, again = client.post("/policy/trial/stop", form), client.post("/policy/trial/stop", form)
    entry = next(one for one in at.desk_entries("policy") if one["facts"]["step"] == "canary stopped")

    assert (done.status, again.status) == (303, 409)
    assert "does not run any more" in again.words
    assert (entry["principal"], entry["facts"]["why"]) == ("ops", "by ops")
    assert "canary 1.5.0" in signed_in(at, "vera").get("/policy").words.lower()


@pytest.mark.parametrize("path", ["/policy/trial/stop", "/policy/trial/promote"])
def test_nobody_but_an_admin_with_the_forms_token_and_the_trial_of_the_page_ends_it(at: Place, canary: Trial, path: str) -> None:
    form = {"kind": "canary", "trial": str(canary.id), "sure": "yes"}
    ops = signed_in(at, "ops")
    found = [
        signed_in(at, "vera").post(path, form),
        signed_in(at, "lead").post(path, form),
        ops.post(path, {**form, "csrf": "forged"}),
        ops.post(path, form, origin="https://evil.example"),
        ops.post(path, {**form, "trial": str(canary.id + 1)}),
        ops.post(path, {**form, "kind": "tiger", "sure": "no"}),
    ]

    assert [one.status for one in found] == [403, 403, 403, 403, 409, 400]
    assert trial_rows.listed(at.store, "canary")[0].state == "running"


def test_a_shadow_says_what_it_would_have_done_with_an_example_and_is_stopped(at: Place, tmp_path: Path) -> None:
    folder = edited(tmp_path / "s", "200 EUR", "120 EUR", "1.6.0")
    one = trials.begin(at.store, at.ledger.append, folder, trials.new("shadow", "kim"))
    counts = {"money.refund-limit|stricter": Count(3, 0, "log/1#7"), trials.SEEN: Count(9), trials.SAME: Count(6)}
    trial_rows.put(at.store, one.id, "writer", {**counts, f"{trials.UNPLAYABLE}its content was deleted": Count(2)})
    ops = signed_in(at, "ops")
    page = ops.get("/policy")
    done = ops.post("/policy/trial/stop", {"kind": "shadow", "trial": str(one.id)})

    assert "9 decisions seen, 6 unchanged" in page.words
    assert "money.refund-limit stricter 3 Why" in page.words
    assert "2 (its content was deleted)" in page.words
    assert "/why?record=log/1%237" in page.text
    assert (done.status, trial_rows.listed(at.store, "shadow")[0].state) == (303, "stopped")


def test_an_admin_promotes_a_canary_and_it_holds_for_everybody(at: Place, canary: Trial) -> None:
    ops = signed_in(at, "ops")
    unsure = ops.post("/policy/trial/promote", {"trial": str(canary.id)})
    done = ops.post("/policy/trial/promote", {"trial": str(canary.id), "sure": "yes"})
    until(lambda: "1.5.0" in ops.get("/policy").text.partition("</h1>")[0])

    assert (unsure.status, done.status) == (400, 303)
    assert live.history(at.store)[-1]["digest"] == canary.digest
    assert trial_rows.listed(at.store, "canary")[0].state == "promoted"
