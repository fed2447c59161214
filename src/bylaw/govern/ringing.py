"""The bell: tells people by webhook and e-mail that somebody waits for them. It only rings; nothing is decided by answering it.

What is sent says which request, which clauses and how long it waits; never what it is about, which may be private. Each ring is tried at
most `TRIES` times in a thread of its own; a request waits and can be listed whether or not anybody heard. How it went is given to `told`,
which writes it beside the request (`Approvals.note`); beside an appeal there is no place for it, so that only the log tells.

A process that dies takes with it what its bell had not rung for. So a bell looks once a minute for requests that nobody was rung for
(`follow`), however much there is to ring for; and each asks right before it rings for a request whether it is the one who does (`mine`).
Appeals are not looked for.
"""

import logging
import queue
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any, Final

from bylaw.errors import BylawError, StoreError
from bylaw.govern import webhooks
from bylaw.govern.appeals import REVIEWERS
from bylaw.govern.webhooks import Webhook
from bylaw.store.appeal_rows import Appeal
from bylaw.store.approval_rows import Approval

TRIES: Final = 4
WAITS_S: Final = (1.0, 5.0, 30.0)  # between the tries
MAX_QUEUED: Final = 1_000
LOOK_S: Final = 60.0  # how often a bell looks for what nobody was rung for
MAIL_TIMEOUT_S: Final = 10.0
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
LOG: Final = logging.getLogger(__name__)

Waiting = Approval | Appeal  # what waits for a person
Channel = Callable[[Waiting], str]  # rings once; empty where it was heard, else why not
Told = Callable[[str, str], object]  # the id of what waits, how it went
Mine = Callable[[str], bool]  # whether this process is the one that rings for the request with this id; raises StoreError
Missed = Callable[[], int]  # rings for what nobody was rung for; for how much


