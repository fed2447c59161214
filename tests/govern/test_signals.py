"""Signals: what is unlike its own history stands out, what has none does not, and reviewers are measured by what they catch."""

import math
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bylaw.cli.entry import run
from bylaw.evals.stats import wilson
from bylaw.govern import keys, watch
from bylaw.govern.approvals import Approvals
from bylaw.govern.engine import decide
from bylaw.govern.keys import Grant
from bylaw.govern.quorum import Person, Refused
from bylaw.govern.rulebook import Rulebook
from bylaw.govern.signals import Answered, Seen, rate, report, robust_z, spread
from bylaw.govern.watch import Proposal, Span
from bylaw.ledger import rotation
from bylaw.ledger.writer import Ledger
from bylaw.policy.parse import load
from bylaw.serve import live
from bylaw.store import database
from bylaw.store.approval_rows import Approval
from bylaw.types import Decision, Event
from tests.serve.rig import written
from tests.serve.test_processes_wiring import SECRET, listening

NOW_S = 1_800_000_000.0
ADMIN = Person("ops", ("admin",))


def seen(count: int, now: bool = False, effect: str = "allow", tool: str = "", amount: float | None = None, who: str = "kim") -> list[Seen]:
    return [Seen(now, who, tool, effect, {} if amount is None else {"amount": amount + at % 5}, "log#1") for at in range(count)]


def names(every: list[Seen], answers: list[Answered] | None = None) -> list[tuple[str, str]]:
    return [(one.name, one.subject) for one in report(every, answers or []).signals]


# ---- Pure ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_interval_is_wilsons(k: int, more: int) -> None:
    ours, theirs = rate(k, k + more), wilson(k, k + more)

    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_a_principal_that_is_refused_more_often_than_before_stands_out() -> None:
    before = seen(95) + seen(5, effect="block")
    same, worse = seen(19, now=True) + seen(1, now=True, effect="block"), seen(10, now=True) + seen(10, now=True, effect="block")

    assert names(before + same) == []
    assert names(before + worse) == [("refused", "principal kim")]


def test_what_has_too_little_history_raises_nothing_and_is_counted() -> None:
    found = report(seen(5) + seen(20, now=True, effect="block"), [])

    assert (found.signals, found.thin) == ((), 1)


def test_a_new_tool_stands_out_for_whoever_has_a_history() -> None:
    before, new = seen(30, tool="lookup"), seen(2, now=True, tool="refund")

    assert names(before + new) == [("new_tool", "kim calls refund")]
    assert names(before + seen(2, now=True, tool="refund", who="new one")) == []
    assert names(before + seen(2, now=True, tool="lookup")) == []


def test_an_argument_far_from_its_history_stands_out() -> None:
    before = seen(40, tool="refund", amount=20.0)

    assert names(before + seen(1, now=True, tool="refund", amount=23.0)) == []
    assert names(before + seen(1, now=True, tool="refund", amount=900.0)) == [("far", "kim calls refund with amount")]
    assert names(before + seen(1, now=True, tool="refund", amount=900.0, who="new one")) == [("far", "new one calls refund with amount")]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50), st.floats(allow_nan=False, allow_infinity=False)
)
@example([1.7e308, 1.7e308], 0.0)
def test_a_robust_z_is_no_less_than_nothing_and_zero_in_the_middle(history: list[float], value: float) -> None:
    at = spread(history)

    assert 0 <= robust_z(value, at) <= 1e6
    assert robust_z(at.middle, at) == 0


def test_a_reviewer_who_approves_all_within_seconds_stands_out() -> None:
    fast, slow = ([Answered("ann", True, seconds, False) for _ in range(25)] for seconds in (2, 60))
    unknown = [Answered("ann", True, None, False)] * 25

    assert names([], fast) == [("fatigue", "reviewer ann")]
    assert names([], slow) == names([], unknown) == []


def test_the_catch_rate_of_seeded_proposals_has_an_interval() -> None:
    caught = [Answered("ann", False, 30, True)] * 7 + [Answered("ann", True, 30, True)] * 3
    missed = [Answered("bob", True, 30, True)] * 8
    found = report([], caught + missed)

    assert (found.caught.k, found.caught.n) == (7, 18)
    assert 0 < found.caught.low < 7 / 18 < found.caught.high < 1
    assert [(one.person, one.caught.k, one.caught.n, one.approved.n) for one in found.reviewers] == [("ann", 7, 10, 0), ("bob", 0, 8, 0)]
    assert [(one.name, one.subject) for one in found.signals] == [("missed", "reviewer bob")]


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
    )
)
def test_numbers_are_found_in_any_json_and_are_finite(value: Any) -> None:
    assert all(math.isfinite(found) for _, found in watch.numbers(value))


# ---- From the records ------------------------------------------------------------------------------------------------


def recorded(data_dir: Path, now_s: float = NOW_S) -> None:
    """A history of small refunds, and a large one now."""
    with Ledger(data_dir) as ledger:
        for at in range(41):
            now = at == 40
            said = orjson.dumps({"order": 8, "amount": 9000.0 if now else 20.0 + at % 5})
            time_us = round((now_s - (60 if now else 5 * watch.DAY_S)) * 1e6) + at
            entry = {"kind": "decision", "surface": "tool_call", "decision": "allow", "principal": "kim", "tool": "refund", "time": time_us}
            ledger.append({**entry, "contents": {"args": said}})


