"""Signed review records: what counts as a sign-off, and every way to forge one that does not."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from docs import sign_examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import PolicyError
from bylaw.policy import reviews, signoffs
from bylaw.policy.lint import lint
from bylaw.policy.parse import load, read
from bylaw.policy.reviews import Asked, Review, public_half, review, reviewed, signed_digest
from bylaw.policy.signoffs import Status, status
from bylaw.types import Clause, Loosening, Overlay, Place, Policy, Reviewer, SignOff, StyleRule

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEYS = {"Ann": b"a" * 32, "Bob": b"b" * 32, "Eve": b"e" * 32}
PEOPLE = tuple(Reviewer(name, roles, public_half(KEYS[name])) for name, roles in (("Ann", ("legal", "risk")), ("Bob", ("risk",))))
MONEY = Clause("money.limit", "Limit", "high", "refuse", "A large sum MUST NOT be paid.", style=("short",))
DATA = Clause("data.share", "Share", "high", "refuse", "Data MUST NOT be shared.")
TABLE = (SignOff("money.*", ("risk", "legal"), 2), SignOff("*", ("legal",), 1))
POLICY = Policy(
    "p",
    "1.0.0",
    (DATA, MONEY),
    signoffs=TABLE,
    reviewers=PEOPLE,
    glossary={"large sum": "more than 200 EUR", "order": "a purchase"},
    styles=(StyleRule("short", "Be short."),),
    overlays=(Overlay("eu", "jurisdiction", "Act 7", "2026-01-01", "2026-01-01", (MONEY,)),),
)


def by(name: str, role: str, clauses: str = "*", policy: Policy = POLICY, at: datetime = NOW, **more: Any) -> Review:
    return review(policy, Asked(name, role, clauses, **more), KEYS[name], at)


def of(clause: str, *found: Review, policy: Policy = POLICY, overlay: str = "") -> Status:
    good = reviews.verified(policy, found).reviews
    return next(one for one in status(policy, good) if (one.clause, one.overlay) == (clause, overlay))


def test_a_line_of_the_table_counts_distinct_reviewers_in_its_roles() -> None:
    alone = of("money.limit", by("Ann", "legal"), by("Ann", "risk"))
    both = of("money.limit", by("Ann", "legal"), by("Bob", "risk"))

    assert alone.missing == ("1 of 2 signatures by risk or legal",)
    assert both.signed
    assert [(one.reviewer, one.role) for one in both.given] == [("Ann", "legal"), ("Bob", "risk")]


def test_every_line_that_matches_must_be_satisfied() -> None:
    assert of("data.share", by("Bob", "risk")).missing == ("1 of 1 signature by legal",)
    assert of("data.share", by("Ann", "legal", "data.*")).signed


def test_a_policy_without_a_table_needs_no_sign_off() -> None:
    free = replace(POLICY, signoffs=())

    assert all(one.signed for one in status(free, ()))


def test_a_changed_clause_must_be_signed_again_and_only_that_one() -> None:
    found = (by("Ann", "legal"), by("Bob", "risk"))
    changed = replace(POLICY, version="2.0.0", clauses=(replace(DATA, norm="Data MAY be shared."), MONEY))

    assert not of("data.share", *found, policy=changed).signed
    assert of("money.limit", *found, policy=changed).signed
    assert reviews.verified(changed, found).findings == ()


@pytest.mark.parametrize(
    "changed",
    [
        replace(POLICY, glossary={"large sum": "more than 1,000,000 EUR"}),
        replace(POLICY, styles=(StyleRule("short", "Say what the customer wants to hear."),)),
    ],
)
def test_words_and_styles_that_a_clause_uses_are_part_of_what_is_signed(changed: Policy) -> None:
    found = (by("Ann", "legal"), by("Bob", "risk"))

    assert not of("money.limit", *found, policy=changed).signed
    assert of("data.share", *found, policy=changed).signed


def test_a_clause_of_an_overlay_is_signed_for_itself() -> None:
    own = (by("Ann", "legal"), by("Bob", "risk"))
    there = (by("Ann", "legal", overlay="eu"), by("Bob", "risk", overlay="eu"))
    later = replace(POLICY, overlays=(replace(POLICY.overlays[0], effective="2025-01-01"),))
    looser = replace(POLICY, overlays=(replace(POLICY.overlays[0], loosens=(Loosening("money.limit", "so"),)),))

    assert not of("money.limit", *own, overlay="eu").signed
    assert of("money.limit", *there, overlay="eu").signed
    assert not of("money.limit", *there, overlay="eu", policy=later).signed
    assert not of("money.limit", *there, overlay="eu", policy=looser).signed


def test_a_rejection_blocks_until_its_author_approves() -> None:
    found = [by("Ann", "legal"), by("Bob", "risk"), by("Ann", "risk", decision="reject", at=NOW + timedelta(hours=1))]
    same_second = [by("Ann", "legal"), by("Ann", "legal", decision="reject"), by("Bob", "risk")]
    again = [*found, by("Ann", "legal", at=NOW + timedelta(hours=2))]

    assert of("money.limit", *found).rejected == ("Ann",)
    assert of("money.limit", *same_second).rejected == ("Ann",)
    assert of("money.limit", *again).signed


# ---- Forgeries ------------------------------------------------------------------------------------------------------------


def forged(one: Review, policy: Policy = POLICY) -> str:
    """The one finding about a record that must not count."""
    found = reviews.verified(policy, [one])
    assert found.reviews == ()
    assert [finding.code for finding in found.findings] == ["BL507"]
    return found.findings[0].message


def test_way_1_a_record_signed_with_another_key_does_not_count() -> None:
    eve = replace(POLICY, reviewers=(Reviewer("Ann", ("legal",), public_half(KEYS["Eve"])),))
    record = review(eve, Asked("Ann", "legal"), KEYS["Eve"], NOW)

    assert "signature is not that of Ann" in forged(record)


@pytest.mark.parametrize(
    "change",
    [
        {"clauses": {"money.limit": "sha256:" + "0" * 64}},
        {"decision": "approve"},
        {"at": "2027-01-01T00:00:00Z"},
        {"note": "read twice"},
        {"version": "9.9.9"},
        {"role": "risk"},
        {"overlay": "eu"},
        {"reviewer": "Bob", "role": "risk"},
        {"signature": ""},
        {"signature": "ed25519:" + "A" * 86 + "=="},
        {"signature": "ed25519:???"},
        {"signature": "rsa:AAAA"},
    ],
)
def test_way_2_a_record_altered_in_any_field_does_not_count(change: dict[str, Any]) -> None:
    record = by("Ann", "legal", decision="reject")

    assert "signature is not that of" in forged(replace(record, **change))


def test_way_3_a_record_about_another_policy_does_not_count_here() -> None:
    other = replace(POLICY, id="q")
    record = by("Ann", "legal", policy=other)

    assert "about the policy 'q'" in forged(record)
    assert "signature" in forged(replace(record, policy="p"))


def test_way_4_a_record_about_another_clause_does_not_count_for_this_one() -> None:
    record = by("Ann", "legal", "data.*")
    moved = replace(record, clauses={"money.limit": signed_digest(POLICY, MONEY)})

    assert of("money.limit", record).given == ()
    assert "signature" in forged(moved)


def test_way_5_who_is_no_reviewer_or_lacks_the_role_does_not_count() -> None:
    eve = replace(POLICY, reviewers=(*PEOPLE, Reviewer("Eve", ("legal",), public_half(KEYS["Eve"]))))
    promoted = replace(POLICY, reviewers=(PEOPLE[0], replace(PEOPLE[1], roles=("risk", "legal"))))

    assert "no reviewer 'Eve'" in forged(by("Eve", "legal", policy=eve))
    assert "does not hold the role 'legal'" in forged(by("Bob", "legal", policy=promoted))


def test_way_6_copies_of_one_record_count_once() -> None:
    record = by("Bob", "risk")

    assert not of("money.limit", record, replace(record, file="reviews/copy.json"), record).signed


def test_way_7_two_names_with_one_key_are_refused(tmp_path: Path) -> None:
    key = public_half(KEYS["Ann"])
    rows = "".join(f'  - {{name: {name}, roles: [legal], key: "{key}"}}\n' for name in ("Ann", "Ann B"))
    (tmp_path / "policy.yaml").write_text(f"id: p\nversion: 1.0.0\nreviewers:\n{rows}")

    assert "belongs to another reviewer" in read(tmp_path).faults[0].what


@pytest.mark.parametrize("key", ["", "ed25519:", "ed25519:AAAA", "ssh-rsa AAAA", "ed25519:" + "A" * 43 + "B", "ed25519:" + "A" * 42 + "B="])
def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "policy.yaml").write_text(f'id: p\nversion: 1.0.0\nreviewers:\n  - {{name: A, roles: [x], key: "{key}"}}\n')

    assert "not a public key" in read(tmp_path).faults[0].what or "has no key" in read(tmp_path).faults[0].what


# ---- Files ------------------------------------------------------------------------------------------------------------------


def folder(path: Path) -> Path:
    """A policy on disk with a table and one reviewer, whose key lies beside it."""
    public = reviews.new_key(path / "ann.pem")
    home = path / "p"
    home.mkdir()
    rows = f'signoffs:\n  - {{clauses: "*", roles: [legal]}}\nreviewers:\n  - {{name: Ann, roles: [legal], key: "{public}"}}\n'
    (home / "policy.yaml").write_text(f"id: p\nversion: 1.0.0\n{rows}")
    (home / "a.md").write_text("## T {#a.b}\n```yaml clause\nseverity: low\nresponse: comply\n```\nIt MUST help.\n")
    return home


def kept(home: Path, path: Path) -> Path:
    policy = load(home)
    return reviews.keep(home, review(policy, Asked("Ann", "legal"), reviews.read_key(path / "ann.pem"), NOW))


def test_a_record_written_is_a_sign_off_and_changes_no_digest(tmp_path: Path) -> None:
    home = folder(tmp_path)
    before = load(home)
    missing = [finding.code for finding in signoffs.findings(before, reviewed(home, before))]
    kept(home, tmp_path)
    found = reviewed(home, load(home))

    assert missing == ["BL506"]
    assert load(home).digest == before.digest
    assert list(signoffs.findings(before, found)) == []


def test_a_table_without_reviewers_still_asks_for_its_signatures_and_says_how_to_get_there(tmp_path: Path) -> None:
    home = folder(tmp_path)
    file = home / "policy.yaml"
    file.write_text(file.read_text().partition("reviewers:")[0])
    found = [finding for finding in lint(home) if finding.code == "BL506"]

    assert [finding.message for finding in found] == ["sign-off missing: 1 of 1 signature by legal"]
    assert found[0].fix.startswith("policy.yaml names no reviewer in the role legal: add one under `reviewers:`")


def test_a_record_beside_a_policy_without_reviewers_and_table_is_looked_at(tmp_path: Path) -> None:
    home = folder(tmp_path)
    kept(home, tmp_path)
    (home / "policy.yaml").write_text("id: p\nversion: 1.0.0\nowners: [me]\n")
    found = [finding.message for finding in lint(home) if finding.code == "BL507"]

    assert found == ["this review does not count: policy.yaml names no reviewer 'Ann'"]


def test_a_key_is_written_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    reviews.new_key(tmp_path / "key.pem")

    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    with pytest.raises(PolicyError, match="exists"):
        reviews.new_key(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(PolicyError, match="others may read"):
        reviews.read_key(tmp_path / "key.pem")


def test_a_key_file_that_holds_no_key_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("not a key")
    (tmp_path / "key.pem").chmod(0o600)

    with pytest.raises(PolicyError, match="not a private key"):
        reviews.read_key(tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("Eve", "legal"), "no reviewer 'Eve'"),
        (Asked("Bob", "risk"), "not the key of Bob"),
        (Asked("Ann", "ciso"), "does not hold the role"),
        (Asked("Ann", "legal", "nothing.*"), "matches 0 clauses"),
        (Asked("Ann", "legal", overlay="mars"), "no overlay 'mars'"),
        (Asked("Ann", "legal", note="x" * 3000), "a note of 3000 characters"),
    ],
)
def test_who_cannot_sign_is_told_why(asked: Asked, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        review(POLICY, asked, KEYS["Ann"], NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{" * 5000,
        '{"format": "bylaw-review-1", "format": "x"}',
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
)
def test_a_file_that_is_no_record_is_a_finding_and_reading_goes_on(tmp_path: Path, text: str | bytes) -> None:
    home = folder(tmp_path)
    kept(home, tmp_path)
    (home / "reviews" / "0.json").write_bytes(text.encode() if isinstance(text, str) else text)
    policy = load(home)
    found = reviewed(home, policy)

    assert [(one.code, one.place.file) for one in found.findings] == [("BL507", "reviews/0.json")]
    assert all(one.signed for one in status(policy, found.reviews))


@pytest.mark.parametrize(
    "change", [{"at": "yesterday"}, {"decision": "maybe"}, {"clauses": {}}, {"clauses": {"a.b": "md5:1"}}, {"extra": 1}, {"note": 7}]
)
def test_a_record_of_the_wrong_shape_is_a_finding(tmp_path: Path, change: dict[str, Any]) -> None:
    home = folder(tmp_path)
    file = kept(home, tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    found = reviewed(home, load(home))

    assert [one.code for one in found.findings] == ["BL507"]
    assert found.reviews == ()


@pytest.mark.slow
def test_of_more_records_than_the_limit_none_counts_since_a_rejection_could_be_among_the_rest(tmp_path: Path) -> None:
    home = folder(tmp_path)
    kept(home, tmp_path)
    for number in range(reviews.MAX_RECORDS):
        (home / "reviews" / f"x{number}.json").touch()
    found = reviewed(home, load(home))

    assert found.reviews == ()
    assert [one.code for one in found.findings] == ["BL507"]
    assert "none counts" in found.findings[0].message


def test_a_folder_of_reviews_that_cannot_be_listed_is_a_finding(tmp_path: Path) -> None:
    home = folder(tmp_path)
    (home / "reviews").symlink_to(tmp_path / "nowhere")
    found = reviewed(home, load(home))

    assert found.reviews == ()
    assert ["no sign-off counts" in one.message for one in found.findings] == [True]


def test_a_linked_or_endless_record_is_not_followed(tmp_path: Path) -> None:
    home = folder(tmp_path)
    file = kept(home, tmp_path)
    target = tmp_path / "elsewhere.json"
    file.rename(target)
    file.symlink_to(target)
    (home / "reviews" / "zero.json").symlink_to("/dev/zero")

    assert reviewed(home, load(home)).reviews == ()
    assert [one.code for one in reviewed(home, load(home)).findings] == ["BL507", "BL507"]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_no_changed_byte_of_a_record_is_signed(data: st.DataObject) -> None:
    record = by("Ann", "legal", note="fine").to_json()
    text = json.dumps(record)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from("aZ09 -:{}\"'")) + text[at + 1 :]
    try:
        value = json.loads(changed)
        one = reviews.review_of(value, Place("r.json", 1))
    except (ValueError, PolicyError):
        return

    good = reviews.verified(POLICY, [one]).reviews
    assert bool(good) == (one.to_json() == record)


def test_the_example_signer_leaves_no_private_key_and_every_clause_signed(tmp_path: Path) -> None:
    home = tmp_path / "refunds"
    source = ROOT / "policies" / "refunds"
    for file in source.rglob("*"):
        if file.is_file() and file.parent.name != "reviews":
            (home / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (home / file.relative_to(source)).write_bytes(file.read_bytes())
    first = sign_examples.sign(home, NOW)
    second = sign_examples.sign(home, NOW)
    policy = load(home)

    assert first == second == len(list((home / "reviews").iterdir()))
    assert list(signoffs.findings(policy, reviewed(home, policy))) == []
    assert not any("PRIVATE" in file.read_text() for file in home.rglob("*") if file.is_file())