@dataclass(frozen=True, slots=True)
class Mail:
    """Whom to write to, and through which server. TLS is required, except on this machine."""

    server: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    user: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse at once what could never be sent."""
        if not self.to or not all("@" in one and one.isprintable() and " " not in one for one in (self.sender, *self.to)):
            raise StoreError("e-mail needs a sender and at least one address", "Write name@host.")
        if self.password and not self.user:
            raise StoreError("e-mail has a password and no user", "Name the user.")


def by_webhook(hook: Webhook, clock: Callable[[], float] = time.time) -> Channel:
    """Ring by webhook."""

    def ring(waiting: Waiting) -> str:
        return webhooks.send(hook, f"msg_{waiting.id}", int(clock()), message(waiting))

    return ring


def by_mail(mail: Mail) -> Channel:
    """Ring by e-mail."""

    def ring(waiting: Waiting) -> str:
        try:
            with smtplib.SMTP(mail.server, mail.port, timeout=MAIL_TIMEOUT_S) as server:
                if mail.server not in LOCAL:
                    server.starttls(context=ssl.create_default_context())
                if mail.user:
                    server.login(mail.user, mail.password)
                refused = server.send_message(letter(mail, waiting))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return f"{mail.server}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return f"{mail.server} refused {', '.join(refused)}" if refused else ""

    return ring


def message(waiting: Waiting) -> dict[str, Any]:
    """What a webhook says."""
    if isinstance(waiting, Appeal):
        told = {"appeal": waiting.id, "state": waiting.state, "tenant": waiting.tenant, "clauses": list(waiting.clauses)}
        return {"type": "appeal.open", "timestamp": _iso(waiting.made_at), "data": {**told, "roles": sorted(REVIEWERS)}}
    approval = waiting
    data = {
        "approval": approval.id,
        "state": approval.state,
        "tenant": approval.tenant,
        "clauses": list(approval.clauses),
        "roles": sorted({role for need in approval.needs for role in need.approvers}),
        "expires_at": _iso(approval.expires_at),
    }
    return {"type": "approval.pending", "timestamp": _iso(approval.requested_at), "data": data}


def letter(mail: Mail, waiting: Waiting) -> EmailMessage:
    """What an e-mail says."""
    appeal = isinstance(waiting, Appeal)
    since = waiting.made_at if isinstance(waiting, Appeal) else waiting.requested_at
    answer = f"appeals answer {waiting.id} upheld    (or overturned)" if appeal else f"approvals approve {waiting.id}    (or deny)"
    made = EmailMessage()
    made["Subject"] = f"bylaw: {'an appeal waits for an answer' if appeal else 'a request waits for approval'} ({waiting.id[:8]})"
    made["From"], made["To"] = mail.sender, ", ".join(mail.to)
    made["Date"] = format_datetime(datetime.fromtimestamp(since / 1000, UTC))
    made["Message-ID"] = make_msgid(idstring=waiting.id, domain="bylaw.invalid")
    lines = [
        "An appeal against a refusal waits for a person." if appeal else "A request waits for a person.",
        "",
        f"  clauses  {', '.join(waiting.clauses) or 'none'}",
        f"  since    {_iso(since)}" if isinstance(waiting, Appeal) else f"  until    {_iso(waiting.expires_at)}",
        "",
        "See it, and answer it:",
        "",
        f"  bylaw {'appeals' if appeal else 'approvals'} show {waiting.id}",
        f"  bylaw {answer}",
        "",
        "Replying to this letter answers nothing.",
    ]
    made.set_content("\n".join(lines))
    return made


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Bell:
    """Rings every channel for each request, in a thread of its own.

    Give `ring` to Approvals; and `note` of it to `told`, `summons.take` to `mine`, `summons.missed` to `follow`.
    """

    def __init__(self, channels: Sequence[Channel], told: Told, waits_s: Sequence[float] = WAITS_S, mine: Mine | None = None) -> None:
        self._channels = channels
        self._told = told
        self._waits_s = waits_s
        self._mine = mine
        self._missed: Missed | None = None
        self._queue: queue.Queue[Waiting | None] = queue.Queue(MAX_QUEUED)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._ring_all, name="bylaw-bell", daemon=True)
        self._thread.start()

    def follow(self, missed: Missed) -> None:
        """Have `missed` called now, and from then on once a minute, and again as soon as all that it found is rung for."""
        missed()
        self._missed = missed

    def ring(self, waiting: Waiting) -> None:
        """Ring for this request or appeal soon; never waits."""
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            LOG.warning("nobody was rung for %s: %d requests wait to be rung for", waiting.id, MAX_QUEUED)
            if not self._asks(waiting):  # else whoever looks for it later rings
                self._tell(waiting.id, "nobody was rung: too many requests at once")

    def close(self, patience_s: float = 5.0) -> None:
        """Ring for what waits, without further tries, and stop."""
        self._closed.set()
        try:
            self._queue.put(None, timeout=patience_s)
        except queue.Full:
            LOG.warning("the bell was closed while %d requests waited to be rung for", MAX_QUEUED)
        self._thread.join(patience_s)

    def _ring_all(self) -> None:
        found, due = 0, time.monotonic() + LOOK_S
        while not (self._closed.is_set() and self._queue.empty()):
            try:
                waiting = self._queue.get(timeout=0.0 if found else max(due - time.monotonic(), 0.0))
            except queue.Empty:
                waiting, due = None, 0.0  # all that was found is rung for: there may be more
            if waiting is not None and self._begins(waiting):
                self._ring_for(waiting)
            room = self._queue.qsize() <= MAX_QUEUED // 2  # else it would take on what it has no place for
            if time.monotonic() >= due and room and not self._closed.is_set():
                found, due = self._looked(), time.monotonic() + LOOK_S

    def _ring_for(self, waiting: Waiting) -> None:
        faults = [fault for channel in self._channels if (fault := self._tried(channel, waiting))]
        if faults:
            LOG.warning("ringing for %s failed: %s", waiting.id, "; ".join(faults))
        rung = len(self._channels) - len(faults)
        self._tell(waiting.id, f"rang {rung} of {len(self._channels)}" + (f"; {'; '.join(faults)}" if faults else ""))

    def _looked(self) -> int:
        try:
            return self._missed() if self._missed is not None else 0
        except Exception:  # this thread must live to ring for what comes
            LOG.exception("for whom nobody was rung could not be looked up")
            return 0

    def _begins(self, waiting: Waiting) -> bool:
        """Whether to ring: nobody else does, and it still waits. Where that cannot be known, whoever looks for it later rings."""
        if self._mine is None or not self._asks(waiting):
            return True
        try:
            return self._mine(waiting.id)
        except BylawError as error:
            LOG.warning("whether to ring for %s could not be known: %s", waiting.id, error.what)
            return False

    def _asks(self, waiting: Waiting) -> bool:
        """Whether it is asked who rings for this; one with a notice was taken when it was found."""
        return self._mine is not None and not isinstance(waiting, Appeal) and not waiting.notice

    def _tried(self, channel: Channel, waiting: Waiting) -> str:
        fault = ""
        for attempt in range(TRIES):
            try:
                fault = channel(waiting)
            except Exception as error:  # noqa: BLE001  # a bell that breaks must not silence the others, nor this thread
                fault = f"{type(error).__name__}: {error}"
            last = attempt == TRIES - 1 or self._closed.is_set()
            if not fault or last or self._closed.wait(self._waits_s[min(attempt, len(self._waits_s) - 1)]):
                break
        return fault

    def _tell(self, waiting: str, how: str) -> None:
        try:
            self._told(waiting, how)
        except BylawError as error:
            LOG.warning("how ringing for %s went could not be written down: %s", waiting, error.what)
