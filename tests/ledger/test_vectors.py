"""The published vectors: the file is what the command writes, and every part of it holds without any code of the ledger."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bylaw.ledger import keyfile, reading, vectors, verify, verify_standalone
from tests.reference import rfc6962

FILE = Path(__file__).parents[2] / "docs" / "ledger-vectors.json"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return value


def test_the_published_file_is_what_the_command_writes(published: dict[str, Any]) -> None:
    assert published == vectors.vectors()


def test_leaves_are_rfc_8785_and_trees_are_rfc_6962(published: dict[str, Any]) -> None:
    leaves = [one["leaf"].encode() for one in published["entries"]]

    assert [rfc8785.dumps(json.loads(leaf)) for leaf in leaves] == leaves
    assert [hashlib.sha256(b"\0" + leaf).hexdigest() for leaf in leaves] == [one["leaf_hash"] for one in published["entries"]]
    assert all(one["root"] == rfc6962.mth(leaves[: one["size"]]).hex() for one in published["checkpoints"])
    for one in published["inclusion"]:
        assert one["proof"] == [hashed.hex() for hashed in rfc6962.path(one["index"], leaves[: one["size"]])]
    for one in published["consistency"]:
        wanted = rfc6962.proof(one["before"], leaves[: one["after"]]) if one["before"] < one["after"] else []
        assert one["proof"] == [hashed.hex() for hashed in wanted]


def test_signatures_are_those_of_the_signed_note_specification(published: dict[str, Any]) -> None:
    name, hashed, encoded = published["public_key"].split("+", 2)
    raw = base64.b64decode(encoded)[1:]
    key = Ed25519PublicKey.from_public_bytes(raw)

    assert hashlib.sha256(f"{name}\n\x01".encode() + raw).digest()[:4].hex() == hashed
    for one in published["checkpoints"]:
        text, _, line = one["note"].partition("\n\n")
        origin, size, root = text.split("\n")
        dash, signer, signed = line[:-1].split(" ")
        key.verify(base64.b64decode(signed)[4:], (text + "\n").encode())  # raises where it is forged
        assert (dash, signer, size) == ("\u2014", origin, str(one["size"]))
        assert base64.b64decode(root).hex() == one["root"]
        assert base64.b64decode(signed)[:4] == hashlib.sha256(f"{origin}\n\x01".encode() + raw).digest()[:4]


def test_contents_fit_their_commitments(published: dict[str, Any]) -> None:
    for one in published["contents"]:
        said = json.loads(published["entries"][one["at"]]["leaf"])
        found = hashlib.sha256(base64.b64decode(one["salt"]) + base64.b64decode(one["content"])).hexdigest()
        assert said["contents"][one["name"]] == one["sha256"] == f"sha256:{found}"


def test_the_published_export_and_proof_verify_with_both_verifiers(published: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(published["export"], "utf-8")
    key = keyfile.public_key(published["public_key"])

    good, wrong = verify_standalone.check_logs([path], (key.name, key.raw), [])
    told = verify_standalone.check_proof(published["tlog_proof"], (key.name, key.raw))

    assert not wrong
    assert len(good) == 1
    assert "entry 2 of 7" in told
    assert verify.verify([reading.exported(path)], key).good
