"""Signing off for whoever is not at a command line: who may sign which clause, what they would sign, and a signature that comes back.

A private key never comes here from elsewhere: a console shows `to_sign`, the reviewer signs its bytes where the key is, and `accept` takes
the record back. What a person signed in as does not sign by itself: it must be a reviewer of the policy, in a role that both give them.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bylaw.errors import PolicyError
from bylaw.policy import reviews
from bylaw.policy.frame import FRAME
from bylaw.policy.parse import load
from bylaw.policy.reviews import Asked, Review
from bylaw.types import NOWHERE, Policy


def may_sign(policy: Policy, name: str, roles: Collection[str], clause: str) -> tuple[str, ...]:
    """The roles in which this person may sign this clause: given here, held in policy.yaml, and asked for by the table. None: empty."""
    held = {role for one in policy.reviewers if one.name == name for role in one.roles}
    asked = {role for line in policy.signoffs if fnmatchcase(clause, line.clauses) for role in line.roles}
    return tuple(sorted(held & asked & set(roles)))


def to_sign(policy: Policy, roles: Collection[str], asked: Asked, now: datetime) -> Review:
    """What a person who has these roles would sign; raises PolicyError where one of its clauses is not theirs to sign."""
    if asked.role not in roles:
        raise PolicyError(f"{asked.reviewer} has not signed in as {asked.role!r}", "Sign in with a key that has this role.")
    record = reviews.draft(policy, asked, now)
    _theirs(policy, record)
    return record


def accept(folder: Path, value: Mapping[str, Any]) -> Path:
    """Keep a signed record beside its policy; raises PolicyError where it does not count, or signs what is not theirs to sign."""
    policy = load(folder)
    record = reviews.review_of(dict(value), NOWHERE)
    found = reviews.verified(policy, [record])
    if found.findings:
        raise PolicyError(f"this record does not count: {found.findings[0].message}", found.findings[0].fix)
    _theirs(policy, record)
    overlay = next((one for one in policy.overlays if one.name == record.overlay), None)
    now = {one.id: reviews.signed_digest(policy, one, overlay) for one in (overlay.clauses if overlay else policy.clauses)}
    if old := sorted(name for name, digest in record.clauses.items() if now.get(name) != digest):
        raise PolicyError(f"{old[0]} is not what was signed any more", "Read it again as it stands now, and sign that.")
    return reviews.keep(folder, replace(record, file=""))


def sign(folder: Path, roles: Collection[str], asked: Asked, key: bytes, now: datetime) -> Path:
    """Sign with a key that is here, and keep the record; raises PolicyError."""
    policy = load(folder)
    to_sign(policy, roles, asked, now)
    return reviews.keep(folder, reviews.review(policy, asked, key, now))


def _theirs(policy: Policy, record: Review) -> None:
    if FRAME in record.clauses:
        raise PolicyError(
            "the frame is not signed here", "`bylaw policy sign DIR --frame` signs it; the record goes into reviews/ with the change."
        )
    for clause in record.clauses:
        if record.role not in may_sign(policy, record.reviewer, (record.role,), clause):
            raise PolicyError(
                f"{record.reviewer} may not sign {clause} as {record.role!r}", "The table in policy.yaml says who may: `signoffs:`."
            )
