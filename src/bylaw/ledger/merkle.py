"""The Merkle tree of RFC 6962 (and RFC 9162): leaf and node hashes, the root, inclusion and consistency proofs, and their checks.

`Frontier` is what a writer keeps: one hash a perfect subtree, at most 64 of them. Proofs are made from all leaf hashes. Checks take
hashes from outside and raise nothing: what does not fit is False. The literal version from the RFC is in `tests/reference/rfc6962.py`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one entry: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree as its writer needs it: how many leaves, and the roots of its perfect subtrees, largest first."""

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in self._peaks):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees")

    @classmethod
    def load(cls, size: int, stored: bytes) -> "Frontier":
        """The inverse of `bytes`; raises ValueError where the lengths do not fit."""
        return cls(size, (stored[i : i + HASH_BYTES] for i in range(0, len(stored), HASH_BYTES)))

    def __bytes__(self) -> bytes:
        return b"".join(self._peaks)

    def add(self, hashed: bytes) -> None:
        """Append one leaf, given as its leaf hash."""
        size = self.size
        while size & 1:
            hashed = node_hash(self._peaks.pop(), hashed)
            size >>= 1
        self._peaks.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The Merkle tree hash of these leaf hashes."""
    frontier = Frontier()
    for hashed in hashes:
        frontier.add(hashed)
    return frontier.root()


# ---- Proofs -----------------------------------------------------------------------------------------------------------


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of one leaf in the tree of all these leaf hashes (RFC 6962, 2.1.1), from the leaf's sibling up."""
    if not 0 <= index < len(hashes):
        raise ValueError(f"there is no leaf {index} in a tree of {len(hashes)}")
    return [root_of(hashes[start:end]) for start, end in _siblings(index, len(hashes))]


def consistency_proof(hashes: Sequence[bytes], before: int) -> list[bytes]:
    """The proof that the tree of all these leaf hashes begins with its first `before` leaves (RFC 6962, 2.1.2)."""
    size = len(hashes)
    if not 0 <= before <= size:
        raise ValueError(f"a tree of {size} leaves has no earlier state of {before}")
    if before in {0, size}:
        return []
    start, end, path = 0, size, []
    while before - start != end - start:  # SUBPROOF(m, D[n], b), unrolled
        middle = start + _split(end - start)
        if before <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:  # b is false: the verifier does not have this subtree's hash
        path.append((start, end))
    return [root_of(hashes[a:b]) for a, b in reversed(path)]


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _siblings(index: int, size: int) -> list[tuple[int, int]]:
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


# ---- Checks (RFC 9162, 2.1.3.2 and 2.1.4.2) ----------------------------------------------------------------------------


def includes(root: bytes, size: int, index: int, hashed: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the leaf with this hash stands at `index` of the tree with this root and size."""
    if not 0 <= index < size or any(len(one) != HASH_BYTES for one in (root, hashed, *proof)):
        return False
    node, last, found = index, size - 1, hashed
    for one in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(one, found)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, one)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def extends(before: int, root_before: bytes, after: int, root_after: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of `after` leaves begins with all of the tree of `before` leaves."""
    if not 0 <= before <= after or any(len(one) != HASH_BYTES for one in (root_before, root_after, *proof)):
        return False
    if before == after:
        return not proof and root_before == root_after
    if before == 0:
        return not proof and root_before == EMPTY_ROOT
    path = [root_before, *proof] if before & (before - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = before - 1, after - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, one)
        node, last = node >> 1, last >> 1
    return last == 0 and old == root_before and new == root_after
