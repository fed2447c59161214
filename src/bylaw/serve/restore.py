"""A backup comes back: into a new data directory and an empty store, or not at all.

Logs of a backup are never written on. After the backup they may have grown, and those later entries were signed: to go on at the same place
would be to sign two histories. So they are sealed (`ledger.sealed`), a new key signs a new log, and its first entries (`restore`) name each
restored log with its size and root. What lets something happen, and may have been used up or taken back after the backup, is ended:
approvals to which somebody has said yes, canaries, logins at the console. So are the rows of the processes that worked then.
The store is filled in one transaction that ends them too, and the data directory, all of it on the disk, takes its place after that: who
dies between leaves a store in which nobody can use what was given, and no directory; a directory without its store would know no stop.
`go_on` takes everything as it was, the key too, for a gateway that was stopped and moves to another machine; only of a backup during
which nobody wrote.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, and_, delete, exists, or_, select, update

from bylaw.errors import LedgerError, StoreError
from bylaw.ledger import chain, keyfile, place, reading, sealed
from bylaw.ledger.verify import Report
from bylaw.ledger.writer import Ledger
from bylaw.serve import backup, trials
from bylaw.store import clock as clocks
from bylaw.store import console_rows, copying, database, trial_rows
from bylaw.store.approval_tables import ANSWERS, APPROVALS
from bylaw.store.clock import Clock
from bylaw.store.process_tables import PROCESSES

BY: Final = "restore"
AT_ONCE: Final = 500  # approvals that one entry names
SAID: Final = "Somebody said yes before a backup that was restored; it may have been used or denied since. Ask again."
WHY: Final = "a backup was restored: it may have been rolled back since"


class Ended(NamedTuple):
    """What had been given at the time of the backup, still held now, and is not any more."""

    approvals: tuple[str, ...] = ()
    canaries: tuple[int, ...] = ()
    logins: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and what does not hold."""

    backup: backup.Backup
    report: Report  # of the whole ledger as it now lies
    ended: Ended
    went_on: bool


def restore(folder: Path, data_dir: Path, store: str = "", notes: tuple[str, ...] = (), go_on: bool = False) -> Restored:
    """Bring a backup back; `notes` are checkpoints kept elsewhere. Raises BylawError, and then nothing is there that was not before.

    But for rows in a store that was there before, empty: where at the very end the directory cannot take its name, they are in it.
    """
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise LedgerError(f"{data_dir} exists and is not empty", "Name a new data directory; a restore writes over nothing.")
    if what := _unmovable(data_dir):
        raise LedgerError(f"{data_dir} {what}", "Name a new directory itself: it is put in place as a whole.")
    store = _outside(store, data_dir)
    made = backup.opened(folder)
    if go_on and not (made.with_key and made.quiet):
        why = "somebody was writing while it was made" if made.with_key else "it has no key"
        raise LedgerError(f"{folder}: to go on with its logs would be to sign two histories: {why}", "Leave out --go-on.")
    aside = data_dir.with_name(f".{data_dir.name}.restoring")
    try:
        aside.mkdir(mode=0o700)
    except FileExistsError as error:
        hint = "Delete it and what it put into a store, and try again."
        raise LedgerError(f"{aside} is there: a restore was cut short, or is running", hint) from error
    ours: list[Path] = []
    ended = Ended()

    def end(filled: Connection) -> None:
        nonlocal ended
        ended = Ended() if go_on else _end_given(filled, aside)

    try:
        _put_logs(folder, aside, made, go_on)
        report = _verified(aside, notes)
        if go_on and not report.good:
            raise LedgerError(
                f"{folder}: {report.faults[0].log}: {report.faults[0].message}", "Leave out --go-on: its logs cannot be gone on with."
            )
        ours = _claimed(store)
        copying.read(folder / backup.STORE, store or aside / database.DEFAULT.name, end)
        _put_in_place(aside, data_dir)
    except BaseException:
        if aside.exists():  # else it has its name, and all of it is there
            shutil.rmtree(aside, ignore_errors=True)
            _take_away(ours)
        raise
    _synced(data_dir.parent, data_dir)
    return Restored(made, report, ended, go_on)


def _unmovable(data_dir: Path) -> str:
    """Why nothing can be put in that place as a whole; empty where it can."""
    if data_dir.name in ("", ".."):
        return "is no directory's own name"
    if data_dir.is_symlink():
        return "is a link"
    return "is where a file system is mounted" if data_dir.is_mount() else ""


def _outside(store: str, data_dir: Path) -> str:
    """The store's address, empty for its default place, where it comes with the directory; raises StoreError for another place in there."""
    path = _file(store)
    if path is None or not path.is_relative_to(data_dir.resolve()):
        return store
    if path == (data_dir / database.DEFAULT.name).resolve():
        return ""
    raise StoreError(f"{path} lies in {data_dir}, which the restore makes", "Leave out --store (BYLAW_STORE), or name a file elsewhere.")


