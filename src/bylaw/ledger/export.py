"""Taking a log out of the house: files that a verifier of one page reads, and proofs of single entries.

An export is a folder: a `.jsonl` file for each log (its lines are described in `reading.py`), the public key, and `verify.py`, which needs
nothing of bylaw. It is whole, or there is none: a file is written beside its place, and where one cannot be, those before it go too.
A proof is text: of one entry c2sp.org/tlog-proof, with the entry itself as `extra`; of growth since an earlier
checkpoint what c2sp.org/tlog-witness calls an add-checkpoint request.
"""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

import orjson

from bylaw.errors import LedgerError
from bylaw.files import whole
from bylaw.ledger import merkle, verify_standalone
from bylaw.ledger.notes import Checkpoint, PublicKey, read_checkpoint
from bylaw.ledger.reading import FORMAT, StoredLog, stored

PROOF: Final = "c2sp.org/tlog-proof@v1"
VERIFIER: Final = "verify.py"


def export(paths: Iterable[Path], key: PublicKey, out: Path, contents: bool = False) -> list[Path]:
    """Write each log that has entries into a new folder, the key and the verifier beside them. Contents only where asked for."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LedgerError(f"{out} exists and is not empty", "Name a new folder; an export never writes over another.")
    out.mkdir(parents=True, exist_ok=True)
    public, verifier, written = out / "ledger.pub", out / VERIFIER, list[Path]()
    try:
        for path in paths:
            with stored(path) as log:
                if log.origin:
                    written.append(out / f"{path.stem}.jsonl")
                    with whole(written[-1]) as file:
                        _write(log, file, contents)
        for path, content in ((public, f"{key}\n".encode()), (verifier, Path(verify_standalone.__file__).read_bytes())):
            with whole(path) as file:
                file.write(content)
    except BaseException:
        for path in (*written, public, verifier):
            path.unlink(missing_ok=True)
        raise
    return written


def _write(log: StoredLog, file: IO[bytes], contents: bool) -> None:
    notes = log.notes()
    (size,) = log.db.execute("SELECT count(*) FROM ledger_leaves WHERE log=?", [log.origin]).fetchone()
    header = {"checkpoints": len(notes), "contents": contents, "format": FORMAT, "leaves": size, "log": log.origin}
    file.write(_line(header))
    for _, leaf in log.leaves():
        file.write(leaf + b"\n")
    file.writelines(_line({"note": note}) for note in notes)
    if contents:
        for one in log.contents():
            said = {"at": one.at, "content": _text(one.content), "name": one.name, "salt": _text(one.salt)}
            file.write(_line(said))


def _line(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# ---- Proofs -----------------------------------------------------------------------------------------------------------


def prove(log: StoredLog, index: int, key: PublicKey) -> str:
    """That one entry stands in the log under its signed head: a C2SP tlog-proof. Raises LedgerError where it cannot be shown."""
    note, hashes = _signed_hashes(log, key)
    if not 0 <= index < len(hashes):
        raise LedgerError(f"{log.origin} has no entry {index}", f"It has entries 0 to {len(hashes) - 1}.")
    (leaf,) = log.db.execute("SELECT leaf FROM ledger_leaves WHERE log=? AND at=?", [log.origin, index]).fetchone()
    lines = [PROOF, f"extra {_text(leaf)}", f"index {index}", *map(_text, merkle.inclusion_proof(hashes, index))]
    return "\n".join(lines) + f"\n\n{note}"


def prove_growth(log: StoredLog, held: Checkpoint, key: PublicKey) -> str:
    """That the log still begins with all that an earlier checkpoint signed. Raises LedgerError where it does not."""
    note, hashes = _signed_hashes(log, key)
    if held.origin != log.origin:
        raise LedgerError(f"the checkpoint is of {held.origin}", f"This log is {log.origin}.")
    if held.size > len(hashes) or merkle.root_of(hashes[: held.size]) != held.root:
        raise LedgerError(f"{log.origin} does not begin with what was signed at {held.size} entries", "It was cut or rewritten.")
    lines = [f"old {held.size}", *map(_text, merkle.consistency_proof(hashes, held.size))]
    return "\n".join(lines) + f"\n\n{note}"


def _signed_hashes(log: StoredLog, key: PublicKey) -> tuple[str, list[bytes]]:
    """The signed head, and the leaf hashes that have its root."""
    notes = log.notes()
    if not notes:
        raise LedgerError(f"{log.where} has no entries", "Nothing was recorded there yet.")
    head = read_checkpoint(notes[-1], key)
    hashes = [merkle.leaf_hash(leaf) for _, leaf in log.leaves()]
    if len(hashes) != head.size or merkle.root_of(hashes) != head.root:
        raise LedgerError(
            f"{log.origin} does not have the root that it signed", "See `bylaw ledger verify`; nothing can be proved from it."
        )
    return notes[-1], hashes
