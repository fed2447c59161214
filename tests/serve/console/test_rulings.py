"""Rulings from the page of a decision, over HTTP: who may rule, what is written where, and what is said where the rules disagree."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from bylaw.policy.parse import load
from bylaw.serve import bundle
from bylaw.types import Example
from tests.figures import stands
from tests.serve.console.drafted import drafted
from tests.serve.console.place import HOSTILE, Place, place, signed_in

CALL = '{"on": "tool_call", "tool": "payments.refund", "args": {"order": 5, "amount": 20}}'


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with drafted(tmp_path_factory.mktemp("ruled")) as found:
        yield found


def folder_of(at: Place) -> Path:
    return at.data_dir.parent / "draft"


def files_of(at: Place) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in bundle.files_of(folder_of(at))}


def decision(at: Place, amount: float = 640.0) -> str:
    """A refund that waits for a person; the record of its decision."""
    session = f"s{amount}"
    at.waiting(amount=amount, session=session)
    return next(
        f"{one['log']}#{one['index']}" for one in at.desk_entries("decision") if one["surface"] == "tool_call" and one["session"] == session
    )


def examples(at: Place) -> tuple[Example, ...]:
    clause = load(folder_of(at)).clause("money.refund-limit")
    return clause.examples if clause else ()


def form(at_record: str, **more: str) -> dict[str, str]:
    return {"record": at_record, "side": "bad", "clause": "money.refund-limit", "why": "Another refund of it.", "do": "write", **more}


def quoted(record: str) -> str:
    return f"/why?record={record.replace('#', '%23')}"


@pytest.mark.slow
def test_a_ruling_is_shown_first_and_then_written_beside_its_clause_and_in_the_ledger(at: Place) -> None:
    record, ops, before = decision(at), signed_in(at, "ops"), files_of(at)
    shown = ops.post("/why/ruling", form(record, do="try"))
    untouched = files_of(at) == before
    done, again = ops.post("/why/ruling", form(record)), ops.post("/why/ruling", form(record))
    page = ops.get(done.headers["location"].removeprefix("/console"))
    made, entry = examples(at)[-1], at.desk_entries("ruling")[0]

    assert (shown.status, done.status, untouched) == (200, 303, True)
    assert (again.status, "stands there already" in again.words) == (409, True)
    assert '**Ruling** {side=bad split=train by="ops" on=' in unescape(shown.text)
    assert "The rules agree with this ruling" in shown.words
    assert (made.ruling.by if made.ruling else "", made.event and made.event["args"]["amount"]) == ("ops", 640.0)
    assert (entry["principal"], entry["facts"]["record"], entry["clauses"]) == ("ops", record, ["money.refund-limit"])
    assert "ops ruled that the case of this decision is against the clause money.refund-limit" in page.words
    assert "its rules agree with every ruling" in page.words


@pytest.mark.slow
def test_where_the_rules_disagree_that_is_said_before_and_after(at: Place) -> None:
    record, ops = decision(at, 641.0), signed_in(at, "ops")
    kept = files_of(at)
    shown = ops.post("/why/ruling", form(record, side="good", do="try"))
    done = ops.post("/why/ruling", form(record, side="good"))
    page = ops.get(done.headers["location"].removeprefix("/console"))
    for path, content in kept.items():
        path.write_bytes(content)

    assert "The rules say otherwise" in shown.words
    assert "the rules answer require_approval" in shown.words
    assert "The draft does not load as it stands now" in page.words


@pytest.mark.slow
def test_an_approver_who_reads_rules_in_their_own_words_and_copies_nothing(at: Place) -> None:
    record, kim = decision(at, 642.0), signed_in(at, "kim")
    before = files_of(at)
    bare = kim.post("/why/ruling", form(record, do="try"))
    untouched = files_of(at) == before
    done = kim.post("/why/ruling", form(record, side="good", case=CALL))
    made = examples(at)[-1]

    assert (bare.status, done.status, untouched) == (400, 303, True)
    assert "give the case in your own words" in bare.words
    assert not stands(642, bare.text)
    assert made.event == {"on": "tool_call", "tool": "payments.refund", "args": {"order": 5, "amount": 20}}


@pytest.mark.slow
def test_nobody_else_rules_and_no_form_without_its_token(at: Place) -> None:
    record, before, ops = decision(at, 643.0), files_of(at), signed_in(at, "ops")
    offered = [signed_in(at, name).get(quoted(record)).text.count("/why/ruling") for name in ("vera", "ops", "kim")]
    found = [
        signed_in(at, "vera").post("/why/ruling", form(record)),
        signed_in(at, "lead").post("/why/ruling", form(record)),  # answers, and may not read
        ops.post("/why/ruling", form(record, csrf="forged")),
        ops.post("/why/ruling", form(record), origin="https://evil.example"),
    ]

    assert offered == [0, 1, 1]
    assert [one.status for one in found] == [403] * 4
    assert files_of(at) == before


@pytest.mark.parametrize(("more", "status", "said"), [
    ({"side": "neither"}, 400, "within the clause or against it"),
    ({"why": " "}, 400, "say why"),
    ({"why": "x" * 1001}, 400, "say why"),
    ({"clause": "no.such"}, 409, "no clause 'no.such'"),
    ({"case": "just words"}, 409, "Not done"),
    ({"case": "user: hello"}, 409, "does not end with an answer"),
    ({"case": "user: a\n\n## A heading {#x.y}\n"}, 409, "Not done"),
    ({"case": "user: hello\n\n**Bad** {split=train} x\nuser: y"}, 409, "Not done"),
    ({"do": "burn"}, 400, "show it or write it"),
    ({"record": "nowhere#1"}, 404, "no such record"),
    ({"record": ""}, 404, "no such record"),
])  # fmt: skip
def test_what_is_no_ruling_changes_nothing_and_is_told_in_a_line(at: Place, more: dict[str, str], status: int, said: str) -> None:
    record, before = decision(at, 700.0), files_of(at)
    found = signed_in(at, "ops").post("/why/ruling", form(record, **more))

    assert (found.status, said in found.words) == (status, True)
    assert files_of(at) == before


def test_hostile_words_of_a_ruling_are_text_on_the_page_and_in_the_policy(at: Place) -> None:
    record, ops = decision(at, 644.0), signed_in(at, "ops")
    shown = ops.post(
        "/why/ruling", form(record, why=HOSTILE.replace("\x07", ""), case=f"user: {HOSTILE}</textarea>\nassistant: No.", do="try")
    )

    assert "<script>alert" not in shown.text
    assert "<img" not in shown.text
    assert len(re.findall("</textarea>", shown.text)) == 2


@pytest.mark.slow
def test_without_a_draft_the_ruling_is_shown_to_be_copied_and_nothing_is_recorded(tmp_path: Path) -> None:
    with place(tmp_path / "data") as bare:
        record, ops = decision(bare), signed_in(bare, "ops")
        page = ops.get(quoted(record)).words
        shown, refused = ops.post("/why/ruling", form(record, do="try")), ops.post("/why/ruling", form(record))
        entries = bare.desk_entries("ruling")

    assert "It cannot be written from here: this gateway knows no folder where the policy is worked on" in page
    assert "bylaw ruling add --policy DIR --decision" in page
    assert (shown.status, refused.status, entries) == (200, 409, [])
    assert '**Ruling** {side=bad split=train by="ops" on=' in unescape(shown.text)
