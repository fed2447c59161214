"""Sign-off in the console, over HTTP: what is missing, what is to be signed, and which records are kept."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from bylaw.policy import reviews
from bylaw.policy.parse import load
from tests.serve.console.drafted import drafted
from tests.serve.console.place import HOSTILE, Client, Place, place, signed_in

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with drafted(tmp_path_factory.mktemp("signed")) as found:
        yield found


@pytest.fixture
def at(served: Place) -> Iterator[Place]:
    yield served
    shutil.rmtree(draft(served) / "reviews", ignore_errors=True)
    shutil.copytree(Path("policies/refunds/reviews"), draft(served) / "reviews")


def draft(at: Place) -> Path:
    return at.data_dir.parent / "draft"


def kept(at: Place) -> set[str]:
    return {path.name for path in (draft(at) / "reviews").iterdir()}


def signed(at: Place, who: str = "lena", role: str = "payments-risk", now: datetime = NOW, **asked: Any) -> dict[str, Any]:
    """A record as `bylaw policy sign --json` prints it."""
    key = reviews.read_key(at.data_dir.parent / f"{who}.pem")
    return reviews.review(load(draft(at)), reviews.Asked(who, role, **{"clauses": "money.*", **asked}), key, now).to_json()


def page_to_sign(client: Client, **more: str) -> Any:
    wanted = {"role": "payments-risk", "clauses": "money.*", "overlay": "", "decision": "approve", "note": "", **more}
    return client.get(f"/signing/record?{urlencode(wanted)}")


@pytest.mark.slow
def test_a_reviewer_sees_what_is_missing_signs_elsewhere_and_hands_it_in(at: Place) -> None:
    lena = signed_in(at, "lena")  # her only role is one that the table asks for
    before, other = lena.get("/signing"), lena.get("/policy")
    done = lena.post("/signing", {"record": json.dumps({**signed(at), "file": "reviews/x.json"})})
    after = lena.get(done.headers["location"].removeprefix("/console"))
    entry = next(one for one in at.desk_entries("policy") if one["facts"]["step"] == "signed off")

    assert "money.refund-limit 1 of payments-risk nobody missing 1 of 1 signature by payments-risk · yours to sign" in before.words
    assert other.status == 403
    assert "money.refund-limit 1 of payments-risk lena as payments-risk" in after.words
    assert "verified, kept in the draft, and entered in the ledger" in after.words
    assert (entry["principal"], entry["clauses"], entry["facts"]["decision"]) == ("lena", ["money.refund-limit"], "approve")
    assert entry["facts"]["record"] in kept(at)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_commands_on_the_page_sign_its_bytes_and_the_signature_alone_is_enough(at: Place, tmp_path: Path) -> None:
    lena = signed_in(at, "lena")
    page = page_to_sign(lena, note="it's $fine; `really`")
    unsigned = unescape(re.findall(r'name="unsigned" value="([^"]*)"', page.text)[0])
    commands = unescape(re.findall(r'sign these bytes">(.*?)</pre>', page.text, re.DOTALL)[0])
    shutil.copy(at.data_dir.parent / "lena.pem", tmp_path / "KEY.pem")
    ran = subprocess.run(["sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=True)
    done = lena.post("/signing", {"record": ran.stdout, "unsigned": unsigned})

    assert (tmp_path / "record.json").read_text() == unsigned
    assert done.status == 303, done.words
    assert "lena as payments-risk" in lena.get("/signing").words


@pytest.mark.slow
def test_the_page_shows_the_clause_as_it_is_signed_what_changed_and_the_command(at: Place) -> None:
    page = page_to_sign(signed_in(at, "lena"), decision="reject")

    assert "bylaw policy sign DIR --as lena --role payments-risk --key KEY.pem --clauses 'money.*' --reject --json" in page.words
    assert "150 EUR" in page.words
    assert '"decision":"reject"' in page.words
    assert "changed" in page.words
    assert "PRIVATE KEY" not in page.text


@pytest.mark.slow
def test_a_rejection_blocks_until_its_person_approves_again(at: Place) -> None:
    lena = signed_in(at, "lena")
    lena.post("/signing", {"record": json.dumps(signed(at, decision="reject"))})
    rejected = lena.get("/signing").words
    lena.post("/signing", {"record": json.dumps(signed(at, now=NOW + timedelta(seconds=2)))})

    assert "rejected lena rejected it" in rejected
    assert "rejected it" not in lena.get("/signing").words


@pytest.mark.slow
@pytest.mark.parametrize(("change", "status", "said"), [
    ({"signature": "ed25519:" + base64.b64encode(b"\0" * 64).decode()}, 409, "the signature is not that of lena"),
    ({"decision": "reject"}, 409, "the signature is not that of lena"),
    ({"policy": "other"}, 409, "it is about the policy 'other'"),
    ({"clauses": {"money.refund-limit": "sha256:" + "0" * 64}}, 409, "the signature is not that of lena"),
    ({"reviewer": "omar"}, 403, "everybody hands in their own"),
    ({"role": "legal"}, 403, "everybody hands in their own"),
    ({"reviewer": HOSTILE}, 403, "everybody hands in their own"),
    ({"extra": 1}, 409, "keys missing or too many"),
    ({"note": "x" * 3000}, 409, "not a record"),
])  # fmt: skip
def test_a_record_that_does_not_count_is_not_kept_and_that_is_said_in_a_line(
    at: Place, change: dict[str, Any], status: int, said: str
) -> None:
    before = kept(at)
    found = signed_in(at, "lena").post("/signing", {"record": json.dumps({**signed(at), **change})})

    assert (found.status, said in found.words) == (status, True), found.words
    assert "<script>alert" not in found.text
    assert kept(at) == before


@pytest.mark.slow
@pytest.mark.parametrize("record", ["", "{", "[1]", "not base64!", base64.b64encode(b"short").decode(), "{" + "[" * 50_000, '{"a": NaN}'])
def test_what_is_no_record_at_all_is_told_so(at: Place, record: str) -> None:
    before = kept(at)
    found = signed_in(at, "lena").post("/signing", {"record": record})

    assert found.status in (400, 409)
    assert "Not done" in found.words
    assert kept(at) == before


@pytest.mark.slow
def test_a_record_from_the_future_or_of_a_clause_that_has_changed_or_kept_already_is_refused(at: Place) -> None:
    lena, file = signed_in(at, "lena"), draft(at) / "money.md"
    future, old = signed(at, now=NOW + timedelta(days=9)), signed(at)
    ahead = lena.post("/signing", {"record": json.dumps(future)})
    held = file.read_text()
    file.write_text(held.replace("150 EUR", "140 EUR"))
    changed = lena.post("/signing", {"record": json.dumps(old)})
    file.write_text(held)
    first, again = (lena.post("/signing", {"record": json.dumps(old)}) for _ in range(2))

    assert "dated in the future" in ahead.words
    assert "money.refund-limit is not what was signed any more" in changed.words
    assert (ahead.status, changed.status, first.status, again.status) == (409, 409, 303, 409)
    assert "kept already" in again.words


@pytest.mark.slow
def test_who_has_the_role_and_no_name_in_the_policy_or_the_name_without_the_role_signs_nothing(at: Place) -> None:
    mia, omar, lead = signed_in(at, "mia"), signed_in(at, "omar"), signed_in(at, "lead")
    shown = mia.get("/signing").words
    found = [page_to_sign(mia), page_to_sign(omar), page_to_sign(omar, role="legal"), lead.get("/signing"), page_to_sign(lead)]

    assert "What you may sign Nothing" in shown
    assert [one.status for one in found] == [409, 409, 409, 403, 403]
    assert "has not signed in as 'payments-risk'" in found[1].words
    assert "omar may not sign money.refund-limit as 'legal'" in found[2].words


@pytest.mark.slow
def test_one_record_handed_in_by_many_forms_at_once_is_kept_once(at: Place) -> None:
    lena, record = signed_in(at, "lena"), json.dumps(signed(at))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: lena.post("/signing", {"record": record}).status, range(8)))

    assert sorted(found) == [303, *[409] * 7]


@pytest.mark.slow
def test_a_form_from_elsewhere_or_without_its_token_keeps_nothing(at: Place) -> None:
    lena, record, before = signed_in(at, "lena"), json.dumps(signed(at)), kept(at)
    found = [
        lena.post("/signing", {"record": record, "csrf": "forged"}),
        lena.post("/signing", {"record": record}, origin="https://evil.example"),
        signed_in(at, "vera").post("/signing", {"record": record}),
        signed_in(at, "lead").post("/signing", {"record": record}),
    ]

    assert [one.status for one in found] == [403] * 4
    assert kept(at) == before


def test_a_note_with_what_nobody_sees_is_not_put_into_a_record(at: Place) -> None:
    assert page_to_sign(signed_in(at, "lena"), note="fine\u202e").status == 400


def test_what_is_in_force_is_shown_and_takes_no_signature(at: Place) -> None:
    page = signed_in(at, "vera").get("/signing?of=force")

    assert "A. Meyer as payments-risk" in page.words
    assert "What is in force is kept as it was activated" in page.words
    assert 'action="/console/signing' not in page.text


def test_a_draft_that_does_not_load_is_said_and_the_console_goes_on(at: Place) -> None:
    file = draft(at) / "money.md"
    held = file.read_text()
    file.write_text(held.replace("severity:", "severeness:"))
    page = signed_in(at, "ops").get("/signing")
    file.write_text(held)

    assert (page.status, "the draft does not load: money.md" in page.words) == (200, True)


@pytest.mark.slow
def test_without_a_draft_the_page_says_how_it_is_done_instead(tmp_path: Path) -> None:
    with place(tmp_path / "data") as bare:
        ops = signed_in(bare, "ops")
        page, found = ops.get("/signing"), ops.post("/signing", {"record": "{}"})

    assert "Nothing can be handed in here: this gateway knows no folder where the policy is worked on" in page.words
    assert "bylaw policy sign DIR --as NAME --role ROLE --key KEY.pem" in page.words
    assert "A. Meyer as payments-risk" in page.words
    assert found.status == 409


def test_a_reviewer_sees_what_the_table_in_force_asks_of_the_draft(at: Place) -> None:
    page = signed_in(at, "omar").get("/signing?of=draft").words
    other = signed_in(at, "omar").get("/signing?of=force").words

    assert "its table asks for more" in page
    assert "the frame (the sign-off table differs, the reviewers differ)" in page
    assert "its table asks for more" not in other
