"""The disk's side of one log: a group of entries goes in with the signed head over all of them, in one transaction; heads are published.

One caller at a time: the writer sees to that. Whatever is raised here but `Locked` leaves the tree in memory ahead of the disk: nothing
may be committed after it.

The write-ahead log gets its full length in one go, once there is use for it: a commit that lengthens a file waits for the file system's own
journal besides its bytes (0.37 and 0.17 ms on our ext4). What is ahead of SQLite's last frame is zeros, which it takes for no frame.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bylaw.errors import LedgerError
from bylaw.ledger import place, rows
from bylaw.ledger.merkle import leaf_hash
from bylaw.ledger.notes import Checkpoint, SigningKey
from bylaw.ledger.resume import resume
from bylaw.ledger.waiting import STOP, Receipt, Waiting

ROOMY_BYTES: Final = 4_300_000  # of the write-ahead log: what SQLite fills before it begins again at the front
CRAMPED: Final = 32  # commits after which the write-ahead log is lengthened
AGAIN_S: Final = 0.002  # between two tries at a database that somebody else has locked
LOG: Final = logging.getLogger(__name__)


class Locked(Exception):  # noqa: N818  # its caller tries again, or waits
    """Somebody else writes to the database just now. Nothing was done."""


class Disk:
    """One open log as its writer has it."""

    def __init__(self, path: Path, key: SigningKey, busy_s: float) -> None:
        self.path, self.log = path, f"{key.name}/{path.stem}"
        self._sign = key.signer(self.log)
        self._busy_s = busy_s
        self._files, self._beside = (str(path), f"{path}-wal"), path.with_suffix(".checkpoint")
        self._scrub = Path(self._files[1]).exists()  # whether erased contents may still stand in the write-ahead log
        self._reader: sqlite3.Connection | None = None
        self.db = place.connect(path, busy_s)
        try:
            self._reader = place.connect(path, busy_s)
            self._inode = path.stat().st_ino
            end = resume(self.db, path, self.log, key.public)
            self.db.execute("PRAGMA busy_timeout=0").fetchall()  # it is waited for here, where it can be left to another thread
        except BaseException:
            self.close()
            raise
        self._frontier, self._note, self.last_us = end.frontier, end.note, end.last_us
        self._published = ""  # the head that is to be published
        self._unsaved = end.sessions  # the last numbers, on the disk or on their way to it, that stand in entries alone
        self.unpublished = end.frontier.size - end.published
        self.published_at = time.monotonic()
        self.groups = self._narrow = 0  # commits, in all and since the write-ahead log was as short as it is

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._frontier.size

    @property
    def cramped(self) -> bool:
        """Whether it is worth while to lengthen the write-ahead log."""
        return self._narrow >= CRAMPED

    def last_of(self, session: str) -> int:
        """The last number of a session that has gone to the disk, 0 where it has none; raises LedgerError. Safe beside a commit."""
        known = self._unsaved.get(session)
        if known is not None:
            return known
        assert self._reader is not None  # until it is closed
        try:
            found = self._reader.execute("SELECT seq FROM ledger_sessions WHERE log=? AND session=?", [self.log, session]).fetchone()
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise LedgerError(f"the ledger cannot tell the last entry of a session: {error}", STOP) from error
        return int(found[0]) if found else 0

    def commit(self, group: Sequence[Waiting], publish: bool, wait: bool) -> None:
        """Write a group and sign the tree with it, in one transaction. `publish`: the head is to be published next.

        Raises Locked where somebody else is writing and this is not to `wait`; else whatever went wrong.
        """
        db, erased = self.db, []
        if group and group[-1].index != self._frontier.size + len(group) - 1:  # after it the log would verify nowhere
            raise LedgerError("an entry was lost on its way here: its caller was interrupted", STOP)
        self._begin(wait)
        if group:
            rows.insert(db, "ledger_leaves", [(self.log, one.index, one.leaf) for one in group])
            contents = [(self.log, one.index, *content, one.time_us, one.session) for one in group for content in one.contents]
            if contents:
                rows.insert(db, "ledger_contents", contents)
            erased = [one for one in group if one.erase]
            for one in erased:
                one.erased = rows.erase(db, self.log, one.index, *(one.erase or (0, "")))
            for one in group:
                hashed = leaf_hash(one.leaf)
                self._frontier.add(hashed)
                one.receipt = Receipt(self.log, one.index, one.seq, hashed)
                self._unsaved[one.session] = one.seq
            self.unpublished += len(group)
            size = self._frontier.size
            self._note = self._sign(Checkpoint(self.log, size, self._frontier.root()))
            db.execute("INSERT OR REPLACE INTO ledger_heads VALUES (?,?,?,?)", [self.log, size, self._note, bytes(self._frontier)])
        if publish:
            db.executemany("INSERT OR REPLACE INTO ledger_sessions VALUES (?,?,?)", [(self.log, *pair) for pair in self._unsaved.items()])
            db.execute("INSERT INTO ledger_checkpoints VALUES (?,?,?)", [self.log, self._frontier.size, self._note])
        db.execute("COMMIT")
        self._still_there()
        if publish:
            self._unsaved, self._published = {}, self._note
            self.unpublished, self.published_at = 0, time.monotonic()
        self.groups += 1
        self._narrow += self._narrow >= 0
        if erased or (publish and self._scrub):
            self._scrub, self._narrow = rows.unscrubbed(db), 0

    def publish(self) -> None:
        """Put the head of the last commit that was to be published where others may take it from; safe beside a commit.

        Only after its own commit: it must never say more than the log holds.
        """
        new = self._beside.with_suffix(".checkpoint-new")
        with new.open("w", encoding="utf-8") as file:
            file.write(self._published)
            file.flush()
            os.fsync(file.fileno())  # an empty file after a power cut would keep the log from opening
        new.replace(self._beside)

    def lengthen(self) -> None:
        """Give the write-ahead log its full length. It is no fault where that cannot be: a commit says by itself that a disk is full."""
        self._narrow = -1  # once, until it is cut short
        try:
            file = os.open(self._files[1], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                if (missing := ROOMY_BYTES - os.fstat(file).st_size) > 0:
                    os.write(file, bytes(missing))
                    os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            LOG.info("%s: its write-ahead log stays short: %s", self.path, error)

    def close(self) -> None:
        """Let go of the database."""
        for db in (self.db, self._reader):
            if db is not None:
                db.close()

    def _begin(self, wait: bool) -> None:
        end = time.monotonic() + self._busy_s if wait else 0.0
        while True:
            try:
                self.db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                if not wait:
                    raise Locked from error
                if time.monotonic() >= end:
                    raise
                time.sleep(AGAIN_S)
            else:
                return

    def _still_there(self) -> None:
        """SQLite writes on into a file that was deleted or replaced; an acknowledgement of that would be worth nothing."""
        os.stat(self._files[1])  # noqa: PTH116  # on the hot path; pathlib costs ten times the call
        if os.stat(self._files[0]).st_ino != self._inode:  # noqa: PTH116  # see above
            raise LedgerError(f"{self.path} was replaced", STOP)