@pytest.mark.slow
def test_a_signal_is_told_once_a_window_and_again_where_nobody_heard(tmp_path: Path) -> None:
    recorded(tmp_path)
    rotation.rotate(tmp_path)  # what was recorded under an earlier key is history too
    store, heard = database.open(tmp_path / "store.sqlite"), list[str]()

    def deaf(said: Any) -> str:
        return "nobody answers"

    def ring(said: Any) -> str:
        heard.append(said["data"]["subject"])
        return ""

    told = []
    for channel in (deaf, ring, ring):
        with Ledger(tmp_path) as ledger:
            told.append(watch.tell(watch.gather([tmp_path], store, Span(), NOW_S), [("hook", channel)], ledger.append, NOW_S))
    store.close()

    assert heard == ["kim calls refund with amount"]
    assert [(len(one.signals), one.faults) for one in told] == [(1, ("hook: nobody answers",)), (1, ()), (0, ())]


def test_a_seeded_proposal_executes_nothing_and_is_counted(tmp_path: Path) -> None:
    policy = load(written(tmp_path / "policy", ("money.limit",)))
    store, ledger = database.open(tmp_path / "store.sqlite"), Ledger(tmp_path)
    approvals = Approvals(store, ledger.append)
    wrong = Proposal("refund", {"order": 1, "amount": 8000.0}, "money.limit", "no such order", requester="kim")
    made = watch.seed(store, approvals, ledger.append, policy, wrong, ADMIN)
    lead = Person("lea", ("lead",))
    approvals.decide(made.id, lead, True, "fine", 3)
    what = made.what()
    allow = Decision("allow", (), (), policy.digest)
    claims = [
        approvals.claim(made.id, what, {"id": "kim", "tenant": "", "jurisdiction": place}, policy.digest, lambda: allow, lambda: ())
        for place in ("", "eu", "*")
    ]
    found = watch.gather([tmp_path], store, Span(), made.requested_at / 1000 + 60).report
    shown = approvals.find(["approved"])
    session = {"id": "s", "calls": [], "n_calls": 0, "sums": {"refund.amount": 0.0}, "taint": []}
    event = Event("tool_call", "refund", {"order": 1, "amount": 8000.0}, principal={"id": "kim"}, session=session)
    real = approvals.request(what, {"id": "kim"}, decide(event, Rulebook.load(policy)))
    approvals.close()
    ledger.close()
    store.close()

    assert all(isinstance(one, Refused) for one in claims)
    assert [one.requester for one in shown] == ["kim"]
    assert isinstance(real, Approval)
    assert [(one.clauses, one.needs, one.reason) for one in shown] == [(real.clauses, real.needs, real.reason)]  # nothing tells them apart
    assert [(one.person, one.caught.k, one.caught.n, one.median_s) for one in found.reviewers] == [("lea", 0, 1, 3.0)]


# ---- The commands ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_reports_and_alerts(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    recorded(tmp_path, time.time())
    where = ["--data-dir", str(tmp_path)]
    with listening(lambda body: {}) as desk:
        hook = f'ring: {{hosts: ["127.0.0.1"], webhooks: [{{url: "{desk.url}/x", secret_env: HOOK_SECRET, inside: true}}]}}\n'
        (tmp_path / "gateway.yaml").write_text(hook)
        codes = [run(["watch", "report", *more, *where]) for more in ([], ["--alert"], ["--alert"], ["--json"], ["--window", "soon"])]
    (tmp_path / "gateway.yaml").write_text(hook.replace(desk.url, "http://127.0.0.1:9"))
    (tmp_path / "none.yaml").write_text("run: x\n")
    codes += [run(["watch", "report", "--alert", "--window", more, *where]) for more in ("1d", "10s")]
    codes.append(run(["watch", "report", "--alert", "--config", str(tmp_path / "none.yaml"), *where]))
    said = capsys.readouterr()

    assert codes == [1, 1, 1, 1, 2, 1, 0, 2]
    assert "far       kim calls refund with amount: robust z" in said.out
    assert [one["data"]["signal"] for one in desk.got] == ["far"]


@pytest.mark.slow
def test_the_command_seeds_as_an_admin_only(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    store = database.open(tmp_path / "store.sqlite")
    with Ledger(tmp_path) as ledger:
        live.activate(store, ledger.append, written(tmp_path / "policy", ("money.limit", "money.never")), "tester", rails_of=live.no_judges)
        secrets = [keys.create(store, ledger.append, Grant(name, (role,)))[1] for name, role in (("ops", "admin"), ("ann", "approver"))]
    store.close()
    codes = []
    for secret, args, clause in (
        (secrets[0], '{"order": 1, "amount": 8000}', "money.limit"),
        (secrets[1], '{"order": 1, "amount": 8000}', "money.limit"),
        (secrets[0], "[1]", "money.limit"),
        (secrets[0], "{", "money.limit"),
        (secrets[0], "{}", "money.never"),
    ):
        monkeypatch.setenv("BYLAW_KEY", secret)
        codes.append(run(["watch", "seed", "refund", args, "--clause", clause, "--why", "no such order", "--data-dir", str(tmp_path)]))

    assert codes == [0, 2, 2, 2, 2]
    assert "waits for reviewers" in capsys.readouterr().out
