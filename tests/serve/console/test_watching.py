"""What the console shows of the gateway: rates, the ledger, the policy and its versions, the debt; and how it stops and goes back."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern import stops
from bylaw.serve import live
from bylaw.serve.console import debts, plots, rates
from bylaw.serve.door import NotIn
from bylaw.serve.wiring import read
from tests.serve.console.place import NONE, RATE, Place, place, signed_in
from tests.serve.test_serving import WITHIN_S, best, edited, until

# ---- Stops ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_admin_stops_a_tool_and_lifts_it(at: Place) -> None:
    ops = signed_in(at, "ops")
    made = ops.post("/stop", {"kind": "tool", "name": "payments.refund", "reason": "fraud <b>", "sure": "yes"})
    listed = signed_in(at, "vera").get("/stop")
    lifted = ops.post("/stop/lift", {"scope": "tool:payments.refund", "reason": "over"})

    assert (made.status, lifted.status) == (303, 303)
    assert "tool:payments.refund fraud <b> ops" in listed.words
    assert "fraud <b>" not in listed.text
    assert stops.active(at.store) == []


@pytest.mark.slow
def test_everything_is_stopped_within_a_second(at: Place) -> None:
    ops = signed_in(at, "ops")
    at.speaker.replies.clear()

    def trial() -> tuple[float]:
        ops.post("/stop", {"kind": "global", "name": "", "reason": "", "sure": "yes"})
        took = until(lambda: at.ask(authorization=f"Bearer {at.people['agent']}").headers.get("x-bylaw-decision") == "stop")
        ops.post("/stop/lift", {"scope": "global", "reason": "over"})
        return (took,)

    assert best(trial) < WITHIN_S
    assert stops.active(at.store) == []


@pytest.mark.slow
@pytest.mark.parametrize("form", [
    {"kind": "global", "name": ""},
    {"kind": "tool", "name": "", "sure": "yes"},
    {"kind": "drill", "name": "x", "sure": "yes"},
    {"kind": "global", "name": "payments", "sure": "yes"},
    {"kind": "tool", "name": "a\nb", "sure": "yes"},
])  # fmt: skip
def test_a_stop_that_is_not_clear_stops_nothing_and_stays_in_the_form(at: Place, form: dict[str, str]) -> None:
    found = signed_in(at, "ops").post("/stop", {"reason": "cards are stolen", **form})

    assert found.status == 400
    assert "nothing was stopped" in found.words
    assert 'value="cards are stolen"' in found.text
    assert ('name="kind" value="tool" required checked' in found.text) == (form["kind"] == "tool")
    assert stops.active(at.store) == []


@pytest.mark.slow
def test_a_name_that_is_not_taken_stays_as_it_was_typed(at: Place) -> None:
    found = signed_in(at, "ops").post("/stop", {"kind": "principal", "name": "ann\u200b", "sure": "yes", "reason": "x" * 2001})

    assert 'value="ann\u200b"' in found.text  # with the character's number in its place it would be another name
    assert "x" * 2001 in found.text
    assert stops.active(at.store) == []


@pytest.mark.parametrize("path", ["/stop", "/stop/lift", "/stop/drill", "/policy/rollback", "/ledger/verify"])
@pytest.mark.parametrize("name", ["vera", "lead"])
def test_only_an_admin_acts(at: Place, path: str, name: str) -> None:
    form = {"kind": "global", "name": "", "sure": "yes", "scope": "global", "digest": "x", "seen": "y"}
    found = signed_in(at, name).post(path, form)

    assert found.status == 403
    assert stops.active(at.store) == []


# ---- Policies ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_versions_are_compared_clause_by_clause_and_an_admin_rolls_back(at: Place, tmp_path: Path) -> None:
    first = live.history(at.store)[-1]["digest"]
    live.activate(at.store, at.ledger.append, edited(tmp_path / "next", "200 EUR", "150 EUR"), "tester", "a test")
    ops = signed_in(at, "ops")
    until(lambda: "1.4.0" in ops.get("/policy").words.partition("in force")[0])
    second = live.history(at.store)[-1]["digest"]
    page = ops.get("/policy").words
    compared = ops.get(f"/policy/compare?old={first}&new={second}")
    stale = ops.post("/policy/rollback", {"digest": first, "seen": first, "sure": "yes"})
    unsure = ops.post("/policy/rollback", {"digest": first, "seen": second})
    unknown = ops.post("/policy/rollback", {"digest": "sha256:" + "0" * 64, "seen": second, "sure": "yes"})
    done = ops.post("/policy/rollback", {"digest": first, "seen": second, "sure": "yes"})
    until(lambda: "1.3.0" in ops.get("/policy").words.partition("in force")[0])

    assert "Put in force by tester although signatures were missing: a test" in page
    assert "money.refund-limit" in compared.words
    assert "<del>200</del><ins>150</ins>" in compared.text
    assert (stale.status, unsure.status, unknown.status, done.status) == (409, 400, 503, 303)
    assert [one["by"] for one in live.history(at.store)] == ["tester", "tester", "ops"]
    assert live.history(at.store)[-1]["digest"] == first


@pytest.mark.slow
def test_what_was_asked_for_under_another_policy_can_be_denied_and_is_not_offered_for_approval(at: Place, tmp_path: Path) -> None:
    before = live.history(at.store)[-1]["digest"]
    waits = at.waiting(order=77)
    lead = signed_in(at, "lead")
    offered = lead.get(f"/approvals/{waits}")
    made, _ = live.activate(at.store, at.ledger.append, edited(tmp_path / "next", "200 EUR", "155 EUR", "1.4.1"), "tester", "a test")
    until(lambda: "has changed since" in lead.get(f"/approvals/{waits}").words)
    page = lead.get(f"/approvals/{waits}")
    live.put_back(at.store, at.ledger.append, before, "tester", made.digest)
    until(lambda: "has changed since" not in lead.get(f"/approvals/{waits}").words)

    assert "Approve exactly this" in offered.words
    assert "Approve exactly this" not in page.words
    assert "Deny" in page.words


def test_a_clause_has_a_page_and_one_that_is_not_there_has_none(at: Place) -> None:
    vera = signed_in(at, "vera")
    there, gone = vera.get("/policy/clause?id=money.refund-limit"), vera.get("/policy/clause?id=<script>")

    assert "Refunds above 200 EUR" in there.words
    assert (there.status, gone.status, vera.get("/policy/compare?old=x&new=y").status) == (200, 404, 404)


# ---- The ledger ----------------------------------------------------------------------------------------------------------


def test_the_ledger_says_that_its_signatures_hold_and_every_entry_is_verified(at: Place) -> None:
    at.says("Fine.")
    shown, verified = signed_in(at, "vera").get("/ledger"), signed_in(at, "ops").post("/ledger/verify")

    assert "takes entries" in shown.words
    assert "signature holds" in shown.words
    assert "does not hold" not in shown.words
    assert "All holds" in verified.words


@pytest.mark.slow
def test_an_entry_that_was_edited_is_found(tmp_path: Path) -> None:
    with place(tmp_path) as at:
        at.says("Fine.")
        ops = signed_in(at, "ops")
        with sqlite3.connect(next(one for one in (tmp_path / "ledger").glob("*.sqlite"))) as db:
            (leaf,) = db.execute("SELECT leaf FROM ledger_leaves WHERE at=0").fetchone()
            db.execute("UPDATE ledger_leaves SET leaf=? WHERE at=0", (leaf.replace(b'"kind":"', b'"kind":"x', 1),))
        db.close()
        found = ops.post("/ledger/verify")

    assert "Something does not hold" in found.words


# ---- Decisions -----------------------------------------------------------------------------------------------------------


def test_decisions_go_on_page_after_page_until_there_are_no_more(at: Place) -> None:
    for number in range(3):
        at.ledger.append({"kind": "decision", "decision": "block", "surface": "output", "principal": "rare", "clauses": [f"old.{number}"]})
    for _ in range(150):
        at.ledger.append({"kind": "decision", "decision": "allow", "surface": "output", "principal": "much"})
    vera = signed_in(at, "vera")
    rare, first = vera.get("/decisions?principal=rare"), vera.get("/decisions?principal=much")
    link = re.search(r'href="/console(/decisions[?][^"]*before=[^"]*)">Earlier ones', first.text)
    assert link is not None
    second, wrong = vera.get(unescape(link[1])), vera.get("/decisions?before=x")

    assert "old.0" in rare.words
    assert "Earlier ones" not in rare.words
    assert [len(re.findall(r">why<", one.text)) for one in (first, second)] == [100, 50]
    assert "Back to the newest" in second.words
    assert "data-live" not in second.text
    assert wrong.status == 400


# ---- Rates ---------------------------------------------------------------------------------------------------------------


def test_rates_count_what_was_decided_by_clause(at: Place) -> None:
    before = Counter(clause for one in at.desk_entries("decision") for clause in one["clauses"])["privacy.card-numbers"]
    for _ in range(3):
        at.says("Your card is 4111 1111 1111 1111.")
    dirs, end = [at.data_dir], int(time.time()) // 300 * 300 + 300
    found = rates.counted(dirs, rates.PERIODS["hour"], end)
    page = signed_in(at, "vera").get("/rates?over=hour")

    assert sum(sum(one.values()) for one in found.clauses["privacy.card-numbers"]) == before + 3
    assert f"privacy.card-numbers in the last hour: {before + 3} redact" in page.text


@given(st.lists(st.dictionaries(st.sampled_from(["allow", "block"]), st.integers(0, 10**6)), max_size=30))
def test_bars_stay_in_their_frame(counts: list[dict[str, int]]) -> None:
    drawn = plots.bars(counts, ("allow", "block"), [], "said")
    heights = [float(one.partition('height="')[2].partition('"')[0]) for one in drawn.split("<rect ")[1:]]

    assert all(0 <= one <= plots.HEIGHT for one in heights)
    assert plots.ceiling(max((sum(one.values()) for one in counts), default=0)) >= max((sum(one.values()) for one in counts), default=0)


# ---- The debt ------------------------------------------------------------------------------------------------------------


def test_the_debt_says_who_holds_each_clause(at: Place) -> None:
    page = signed_in(at, "vera").get("/debt").words
    rows = {
        one: page.partition(f" {one} the model")[2][:260]
        for one in ("money.refund-limit", "advice.legal", "security.injection", "honesty.machine")
    }

    assert "right 90 % (80–95), n = 60" in rows["money.refund-limit"]
    assert "before: right" not in rows["money.refund-limit"]
    assert "model and gate" in rows["money.refund-limit"]
    assert "not measured" in rows["advice.legal"]
    assert "nobody" in rows["advice.legal"]
    assert "gate only" in rows["security.injection"]
    assert "model only" in rows["honesty.machine"]
    assert "The run measured policy 000000000000" in page


def test_a_run_of_eval_is_read_too(tmp_path: Path) -> None:
    suites = {"one": {"all": {}, "a.b": {"resist": RATE}}, "two": {"a.b": {"resist": {**RATE, "n": 99}, "exact": NONE}}}
    (tmp_path / "results.json").write_text(json.dumps({"schema": 2, "target": "t", "policy": "sha256:1", "suites": suites}))

    assert debts.read(tmp_path).cells["a.b"] == {"resist": debts.Rate(0.9, 0.8, 0.95, 99)}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"arms": {}}', '{"suites": 1}', "[" * 100_000])
def test_results_that_cannot_be_read_are_said_to_be_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)

    with pytest.raises(NotIn, match="no results that can be read"):
        debts.read(tmp_path)


def test_the_run_stands_in_the_gateways_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("run: runs/demo\n")

    assert read(tmp_path / "gateway.yaml").run == Path("runs/demo")


# ---- Weight --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_console_loads_when_somebody_opens_it_and_not_before() -> None:
    code = "import sys, bylaw.serve.start, bylaw.serve.admin; print([one for one in sys.modules if 'jinja2' in one or 'console.' in one])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
