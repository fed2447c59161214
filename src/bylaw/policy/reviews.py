"""Signed review records: who looked at which clauses, in which role, and what they decided. Ed25519 over RFC 8785 JSON.

A record lies in reviews/NAME.json of the policy's folder and names each clause with the digest of what was signed. It changes nothing of
the policy's own digest, since a signature is about the meaning. `verified` sorts records that count from those that do not; a record
that is forged, altered, for another policy, of an unknown reviewer or in a role they do not hold is a finding, never a sign-off.

What this does not show: that a record was deleted, or that whoever writes policy.yaml put in a key of their own. Against both stands
`succession`: where a policy replaces another, the reviewers of the one in force count, and its records stay.
"""

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from bylaw import canonical, runs
from bylaw.errors import PolicyError
from bylaw.policy.digest import meaning
from bylaw.policy.frame import FRAME, frame_digest
from bylaw.policy.notation import read_json, wrong
from bylaw.types import Clause, Finding, Overlay, Place, Policy, Reviewer

FORMAT: Final = "bylaw-review-1"
FOLDER: Final = "reviews"
MAX_RECORDS: Final = 2_000
MAX_RECORD_BYTES: Final = 250_000
MAX_CLAUSES: Final = 5_000
MAX_TEXT_CHARS: Final = 2_000
MAX_KEY_BYTES: Final = 10_000

Decision = Literal["approve", "reject"]
_AT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TEXTS: Final = ("format", "policy", "version", "overlay", "role", "reviewer", "decision", "at", "note", "signature")


@dataclass(frozen=True, slots=True)
class Review:
    """One review record. `clauses` maps each clause id to the digest of what was signed."""

    policy: str
    version: str
    overlay: str  # the overlay whose clauses these are; empty for the policy's own
    clauses: Mapping[str, str]
    role: str
    reviewer: str
    decision: Decision
    at: str  # UTC, 2026-11-02T09:30:00Z
    note: str = ""
    signature: str = ""  # `ed25519:` and 64 bytes in base64
    file: str = ""  # where it lies, relative to the policy's folder

    def signed(self) -> bytes:
        """The bytes under the signature: all of the record but the signature itself."""
        return canonical.canonical({key: value for key, value in self.to_json().items() if key != "signature"})

    def to_json(self) -> dict[str, Any]:
        """The record as one JSON value."""
        texts = {"format": FORMAT, **{key: getattr(self, key) for key in _TEXTS if key != "format"}}
        return {**texts, "clauses": dict(self.clauses)}


class Reviewed(NamedTuple):
    """The records that count, and a finding for each that does not."""

    reviews: tuple[Review, ...]
    findings: tuple[Finding, ...]


def signed_digest(policy: Policy, clause: Clause, overlay: Overlay | None = None) -> str:
    """The digest of what a reviewer signs: the clause, and the words and styles of the policy that it uses.

    In an overlay also what the overlay rests on and from when; and where it says that it loosens a clause, that clause as it is now.
    """
    said = f"{clause.title}\n{clause.norm}".casefold()
    value: dict[str, Any] = {
        "format": FORMAT,
        "clause": meaning(clause),
        "glossary": {word: text for word, text in policy.glossary.items() if word.casefold() in said},
        "styles": [meaning(style) for style in policy.styles if style.id in clause.style],
    }
    if overlay is not None:
        value["overlay"] = {key: getattr(overlay, key) for key in ("name", "axis", "basis", "effective")}
        named = {clause.id, *clause.overrides}
        value["loosens"] = {
            one.clause: [one.because, meaning(base) if (base := policy.clause(one.clause)) else None]
            for one in overlay.loosens
            if one.clause in named
        }
    return canonical.digest(value)


# ---- Reading and verifying --------------------------------------------------------------------------------------------


def reviewed(folder: Path, policy: Policy) -> Reviewed:
    """The review records beside a policy that count, and what is wrong with the others. One Markdown file has none."""
    place = folder / FOLDER
    if not folder.is_dir() or not (place.is_dir() or place.is_symlink()):
        return Reviewed((), ())
    try:
        names = sorted(path.name for path in place.iterdir() if path.name.endswith(".json") and not path.name.startswith("."))
    except OSError as error:
        what = f"the folder cannot be read, so no sign-off counts: {error.strerror or error}"
        return Reviewed((), (_finding(FOLDER, what, "Make it a plain folder that you may read."),))
    if len(names) > MAX_RECORDS:  # a rejection could be among those left out
        fix = "Move records of clauses that have long changed out of reviews/."
        return Reviewed((), (_finding(FOLDER, f"{len(names)} review records, the limit is {MAX_RECORDS}, so none counts", fix),))
    findings = []
    found = []
    for name in names:
        try:
            found.append(read_review(place / name, f"{FOLDER}/{name}"))
        except PolicyError as error:
            findings.append(_finding(f"{FOLDER}/{name}", error.what.partition(": ")[2], error.hint))
    good = verified(policy, found)
    return Reviewed(good.reviews, (*findings, *good.findings))


