"""The tree against published vectors, against the RFC word for word, and against whoever changes a proof."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.ledger import merkle
from tests.reference import rfc6962

# The test data of Google's Certificate Transparency (`certificate-transparency/cpp/merkletree/merkle_tree_test.cc`, and since then
# transparency-dev/merkle `testonly/reference_test.go`): eight entries, the root after each, some proofs.
ENTRIES = [
    bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(f"entry {i}".encode()) for i in range(size)]


def test_the_published_roots_and_proofs_come_out() -> None:
    hashes = [merkle.leaf_hash(entry) for entry in ENTRIES]

    roots = [merkle.root_of(hashes[:size]).hex() for size in range(1, 9)]
    inclusion = {(i, n): [one.hex() for one in merkle.inclusion_proof(hashes[:n], i)] for i, n in INCLUSION}
    consistency = {(m, n): [one.hex() for one in merkle.consistency_proof(hashes[:n], m)] for m, n in CONSISTENCY}

    assert roots == ROOTS
    assert inclusion == INCLUSION
    assert consistency == CONSISTENCY
    assert merkle.root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65, 100])
def test_every_root_and_proof_is_the_one_of_the_rfc_and_checks(size: int) -> None:
    entries = [f"entry {i}".encode() for i in range(size)]
    hashes = leaves(size)
    root = merkle.root_of(hashes)

    inclusion = [merkle.inclusion_proof(hashes, i) for i in range(size)]
    consistency = {m: merkle.consistency_proof(hashes, m) for m in range(size + 1)}

    assert root == rfc6962.mth(entries)
    assert inclusion == [rfc6962.path(i, entries) for i in range(size)]
    assert all(merkle.includes(root, size, i, hashes[i], proof) for i, proof in enumerate(inclusion))
    assert all(consistency[m] == rfc6962.proof(m, entries) for m in range(1, size))
    assert all(merkle.extends(m, merkle.root_of(hashes[:m]), size, root, proof) for m, proof in consistency.items())


@given(st.integers(1, 70), st.data())
def test_a_changed_inclusion_proof_shows_nothing(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    root = merkle.root_of(hashes)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(hashes, index)
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else -1

    changed = list(proof)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        changed[at] = bytes([changed[at][0] ^ 1]) + changed[at][1:]
        assert not merkle.includes(root, size, index, hashes[index], changed)
        assert not merkle.includes(root, size, index, hashes[index], proof[:-1])
    assert not merkle.includes(root, size, index, hashes[index], [*proof, root])
    assert not merkle.includes(root, size, other, hashes[index], proof)
    assert not merkle.includes(root, size, index, merkle.leaf_hash(b"another"), proof)
    assert not merkle.includes(root, size, index, hashes[index], [b"short", *proof])
    assert not merkle.includes(root, size, size, hashes[index], proof)


@given(st.integers(2, 70), st.data())
def test_a_log_whose_past_was_rewritten_has_no_consistency_proof(size: int, data: st.DataObject) -> None:
    before = data.draw(st.integers(1, size - 1))
    at = data.draw(st.integers(0, before - 1))
    honest, forged = leaves(size), leaves(size)
    forged[at] = merkle.leaf_hash(b"rewritten")
    held = merkle.root_of(honest[:before])

    proof = merkle.consistency_proof(forged, before)

    assert not merkle.extends(before, held, size, merkle.root_of(forged), proof)
    assert not merkle.extends(before, held, size, merkle.root_of(honest), [*merkle.consistency_proof(honest, before), held])
    assert not merkle.extends(size, merkle.root_of(honest), before, held, [])


@given(st.integers(0, 300))
def test_a_stored_frontier_goes_on_as_if_it_had_never_been_stored(size: int) -> None:
    whole = merkle.Frontier()
    for hashed in leaves(size):
        whole.add(hashed)

    again = merkle.Frontier.load(size, bytes(whole))
    for tree in (whole, again):
        tree.add(merkle.leaf_hash(b"next"))

    assert again.root() == whole.root() == merkle.root_of([*leaves(size), merkle.leaf_hash(b"next")])
    with pytest.raises(ValueError, match="perfect subtrees"):
        merkle.Frontier.load(size + 1, bytes(whole) + b"x")
