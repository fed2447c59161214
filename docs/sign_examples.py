"""Sign an example policy with keys that are thrown away: `python -m docs.sign_examples policies/meridian`.

Shipped examples carry valid review records, and no private key is in git: each run makes new keys in memory, writes their public halves
into the policy's policy.yaml, signs every clause that the sign-off table asks for, removes the old records and forgets the keys. So the
records prove that signing and checking work; they prove nothing about the reviewers, who are made up.
"""

import fnmatch
import re
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bylaw.policy import reviews, signoffs
from bylaw.policy.notation import plain, read_yaml
from bylaw.policy.parse import MANIFEST, load, read
from bylaw.policy.reviews import Asked, public_half
from bylaw.types import Place, Policy, Reviewer

NAMES = ("A. Meyer", "B. Okafor", "C. Lindqvist", "D. Moreau", "E. Tanaka", "F. Novak", "G. Silva", "H. Osei")
_REVIEWERS = re.compile(r"^reviewers:.*\n(?:[ \t#-].*(?:\n|\Z))*", re.MULTILINE)


def people(folder: Path) -> list[Reviewer]:
    """Reviewers for every role of the table: those that policy.yaml names (their keys do not matter), else made-up ones."""
    file = folder / MANIFEST
    manifest = plain(read_yaml(file.read_text("utf-8"), Place(MANIFEST, 1)))
    if manifest.get("reviewers"):
        return [Reviewer(str(row["name"]), tuple(row["roles"]), "") for row in manifest["reviewers"]]
    most: dict[str, int] = {}
    for line in read(folder).policy.signoffs:
        wanted = Counter(line.roles[at % len(line.roles)] for at in range(line.count))
        most |= {role: max(most.get(role, 0), count) for role, count in wanted.items()}
    roles = [role for role, count in most.items() for _ in range(count)]
    if len(roles) > len(NAMES):
        raise SystemExit(f"{len(roles)} reviewers are needed, {len(NAMES)} names are known here: add some to NAMES")
    return [Reviewer(NAMES[at], (role,), "") for at, role in enumerate(roles)]


def asked_of(policy: Policy) -> list[tuple[str, str, str]]:
    """Who signs what: each reviewer, in each role, for the lines of the table that name the role."""
    return [
        (who.name, role, pattern)
        for who in policy.reviewers
        for role in who.roles
        for pattern in dict.fromkeys(line.clauses for line in policy.signoffs if role in line.roles)
    ]


def sign(folder: Path, now: datetime) -> int:
    """Give a policy new reviewers' keys and new records; returns how many records were written."""
    file = folder / MANIFEST
    signers = people(folder)
    keys = {who.name: Ed25519PrivateKey.generate().private_bytes_raw() for who in signers}
    named = [replace(who, key=public_half(keys[who.name])) for who in signers]
    rows = "".join(f'  - {{name: "{who.name}", roles: [{", ".join(who.roles)}], key: "{who.key}"}}\n' for who in named)
    text = file.read_text("utf-8")
    block = f"reviewers:\n  # Made-up people. docs/sign_examples.py made their keys and threw the private halves away.\n{rows}"
    text = _REVIEWERS.sub(lambda _: block, text, count=1) if _REVIEWERS.search(text) else text.rstrip("\n") + "\n" + block
    file.write_text(text, "utf-8")
    for old in (folder / reviews.FOLDER).glob("*.json"):
        old.unlink()
    policy = load(folder)
    written = 0
    for overlay in (None, *policy.overlays):
        ids = [clause.id for clause in (overlay or policy).clauses]
        for who, role, pattern in asked_of(policy):
            if fnmatch.filter(ids, pattern):
                asked = Asked(who, role, pattern, overlay.name if overlay else "", "approve", "an example; the key was thrown away")
                reviews.keep(folder, reviews.review(policy, asked, keys[who], now))
                written += 1
    left = [row for row in signoffs.status(policy, reviews.reviewed(folder, policy).reviews) if row.missing]
    if left:
        raise SystemExit(f"{folder}: {left[0].clause} still misses {left[0].missing[0]}: give a reviewer that role in policy.yaml")
    return written


def main() -> None:
    """Sign every folder named on the command line."""
    for name in sys.argv[1:]:
        count = sign(Path(name), datetime.now(UTC))
        sys.stdout.write(f"{name}: {count} review records, the keys are gone\n")


if __name__ == "__main__":
    main()