def read_review(path: Path, file: str) -> Review:
    """One record from its file, not yet verified; raises PolicyError where it is no record."""
    place = Place(file, 1)
    try:
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file() or path.stat().st_size > MAX_RECORD_BYTES:
            raise wrong(place, f"not a plain file of at most {MAX_RECORD_BYTES} bytes", "Remove it, and sign again.")
        value = read_json(path.read_text("utf-8"), place)
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(place, f"cannot be read: {error}", "Check its permissions, and that it is UTF-8 text.") from error
    return review_of(value, place)


def review_of(value: Any, place: Place) -> Review:
    """A record from a JSON value; raises PolicyError on anything `Review.to_json` would not have written."""
    hint = "Records are written by `bylaw policy sign`, and changed by nobody. Remove it, and sign again."
    if not isinstance(value, dict) or set(value) != {*_TEXTS, "clauses"}:
        raise wrong(place, "a review record has keys missing or too many", hint)
    texts = [value[key] for key in _TEXTS]
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT_CHARS for text in texts) or value["format"] != FORMAT:
        raise wrong(place, f"not a record of the format {FORMAT}", hint)
    clauses = value["clauses"]
    good = isinstance(clauses, dict) and 0 < len(clauses) <= MAX_CLAUSES
    if not good or not all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in clauses.values()):
        raise wrong(place, "a review record must map clause ids to digests", hint)
    if value["decision"] not in get_args(Decision) or not _AT.fullmatch(value["at"]):
        raise wrong(place, "a review record needs a decision (approve or reject) and a time in UTC", hint)
    return Review(**{key: value[key] for key in _TEXTS if key != "format"}, clauses=clauses, file=place.file)


def verified(policy: Policy, found: Iterable[Review]) -> Reviewed:
    """Sort records into those that count and findings about those that do not."""
    people = {one.name: one for one in policy.reviewers}
    good, findings = [], []
    for one in found:
        fault = _fault(policy, people.get(one.reviewer), one)
        if fault and set(one.clauses) == {FRAME}:  # by the reviewers in force, who may be others: `succession` says whether it counts
            continue
        if fault:
            findings.append(_finding(one.file, f"this review does not count: {fault}", "Remove it; who means it signs again."))
        else:
            good.append(one)
    return Reviewed(tuple(good), tuple(findings))


def _fault(policy: Policy, reviewer: Reviewer | None, one: Review) -> str:
    """Why a record does not count; empty where it does."""
    if one.policy != policy.id:
        return f"it is about the policy {one.policy!r}, not {policy.id!r}"
    if one.overlay and one.overlay not in {overlay.name for overlay in policy.overlays}:
        return f"it is about the overlay {one.overlay!r}, which this policy does not have"
    if reviewer is None:
        return f"policy.yaml names no reviewer {one.reviewer!r}"
    if one.role not in reviewer.roles:
        return f"{one.reviewer} does not hold the role {one.role!r}"
    return "" if _signed_by(reviewer, one) else f"the signature is not that of {one.reviewer} over this text"


def _signed_by(reviewer: Reviewer, one: Review) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # a policy without records needs no cryptography
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415  # as above

    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(reviewer.key))
        key.verify(_bytes(one.signature), one.signed())
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(text: str) -> bytes:
    kind, _, encoded = text.partition(":")
    if kind != "ed25519":
        raise ValueError(text)
    return base64.b64decode(encoded, validate=True)


def _finding(file: str, what: str, fix: str) -> Finding:
    return Finding("BL507", "error", Place(file, 1), what, fix)


# ---- Signing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reviewer wants to sign."""

    reviewer: str
    role: str
    clauses: str = "*"  # a pattern over clause ids
    overlay: str = ""
    decision: Decision = "approve"
    note: str = ""