def _file(store: str) -> Path | None:
    """Where a store of SQLite's lies; None for another, and for the default."""
    name = store.removeprefix("sqlite:///")
    return Path(name).resolve() if name and "://" not in name else None


def _claimed(store: str) -> list[Path]:
    """Make the file of a store that is not there yet, empty: all that is this restore's own from now on, the folders after the files."""
    path = _file(store)
    if path is None:
        return []
    files = [one for one in (path, *(Path(f"{path}{end}") for end in ("-journal", "-wal", "-shm"))) if not one.exists()]
    folders = [one for one in path.parents if not one.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:  # it was there, or somebody was faster: it is theirs
        return []
    return [*files, *folders]


def _take_away(made: list[Path]) -> None:
    """A store that this restore made, and the folders that were made for it."""
    for one in made:
        with suppress(OSError):  # somebody else may have put something into a folder
            one.rmdir() if one.is_dir() else one.unlink(missing_ok=True)


def _put_logs(folder: Path, aside: Path, made: backup.Backup, go_on: bool) -> None:
    """The logs at their place; where they are not gone on with, sealed, with a new log that names them."""
    _copy(folder / place.FOLDER, aside / place.FOLDER)
    if go_on:
        _copy(folder / keyfile.FOLDER, aside / keyfile.FOLDER)
        return
    old = keyfile.public_key(made.key)
    paths = [path.name for path in place.files(aside)]
    sealed.seal(aside, old)
    lie = sealed.folder(aside, old)
    with Ledger(aside) as ledger:
        heads = sealed.heads([lie / name for name in paths], old)
        sealed.name(ledger.append, chain.RESTORE, old, heads, {"backup": made.made_at})


def _copy(folder: Path, to: Path) -> None:
    """A folder for its owner alone, whatever modes the backup has by now: it may have come on a disk that gave it others."""
    shutil.copytree(folder, to, copy_function=shutil.copyfile)
    for path in (to, *to.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _verified(data_dir: Path, notes: tuple[str, ...]) -> Report:
    """The whole ledger, from its newest key, against what was kept elsewhere."""
    with ExitStack() as stack:
        paths = (*place.files(data_dir), *place.sealed(data_dir))
        logs = [stack.enter_context(reading.stored(path)) for path in paths]
        return chain.verify_all(logs, keyfile.public_key(data_dir / keyfile.FOLDER / "ledger.pub"), notes)


def _end_given(filled: Connection, data_dir: Path) -> Ended:
    """End what had been given, and record it, in a ledger of which nobody knows yet."""
    now = clocks.read(filled, Clock())
    halfway = exists().where(ANSWERS.c.approval == APPROVALS.c.id, ANSWERS.c.yes)
    given = or_(APPROVALS.c.state == "approved", and_(APPROVALS.c.state == "pending", halfway))
    held = filled.execute(select(APPROVALS.c.id).where(given, APPROVALS.c.expires_at > now)).scalars()
    approvals = tuple(sorted(held))
    ends = {"state": "expired", "ended_by": BY, "ended_at": now, "said": SAID, "live_call": None, "revision": APPROVALS.c.revision + 1}
    filled.execute(update(APPROVALS).where(given).values(**ends))
    canaries = [one for one in trial_rows.running(filled) if one.kind == "canary"]
    for one in canaries:
        trial_rows.end_in(filled, one.id, "stopped", WHY, now)
    filled.execute(delete(PROCESSES))  # one that still runs works with another store
    ended = Ended(approvals, tuple(one.id for one in canaries), console_rows.nobody(filled))
    with Ledger(data_dir) as ledger:
        for at in range(0, len(approvals), AT_ONCE):
            _say(ledger, {"approvals": approvals[at : at + AT_ONCE]})
        for one in canaries:
            ledger.append(trials.entry(one, BY, "stopped", {"why": WHY}))
        if ended.logins:
            _say(ledger, {"logins": ended.logins})
    return ended


def _say(ledger: Ledger, which: Mapping[str, Any]) -> None:
    ledger.append({"kind": chain.RESTORE, "principal": BY, "facts": {"step": "ended", **which}})


def _put_in_place(aside: Path, data_dir: Path) -> None:
    """Give the directory its name, once a power cut can take nothing of it."""
    try:
        for path in (*aside.rglob("*"), aside):
            sealed.synced(path)
        if data_dir.exists():
            data_dir.rmdir()
        aside.rename(data_dir)
    except OSError as error:
        hint = "Is somebody writing there? A store that was there before has been filled: empty it, and try again."
        raise LedgerError(f"{data_dir} cannot be put in place: {error.strerror}", hint) from error


def _synced(folder: Path, data_dir: Path) -> None:
    try:
        sealed.synced(folder)
    except OSError as error:
        hint = "All of it was restored, but a power cut may take it: look at the disk, then verify it."
        raise LedgerError(f"{data_dir} is there; that it is cannot be written down for good: {error.strerror}", hint) from error
