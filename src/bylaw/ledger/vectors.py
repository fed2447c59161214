"""Test vectors for whoever verifies our ledgers with code of their own: `python -m bylaw.ledger.vectors > docs/ledger-vectors.json`.

Made from fixed entries, salts and a key that everybody knows, so the file is the same each time. Nothing real is ever signed with it.
"""

import base64
import hashlib
import json
import sys
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bylaw.ledger import entries, merkle
from bylaw.ledger.export import PROOF
from bylaw.ledger.notes import Checkpoint, SigningKey
from bylaw.ledger.reading import FORMAT

SEED: Final = b"bylaw ledger test vectors: public"
LOG: Final = "bylaw-ledger/test-vectors/log"
START_US: Final = 1_795_262_400_000_000
GIVEN: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "policy", "policy": "sha256:" + "00" * 32, "facts": {"version": "1.2.0"}},
    {"kind": "decision", "session": "s1", "surface": "input", "decision": "allow", "contents": {"input": "Please refund order 81."}},
    {
        "kind": "decision",
        "session": "s1",
        "principal": "agent-7",
        "surface": "tool_call",
        "tool": "payments.refund",
        "decision": "require_approval",
        "clauses": ["money.refund-limit"],
        "rules": ["money.refund-limit/over-limit"],
        "approval": "a1",
        "contents": {"args": '{"amount":"2500.50"}'},
    },
    {
        "kind": "approval",
        "session": "s1",
        "principal": "Zoë",
        "decision": "approved",
        "approval": "a1",
        "facts": {"reason": '\u20ac\u2028\x7f"\\\n'},
    },
    {"kind": "release", "session": "s1", "approval": "a1", "facts": {"quorum": [1, True, None]}},
    {"kind": "stop", "principal": "op", "facts": {"scope": "global"}, "time": START_US - 3_600_000_000},
    {"kind": "retention", "facts": {"before": entries.timestamp(START_US + 1_500_000), "session": ""}},
)


def vectors() -> dict[str, Any]:
    """All of them, as one JSON value."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(SEED).digest())
    key = SigningKey("bylaw-ledger/test-vectors", private)
    leaves, contents = _leaves()
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    sizes = range(len(leaves) + 1)
    notes = [key.sign(Checkpoint(LOG, size, merkle.root_of(hashes[:size]))) for size in sizes]
    return {
        "about": "Test vectors of bylaw ledgers. The key is public: never trust what it signs. docs/ledger.md says what each part is.",
        "private_seed": hashlib.sha256(SEED).hexdigest(),
        "public_key": str(key.public),
        "empty_root": merkle.EMPTY_ROOT.hex(),
        "entries": [{"leaf": leaf.decode(), "leaf_hash": hashed.hex()} for leaf, hashed in zip(leaves, hashes, strict=True)],
        "contents": contents,
        "checkpoints": [{"size": size, "root": merkle.root_of(hashes[:size]).hex(), "note": notes[size]} for size in sizes],
        "inclusion": [
            {"index": index, "size": size, "proof": [one.hex() for one in merkle.inclusion_proof(hashes[:size], index)]}
            for size in sizes
            for index in range(size)
        ],
        "consistency": [
            {"before": before, "after": after, "proof": [one.hex() for one in merkle.consistency_proof(hashes[:after], before)]}
            for after in sizes
            for before in range(1, after + 1)
        ],
        "tlog_proof": _proof(leaves, hashes, notes[-1], 2),
        "export": _export(leaves, [notes[3], notes[-1]], contents),
    }


def _leaves() -> tuple[list[bytes], list[dict[str, Any]]]:
    """The bytes of the entries, and what is left of their contents: the second's went with the retention entry."""
    leaves, contents, seqs, last = [], [], dict[str, int](), 0
    for index, given in enumerate(GIVEN):
        said = entries.checked(given)
        time_us = given.get("time", START_US + index * 1_000_000)
        seqs[said["session"]] = seqs.get(said["session"], 0) + 1
        back = last - time_us
        commitments = {}
        for name, content in entries.check_contents(given.get("contents", {})).items():
            salt = hashlib.sha256(f"salt {index} {name}".encode()).digest()
            commitments[name] = entries.commitment(salt, content)
            left = index != 1
            contents.append(
                {"at": index, "name": name, "salt": _text(salt), "content": _text(content), "sha256": commitments[name], "left": left}
            )
        said |= {
            "v": entries.VERSION,
            "log": LOG,
            "index": index,
            "time": entries.timestamp(time_us),
            "clock_back_us": back if back > entries.SLACK_US else 0,
            "seq": seqs[said["session"]],
            "contents": commitments,
        }
        last = time_us
        leaves.append(entries.encoded(said))
    return leaves, contents


def _proof(leaves: list[bytes], hashes: list[bytes], note: str, index: int) -> str:
    path = [_text(one) for one in merkle.inclusion_proof(hashes, index)]
    return "\n".join([PROOF, f"extra {_text(leaves[index])}", f"index {index}", *path]) + f"\n\n{note}"


def _export(leaves: list[bytes], notes: list[str], contents: list[dict[str, Any]]) -> str:
    header = {"checkpoints": len(notes), "contents": True, "format": FORMAT, "leaves": len(leaves), "log": LOG}
    kept = [{key: one[key] for key in ("at", "name", "salt", "content")} for one in contents if one["left"]]
    lines = [entries.encoded(header), *leaves, *(entries.encoded(one) for one in [*({"note": note} for note in notes), *kept])]
    return b"".join(line + b"\n" for line in lines).decode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n")