def review(policy: Policy, asked: Asked, key: bytes, now: datetime) -> Review:
    """A signed record; raises PolicyError where this reviewer cannot sign this. `key` is the private key, 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # only who signs needs it

    private = Ed25519PrivateKey.from_private_bytes(key)
    public = _text(private.public_key().public_bytes_raw())
    if asked.clauses != FRAME and (reviewer := _reviewer(policy, asked, public)).key != public:
        raise PolicyError(f"this is not the key of {reviewer.name}", "Give the private key whose public half stands in policy.yaml.")
    record = draft(policy, asked, now)
    return replace(record, signature=_text(private.sign(record.signed())))


def _reviewer(policy: Policy, asked: Asked, public: str) -> Reviewer:
    reviewer = next((one for one in policy.reviewers if one.name == asked.reviewer), None)
    if reviewer is None:
        known = ", ".join(one.name for one in policy.reviewers) or "nobody yet"
        line = f"- {{name: {json.dumps(asked.reviewer, ensure_ascii=False)}, roles: [{asked.role}], key: {public}}}"
        raise PolicyError(f"policy.yaml names no reviewer {asked.reviewer!r}", f"It names {known}. Add under `reviewers:` {line}")
    return reviewer


def draft(policy: Policy, asked: Asked, now: datetime) -> Review:
    """The same record without its signature, for whoever signs elsewhere; raises PolicyError where this reviewer cannot sign this.

    Whether a signature of the frame counts, the policy in force says, whose reviewers may be others than those named here.
    """
    if len(asked.note) > MAX_TEXT_CHARS:
        raise PolicyError(f"a note of {len(asked.note)} characters, the limit is {MAX_TEXT_CHARS}", "Keep it short.")
    if asked.clauses == FRAME:
        return _record(policy, replace(asked, overlay=""), {FRAME: frame_digest(policy)}, now)
    reviewer = _reviewer(policy, asked, "ed25519:…")
    if asked.role not in reviewer.roles:
        raise PolicyError(f"{reviewer.name} does not hold the role {asked.role!r}", f"They hold: {', '.join(reviewer.roles)}.")
    overlay = next((one for one in policy.overlays if one.name == asked.overlay), None)
    if asked.overlay and overlay is None:
        raise PolicyError(f"no overlay {asked.overlay!r} in policy {policy.id}", "Name a folder below overlays/.")
    here = overlay.clauses if overlay else policy.clauses
    chosen = {one.id: signed_digest(policy, one, overlay) for one in here if fnmatchcase(one.id, asked.clauses)}
    if not 0 < len(chosen) <= MAX_CLAUSES:
        raise PolicyError(f"{asked.clauses!r} matches {len(chosen)} clauses", "Give a pattern over clause ids, such as `money.*`.")
    return _record(policy, asked, chosen, now)


def _record(policy: Policy, asked: Asked, chosen: Mapping[str, str], now: datetime) -> Review:
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Review(policy.id, policy.version, asked.overlay, chosen, asked.role, asked.reviewer, asked.decision, at, asked.note)


def keep(folder: Path, one: Review) -> Path:
    """Write a record beside its policy; raises PolicyError where a policy is one file and has no folder."""
    if not folder.is_dir():
        raise PolicyError(
            f"{folder}: a policy of one file keeps no reviews", "Put it into a folder with a policy.yaml that names reviewers."
        )
    file = folder / FOLDER / file_name(one)
    runs.write_json(file, one.to_json())
    return file


def file_name(one: Review) -> str:
    """A name for a record's file: when, who, and enough of its digest to be its own."""
    who = re.sub(r"[^a-z0-9]+", "-", one.reviewer.lower()).strip("-")[:40] or "reviewer"
    return f"{one.at.replace(':', '').replace('-', '')}-{who}-{canonical.digest(one.to_json())[7:15]}.json"


def new_key(path: Path) -> str:
    """Write a new private key that only its owner may read, and return the public half; raises PolicyError where a file is there."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415  # only who signs needs it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # as above

    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise PolicyError(f"{path} exists; no key is written over another", "Choose a new file.") from error
    with os.fdopen(handle, "wb") as out:
        out.write(text)
    return _text(private.public_key().public_bytes_raw())


def read_key(path: Path) -> bytes:
    """The 32 bytes of a private key file; raises PolicyError where it is none, or where others may read it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # only who signs needs it
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  # as above

    hint = "Give the file that `bylaw policy keygen` wrote."
    with path.open("rb") as source:
        if os.fstat(source.fileno()).st_mode & 0o077:
            raise PolicyError(f"{path}: a private key that others may read", f"Run `chmod 600 {path}`.")
        content = source.read(MAX_KEY_BYTES)
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise PolicyError(f"{path}: not a private key", hint) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise PolicyError(f"{path}: not an Ed25519 key", hint)
    return private.private_bytes_raw()


def public_half(key: bytes) -> str:
    """The public half of a private key, as policy.yaml writes it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # only who signs needs it

    return _text(Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw())


def _text(content: bytes) -> str:
    return f"ed25519:{base64.b64encode(content).decode()}"


def in_force(reviews: Sequence[Review], clause: str, overlay: str, digest: str) -> dict[str, list[Review]]:
    """By reviewer, the records about this very clause that still stand: the approvals since their last rejection, else their rejections."""
    found: dict[str, list[Review]] = {}
    for one in reviews:
        if one.overlay == overlay and one.clauses.get(clause) == digest:
            found.setdefault(one.reviewer, []).append(one)
    standing = {}
    for name, records in found.items():
        rejected = max((one.at for one in records if one.decision == "reject"), default="")
        later = [one for one in records if one.decision == "approve" and one.at > rejected]
        standing[name] = later or [one for one in records if one.decision == "reject"]
    return standing
