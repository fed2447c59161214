"""Signing away from a command line: only what the table gives a person, in a role they have here and there, and only as it stands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.policy.test_signoffs import KEYS, NOW, POLICY, TABLE, by

from bylaw.errors import PolicyError
from bylaw.policy import reviews, signing
from bylaw.policy.parse import load
from bylaw.policy.printing import write
from bylaw.policy.reviews import Asked
from bylaw.policy.signoffs import status

ROLES = ("legal", "risk")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(POLICY, tmp_path / "policy")
    return tmp_path / "policy"


def test_who_may_sign_is_who_has_the_role_here_in_the_policy_and_in_the_table() -> None:
    assert signing.may_sign(POLICY, "Ann", ROLES, "money.limit") == ("legal", "risk")
    assert signing.may_sign(POLICY, "Ann", ("risk",), "money.limit") == ("risk",)  # signed in without the other
    assert signing.may_sign(POLICY, "Bob", ROLES, "money.limit") == ("risk",)  # policy.yaml gives no more
    assert signing.may_sign(POLICY, "Bob", ROLES, "data.share") == ()  # nor the table
    assert signing.may_sign(POLICY, "Eve", ROLES, "money.limit") == ()
    assert signing.may_sign(replace(POLICY, signoffs=()), "Ann", ROLES, "money.limit") == ()


def test_a_record_signed_elsewhere_is_taken_back_and_counts(folder: Path) -> None:
    policy = load(folder)
    record = signing.to_sign(policy, ROLES, Asked("Ann", "legal"), NOW)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signature = Ed25519PrivateKey.from_private_bytes(KEYS["Ann"]).sign(record.signed())
    file = signing.accept(folder, {**record.to_json(), "signature": reviews._text(signature)})
    second = signing.sign(folder, ("risk",), Asked("Bob", "risk", "money.*"), KEYS["Bob"], NOW)

    assert [one.missing for one in status(policy, reviews.reviewed(folder, policy).reviews) if not one.overlay] == [(), ()]
    assert (file.parent.name, second.parent.name) == ("reviews", "reviews")


@pytest.mark.parametrize(
    ("roles", "asked", "says"),
    [
        (("risk",), Asked("Ann", "legal"), "has not signed in as"),
        (ROLES, Asked("Bob", "risk"), "may not sign data.share"),
        (ROLES, Asked("Bob", "legal"), "does not hold the role"),
        (ROLES, Asked("Eve", "risk", "money.*"), "names no reviewer"),
    ],
)
def test_nobody_is_shown_to_sign_what_is_not_theirs(roles: tuple[str, ...], asked: Asked, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        signing.to_sign(POLICY, roles, asked, NOW)


@pytest.mark.parametrize(
    "change", [{"note": "more"}, {"reviewer": "Bob"}, {"decision": "reject"}, {"signature": ""}, {"clauses": {}}, {"more": 1}]
)
def test_a_record_that_was_altered_or_forged_is_not_kept(folder: Path, change: dict[str, Any]) -> None:
    value = by("Ann", "legal", policy=load(folder)).to_json()
    with pytest.raises(PolicyError):
        signing.accept(folder, {**value, **change})

    assert not (folder / "reviews").exists()


def test_a_record_of_a_clause_as_it_no_longer_stands_or_that_is_not_theirs_is_not_kept(folder: Path) -> None:
    before = by("Ann", "legal", policy=load(folder)).to_json()
    write(replace(POLICY, clauses=(replace(POLICY.clauses[0], norm="Data MUST NOT leave."), POLICY.clauses[1])), folder)
    with pytest.raises(PolicyError, match=r"data\.share is not what was signed"):
        signing.accept(folder, before)
    with pytest.raises(PolicyError, match=r"Bob may not sign data\.share"):
        signing.accept(folder, by("Bob", "risk", policy=load(folder)).to_json())

    assert TABLE[1].roles == ("legal",)
    assert not (folder / "reviews").exists()
