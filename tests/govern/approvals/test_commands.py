"""What a person types: keys, approvals, stops; with a real store and a real ledger."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bylaw.cli.entry import run
from bylaw.govern.approvals import Approvals, Claim
from bylaw.govern.stops import Stops
from bylaw.ledger.writer import Ledger
from bylaw.store import database
from bylaw.store.approval_rows import Approval
from bylaw.store.watching import Watch
from tests.govern.approvals.scene import AGENT, CALL, OTHER_CALL, POLICY, asking


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BYLAW_KEY", raising=False)
    monkeypatch.delenv("BYLAW_STORE", raising=False)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    got = run([*arguments, "--json"])
    out = capsys.readouterr()
    if got != code:
        raise AssertionError(f"{arguments}: exit {got}: {out.err}{out.out}")
    return json.loads(out.out) if out.out else out.err


def request(call: Any = CALL, route: Any = "run") -> str:
    store = database.open()
    with Ledger(Path(".bylaw")) as ledger:
        found = Approvals(store, ledger.append).request(call, AGENT, asking(), route)
    store.close()
    if not isinstance(found, Approval):
        raise AssertionError(found)
    return found.id


@pytest.mark.slow
def test_a_person_with_a_key_lists_shows_and_approves(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    one = request()
    demo = said(capsys, "keys", "demo", "--role", "support-lead")
    listed = said(capsys, "approvals", "list")
    nobody = said(capsys, "approvals", "approve", one, code=2)
    wrong = said(capsys, "approvals", "approve", one, "--key", demo["requester"]["key"], code=1)
    monkeypatch.setenv("BYLAW_KEY", demo["approver"]["key"])
    liar = said(capsys, "approvals", "approve", one, "--as", "somebody", code=2)
    approved = said(capsys, "approvals", "approve", one, "--reason", "known customer", "--as", "demo-approver")
    again = said(capsys, "approvals", "deny", one, code=1)
    shown = said(capsys, "approvals", "show", one)

    assert [entry["id"] for entry in listed] == [one]
    assert "must show who they are" in nobody
    assert wrong["refused"] == "not_entitled"
    assert "demo-approver's, not somebody's" in liar
    assert (approved["state"], again["refused"]) == ("approved", "not_pending")
    assert shown == approved
    assert shown["what"] == CALL
    assert shown["answers"][0]["reason"] == "known customer"
    assert "claim" not in shown
    assert run(["ledger", "verify"]) == 0


@pytest.mark.slow
def test_a_no_at_the_command_line_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    one = request()
    key = said(capsys, "keys", "create", "--principal", "ann", "--role", "support-lead")["key"]
    denied = said(capsys, "approvals", "deny", one, "--key", key, "--reason", "no")
    revoked = said(capsys, "keys", "revoke", key.split("_")[1])
    after = said(capsys, "approvals", "approve", request(OTHER_CALL), "--key", key, code=2)

    assert (denied["state"], denied["said"]) == ("denied", "no")
    assert revoked["revoked_at"]
    assert "no longer good" in after
    assert said(capsys, "approvals", "list", "--state", "denied")[0]["id"] == one
    assert len(said(capsys, "approvals", "list", "--all")) == 2


@pytest.mark.slow
def test_a_doubt_is_settled_at_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    one = request()
    key = said(capsys, "keys", "create", "--principal", "ann", "--role", "support-lead")["key"]
    said(capsys, "approvals", "approve", one, "--key", key)
    store = database.open()
    with Ledger(Path(".bylaw")) as ledger:
        approvals = Approvals(store, ledger.append)
        claim = approvals.claim(one, CALL, AGENT, POLICY, asking, lambda: ())
        approvals.close()  # without saying how it ended
    store.close()
    settled = said(capsys, "approvals", "settle", one, "--did-not-run", "--reason", "not on the account", "--key", key)

    assert isinstance(claim, Claim)
    assert (settled["state"], settled["said"]) == ("failed", "not on the account")


@pytest.mark.slow
def test_what_is_shown_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    one = request({"tool": "mail", "args": {"to": "a\u202eb\u200bc\x1b[2J"}})
    capsys.readouterr()
    run(["approvals", "show", one])
    run(["approvals", "list"])
    out = capsys.readouterr().out

    assert r"a\u202eb\u200bc\u001b[2J" in out
    assert "1 of support-lead for money.refund-limit" in out
    assert not [char for char in out if not char.isprintable() and char != "\n"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["approvals", "show", "0" * 32], "there is no request"),
        (["approvals", "list", "--state", "odd"], "'odd' is no state"),
        (["approvals", "list", "--store", "mysql://x"], "not a kind of store"),
        (["approvals", "approve", "nonsense", "--key", "x"], "not known"),
        (["keys", "revoke", "x"], "there is no key 'x'"),
        (["keys", "create", "--principal", "a\nb"], "plain text"),
        (["stop", "--scope", "everything"], "no scope of a stop"),
        (["resume"], "nothing is stopped"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_what_next(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    database.open().close()
    code = run(arguments)
    err = capsys.readouterr().err

    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 2


@pytest.mark.parametrize(
    "arguments", [["stop"], ["stop", "--list"], ["stop", "--drill"], ["resume"], ["approvals", "list"], ["watch", "report"]]
)
def test_a_wrong_folder_stops_nobody_and_says_so(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code = run(arguments)
    err = capsys.readouterr().err

    assert code == 2
    assert "--data-dir" in err
    assert not Path(".bylaw").exists()


def test_a_stop_that_no_process_can_see_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    database.open().close()
    code = run(["stop"])

    assert code == 0
    assert "no process runs on this store now" in capsys.readouterr().out


@pytest.mark.slow
def test_stop_list_and_resume_at_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    database.open().close()
    said(capsys, "stop", "--scope", "tenant:acme", "--reason", "drill", "--as", "ops")
    said(capsys, "stop")
    listed = said(capsys, "stop", "--list")
    lifted = said(capsys, "resume")

    assert [one["scope"] for one in listed] == ["tenant:acme", "global"]
    assert listed[0]["stopped_by"] == "ops"
    assert ([one["scope"] for one in lifted["lifted"]], [one["scope"] for one in lifted["left"]]) == (["global"], ["tenant:acme"])
    assert run(["ledger", "verify"]) == 0


@pytest.mark.slow
def test_the_drill_at_the_command_line_says_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(database.open()) as store, closing(Watch(store)) as watch:
        Stops(watch)
        watch.start()
        for _ in range(5):  # the best of five: a pause of the machine is none of ours
            code = run(["stop", "--drill", "--json"])
            found = json.loads(capsys.readouterr().out)
            if code == 0:
                break
        run(["stop", "--drill"])
        told = capsys.readouterr().out

    assert (code, found["good"], found["alone"]) == (0, True, False)
    assert 0 < found["slowest_s"] <= 1
    assert len(set(found["processes"]) - {found["witness"]}) == 1
    assert told.count("(the drill's own)") == 1
    assert "2 processes, one of them the drill's own; limit 1000 ms" in told


@pytest.mark.slow
def test_a_drill_where_no_gateway_runs_says_so_and_is_not_good(capsys: pytest.CaptureFixture[str]) -> None:
    database.open().close()
    found = said(capsys, "stop", "--drill", code=1)
    code = run(["stop", "--drill"])
    told = capsys.readouterr().out

    assert (found["good"], found["alone"], list(found["processes"])) == (False, True, [found["witness"]])
    assert code == 1
    assert "(the drill's own)" in told
    assert "no gateway runs on this store: only the drill's own process was measured" in told
    assert "good" not in told


@pytest.mark.parametrize(
    ("limits", "warned"),
    [
        (["--budget", "5"], True),
        (["--budget", "5", "--price", "2.50/10"], False),
        (["--tokens-total", "5"], False),
    ],
)
def test_a_budget_in_money_without_a_price_is_warned_of(limits: list[str], warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    made = [run(["keys", "create", "--principal", "kim", *limits, *more]) for more in ([], ["--json"])]
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(": a new store")]

    assert made == [0, 0]
    assert len(lines) == 2 * warned
    assert all(line.startswith("warning: ") and "--price IN/OUT" in line and "403" in line for line in lines)


@pytest.mark.slow
def test_the_demo_keys_have_every_role_of_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = shutil.copytree(Path(__file__).parents[3] / "policies" / "refunds", tmp_path / "policy")
    page = next(path for path in sorted(policy.glob("*.md")) if "```yaml clause\n" in path.read_text())
    both = "```yaml clause\nrequires: [no-leak, no-injection]\nx-disagreement: {ask: [second-reader]}\n"
    page.write_text(page.read_text().replace("```yaml clause\n", both, 1))
    demo = said(capsys, "keys", "demo", "--policy", str(policy))

    assert {"support-lead", "second-reader"} <= set(demo["approver"]["roles"])
    assert [one["name"] for one in said(capsys, "keys", "list")] == ["demo: asks", "demo: approves"]
