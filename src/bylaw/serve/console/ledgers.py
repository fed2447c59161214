"""How the ledger is: whether it takes entries, what each log holds, its last signed checkpoint, and whether all of it still holds."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

from bylaw.errors import LedgerError
from bylaw.ledger import chain, keyfile, place, reading, verify
from bylaw.ledger.notes import PublicKey, read_checkpoint
from bylaw.ledger.writer import Ledger
from bylaw.serve.console.page import Asked, May, Page
from bylaw.serve.desk import Desk, later
from bylaw.serve.door import NotIn

MAX_VERIFIED: Final = 20_000  # entries that are verified in a process that also serves; more is a command's work


async def shown(asked: Asked) -> Response:
    """Every log of this gateway."""
    return asked.page("ledger.html", report=None, **await later(lambda: _gathered(asked.desk)))


async def verified(asked: Asked) -> Response:
    """Every entry read again, and held against the signatures."""
    values = await later(lambda: _gathered(asked.desk))
    if sum(one["entries"] for one in values["logs"]) > MAX_VERIFIED:
        raise NotIn(409, f"more than {MAX_VERIFIED} entries are too many to verify in a process that serves: use `bylaw ledger verify`")
    busy: asyncio.Lock = asked.room.kept.setdefault("verifying", asyncio.Lock())
    async with busy:
        report = await later(lambda: _verified(asked.desk.data_dirs()))
    return asked.page("ledger.html", report=report, **values)


def _gathered(desk: Desk) -> dict[str, Any]:
    logs = []
    for folder in dict.fromkeys(desk.data_dirs()):
        key = _key(folder)
        logs += [_log(path, key) for path in place.files(folder)]
    recorders = [gate.recorder for gate in desk.gates]
    faults = [one.fault for one in recorders if isinstance(one, Ledger) and one.fault]
    return {"logs": logs, "healthy": all(one.healthy for one in recorders), "faults": faults, "most": MAX_VERIFIED}


def _key(folder: Path) -> PublicKey | None:
    try:
        return keyfile.public_key(folder / keyfile.FOLDER / "ledger.pub")
    except LedgerError:
        return None


def _log(path: Path, key: PublicKey | None) -> dict[str, Any]:
    """What one log says of itself; its head and its last checkpoint are checked against the key, its entries are not."""
    try:
        with reading.stored(path) as log:
            entries = log.size()
            last = log.last(1)
            published = log.db.execute("SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1").fetchone()
            head = log.db.execute("SELECT note FROM ledger_heads LIMIT 1").fetchone()
            at = reading.entry(path, last[0][1])["time"] if last else ""
        return {
            "name": log.origin,
            "roots": path.stem == place.ROOTS,
            "entries": entries,
            "last": at,
            "head": _note(head, key, log.origin),
            "published": _note(published, key, log.origin),
            "fault": "",
        }
    except LedgerError as error:
        return {"name": path.stem, "roots": False, "entries": 0, "last": "", "head": None, "published": None, "fault": error.what}


def _note(row: Any, key: PublicKey | None, origin: str) -> dict[str, Any] | None:
    if row is None:
        return None
    note = str(row[0])
    try:
        if key is None:
            raise LedgerError("there is no public key beside the log", "")
        found = read_checkpoint(note, key.of_log(origin))
    except LedgerError as error:
        return {"note": note, "size": None, "root": "", "fault": error.what}
    return {"note": note, "size": found.size, "root": found.root.hex(), "fault": ""}


def _verified(folders: list[Path]) -> verify.Report:
    summaries: list[verify.Summary] = []
    faults: list[verify.Fault] = []
    for folder in dict.fromkeys(folders):
        with ExitStack() as stack:
            paths = [*place.files(folder), *place.sealed(folder)]
            logs = [stack.enter_context(reading.stored(path)) for path in paths]
            found = chain.verify_all(logs, keyfile.public_key(folder / keyfile.FOLDER / "ledger.pub"))
        summaries += found.logs
        faults += found.faults
    return verify.Report(tuple(summaries), tuple(faults))


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/ledger", "read", shown),
    ("POST", "/ledger/verify", "administer", verified),
)
