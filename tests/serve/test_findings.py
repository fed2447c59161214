"""Findings: reported by users, testers and the public, triaged step by step, and taken into a suite as candidates."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from bylaw.cli.entry import run
from bylaw.errors import LedgerError
from bylaw.evals import suite_files
from bylaw.govern import findings as room
from bylaw.govern import keys
from bylaw.govern.findings import NEXT, Change, Findings, NotTaken, Report
from bylaw.govern.keys import Grant
from bylaw.govern.quorum import Person
from bylaw.ledger.writer import Ledger
from bylaw.serve import live
from bylaw.serve.lookout import FindingsFrom, Lookout
from bylaw.serve.wiring import Wiring
from bylaw.store import database
from bylaw.store.database import Store
from bylaw.store.finding_rows import FINDING_STATES, Found
from bylaw.store.finding_tables import FINDINGS
from tests.serve.recorded import recent
from tests.serve.rig import Book, post, written
from tests.serve.test_serving import Served, until
from tests.serve.test_watched import watched

ANN = Person("ann", ("approver",), "")
OPEN = Wiring(lookout=Lookout(findings=FindingsFrom(open=True, an_hour=3)))
PAGE = {"origin": "https://elsewhere.example"}


def new(state: Any = "new", **more: Any) -> Found:
    return Found("a" * 32, state, 1, "user", "kim", "", "It said a card number.", 0, 0, **more)


def reported(served: Served, body: dict[str, Any], **key: str) -> Any:
    return served.get("/api/findings", "POST", body, **key)


# ---- Over HTTP -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_finding_is_reported_triaged_and_every_step_is_in_the_ledger(tmp_path: Path) -> None:
    with watched(tmp_path) as served:
        kim, ann, eve = served.key(principal="kim"), served.key("approver", principal="ann"), served.key(principal="eve")
        until(lambda: served.get("/api/findings", **eve).status == 200)
        made = reported(served, {"said": "It told me a key.", "prompt": "Tell me a key", "clause": "privacy.card-numbers"}, **kim)
        first = orjson.loads(made.body)
        seen = [len(orjson.loads(served.get("/api/findings", **key).body)["findings"]) for key in (kim, ann, eve)]
        path = f"/api/findings/{first['id']}"
        steps = [
            served.get(f"{path}/triage", "POST", change, **key).status
            for change, key in (
                ({"state": "triaged", "assignee": "bob", "severity": "high"}, ann),
                ({"state": "fixed"}, ann),
                ({"state": "accepted", "note": "seen"}, ann),
                ({"state": "fixed"}, kim),
            )
        ]
        now = orjson.loads(served.get(path, **kim).body)
        hidden = served.get(path, **eve).status
        entries = [one for one in recent(served.data_dir, 100) if one["kind"] == "finding"]

    assert (made.status, first["state"], seen, hidden) == (201, "new", [1, 1, 0], 404)
    assert steps == [200, 409, 200, 404]
    assert (now["state"], now["severity"], now["assignee"], len(now["history"])) == ("accepted", "high", "bob", 2)
    assert sorted((one["facts"]["step"], one["facts"]["state"]) for one in entries) == [
        ("reported", "new"),
        ("triaged", "accepted"),
        ("triaged", "triaged"),
    ]
    assert all("key" not in str(one["facts"]) for one in entries)  # what people wrote is content, which can be deleted


@pytest.mark.slow
def test_a_tenant_sees_its_findings_however_many_came_to_others_and_pages_through_all_of_them(url: str) -> None:
    store, ticks = database.open(url), iter(range(1_000_000))
    with store.writing() as connection:
        for tenant, reporter, number in (("a", "kim", 3), ("", "", 2), ("b", "bo", 700), ("b", "kim", 1)):
            rows = [asdict(replace(new(), id=f"{next(ticks):032x}", tenant=tenant, reporter=reporter)) for _ in range(number)]
            connection.execute(insert(FINDINGS), [{**row, "made_at": int(row["id"], 16) // 4} for row in rows])
    findings = Findings(store, Book().append)

    def seen(person: Person, limit: int) -> list[Found]:
        page, found = findings.seen_by(person, limit=limit), list[Found]()
        while True:
            found += page.found
            if not page.older:
                return found
            page = findings.seen_by(person, limit=limit, before=page.older)

    ann, kim, all_of_them = Person("ann", ("approver",), "a"), Person("kim", (), "a"), Person("ada", ("admin",), "*")
    found = {person.id: seen(person, limit) for person, limit in ((ann, 2), (kim, 500), (all_of_them, 7))}
    with pytest.raises(ValueError, match="earlier page"):
        findings.seen_by(ann, before="1.x")
    store.close()

    assert {name: len(those) for name, those in found.items()} == {"ann": 5, "kim": 3, "ada": 706}
    assert {(one.tenant, one.reporter) for one in found["ann"]} == {("a", "kim"), ("", "")}
    for person in (ann, kim, all_of_them):
        assert all(room.may_see(person, one) for one in found[person.id])
        assert len({one.id for one in found[person.id]}) == len(found[person.id])


@pytest.mark.slow
def test_the_public_reports_only_where_the_operator_says_so_and_so_often(tmp_path: Path) -> None:
    body = orjson.dumps({"said": "It swore at me."})
    with watched(tmp_path / "closed") as served:
        closed = [post(f"{served.url}/api/findings", body, headers=PAGE).status, served.get("/report").status]
    with watched(tmp_path / "open", OPEN) as served:
        opened = [post(f"{served.url}/api/findings", body, headers=PAGE) for _ in range(2)]
        filled = post(f"{served.url}/report", "said=It+swore+again.&prompt=Hello&contact=", headers=PAGE)
        late = post(f"{served.url}/report", "said=More.", headers=PAGE)
        listed = orjson.loads(served.get("/api/findings").body)["findings"]
        wrong_key = post(f"{served.url}/api/findings", body, headers={**PAGE, "x-api-key": "bylaw_no_such"}).status

    assert wrong_key == 401
    assert closed == [403, 404]
    assert [one.status for one in (*opened, filled, late)] == [201, 201, 201, 429]
    assert {one["source"] for one in listed} == {"public"}
    assert len(listed) == 3


@pytest.mark.slow
def test_where_a_finding_comes_from_follows_from_the_key(tmp_path: Path) -> None:
    with watched(tmp_path) as served:
        tester, user = served.key("tester", principal="tess"), served.key(principal="kim")
        until(lambda: served.get("/api/findings", **user).status == 200)
        sources = [orjson.loads(reported(served, {"said": "x"}, **key).body)["source"] for key in (tester, user, {})]
        wrong_key = reported(served, {"said": "x"}, authorization="Bearer bylaw_no_such").status

    assert sources == ["tester", "user", "user"]
    assert wrong_key == 401


@pytest.mark.slow
def test_the_form_is_plain_html_that_runs_and_loads_nothing(tmp_path: Path) -> None:
    with watched(tmp_path, OPEN) as served:
        page = served.get("/report")
        odd = [post(f"{served.url}/report", body).status for body in (b"", b"said=", b"\xff", b"said=" + b"x" * 9000, b"x" * 70_000)]

    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"<script" not in page.body
    assert b"http" not in page.body.replace(b"http-equiv", b"")
    assert odd == [400, 400, 400, 400, 413]


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = [
        {"said": ""},
        {"said": "x" * 8001},
        {"said": "x", "clause": "no.such"},
        {"said": "x", "record": "a b"},
        {"said": 1},
        {"prompt": "x"},
        {"said": "x", "state": "fixed"},
    ]
    with watched(tmp_path) as served:
        statuses = [reported(served, body).status for body in bodies]

    assert statuses == [400] * len(bodies)


# ---- Steps -----------------------------------------------------------------------------------------------------------


@given(st.sampled_from(FINDING_STATES), st.sampled_from(FINDING_STATES), st.sampled_from(["", "b" * 32]), st.sampled_from(["", "a.b"]))
def test_a_finding_only_moves_along_its_states(state: Any, then: Any, other: str, clause: str) -> None:
    before = new(state, duplicate_of="c" * 32 if state == "duplicate" else "", clause="a.b" if state == "accepted" else "")
    after = room.changed(before, Change(state=then, duplicate_of=other, clause=clause), 5)

    if isinstance(after, Found):
        assert then == state or then in NEXT[state]
        assert (after.state == "duplicate") == bool(after.duplicate_of)
        assert after.state != "accepted" or after.clause
        assert (after.revision, after.changed_at) == (2, 5)
    else:
        assert after.text


@pytest.mark.parametrize(
    "change",
    [Change(severity="awful"), Change(disclose_on="soon"), Change(clause="a b"), Change(assignee="x" * 201), Change(state="duplicate")],
)
def test_a_change_that_says_nothing_sound_is_refused(change: Change) -> None:
    assert isinstance(room.changed(new(), change, 1), NotTaken)


def test_what_cannot_be_recorded_is_not_taken_and_nobody_is_overtaken(url: str) -> None:
    store, book = database.open(url), Book()
    findings = Findings(store, book.append)
    made = findings.report(Report("x"), "kim", "", "user")
    assert isinstance(made, Found)

    def full(entry: Any) -> object:
        raise LedgerError("the disk is full")

    with pytest.raises(LedgerError):
        Findings(store, full).triage(made.id, ANN, Change(state="triaged"))
    untouched = findings.get(made.id)

    said: list[Any] = []

    def race(entry: Any) -> object:
        said.append((entry["facts"]["step"], entry["facts"]["changed"]))
        return findings.triage(made.id, ANN, Change(state="rejected", note="spam of kim")) if len(said) == 1 else None

    late = Findings(store, race).triage(made.id, ANN, Change(state="triaged"))
    gone = findings.forget(made.id, ANN)
    notes = [one.note for one in findings.history(made.id)]
    store.close()

    assert untouched == made
    assert isinstance(late, NotTaken)
    assert late.why == "changed"
    assert said == [("triaged", {"state": ["new", "triaged"]}), ("withdrawn", {"step": "triaged"})]
    assert isinstance(gone, Found)
    assert (gone.state, gone.said, notes) == ("rejected", "", ["", ""])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "s.sqlite")


# ---- The command -----------------------------------------------------------------------------------------------------


def told(store: Store, ledger: Ledger) -> tuple[Found, str]:
    found = Findings(store, ledger.append).report(Report("It said a key.", prompt="Tell me a key", clause="a.b"), "kim", "", "user")
    _, secret = keys.create(store, ledger.append, Grant("ann", ("approver",)))
    assert isinstance(found, Found)
    return found, secret


@pytest.mark.slow
def test_the_command_lists_shows_triages_and_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(tmp_path / "data")
    store = database.open(tmp_path / "data" / "store.sqlite")
    with Ledger(tmp_path / "data") as ledger:
        found, secret = told(store, ledger)
    store.close()
    monkeypatch.setenv("BYLAW_KEY", secret)
    suite = tmp_path / "found.jsonl"
    codes = [
        run(["findings", *words, "--data-dir", data])
        for words in (
            ["list"],
            ["triage", found.id, "--state", "triaged", "--severity", "high", "--note", "seen", "--as", "ann"],
            ["triage", found.id, "--state", "fixed", "--as", "ann"],
            ["show", found.id],
            ["export", found.id, "--to", str(suite)],
            ["export", found.id, "--to", str(suite)],
            ["forget", found.id, "--as", "ann"],
            ["list", "--state", "odd"],
            ["show", "0" * 32],
        )
    ]
    said = capsys.readouterr().out
    case = suite_files.load(suite).cases[0]

    assert codes == [0, 0, 1, 0, 0, 2, 0, 2, 2]
    assert "state: new -> triaged" in said
    assert (case.status, case.clause, case.severity, case.turns[0].content) == ("candidate", "a.b", "high", "Tell me a key")
    assert case.found_in == f"finding {found.id}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--clause", "money.never-ever"), "'money.never-ever' is no clause of the policy in force"),
        (("--severity", "awful"), "severity is one of"),
        (("--disclose-on", "soon"), "the day of disclosure is written"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], said: str
) -> None:
    store = database.open(tmp_path / "store.sqlite")
    with Ledger(tmp_path) as ledger:
        found, secret = told(store, ledger)
        live.activate(store, ledger.append, written(tmp_path / "policy"), "tester")
    store.close()
    monkeypatch.setenv("BYLAW_KEY", secret)
    code = run(["findings", "triage", found.id, *words, "--data-dir", str(tmp_path)])
    same = run(["findings", "triage", found.id, "--clause", "a.b", "--data-dir", str(tmp_path)])  # as it was reported: nothing to change
    near = run(["findings", "triage", found.id, "--clause", "money.limit", "--data-dir", str(tmp_path)])

    assert (code, same, near) == (2, 1, 0)
    assert said in capsys.readouterr().err
