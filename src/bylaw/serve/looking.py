"""Signals looked for every so often: by one of the processes that share a data directory, in a process of its own, and after all else.

`signals: {every: 15m}` in gateway.yaml. A look reads the newest records (`govern.watch`) in a child that is niced, ends itself after
`LONGEST_S` and never holds up a request. Whoever has the lock `DATA/signals.lock` looks, where a look is due; the kernel gives the lock
back when its holder dies. What came of it stands in `DATA/signals.json`, so that every worker can tell of it: in the metrics, and in
`/readyz` where it failed. Webhooks are rung for a signal once a window; without any, it is an entry of the ledger alone.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bylaw.errors import BylawError
from bylaw.ledger import place
from bylaw.serve.lookout import SignalsAt
from bylaw.serve.secret import secret_in
from bylaw.serve.wiring import HookAt, Wiring

if TYPE_CHECKING:
    from bylaw.govern.watch import Ring

PART: Final = "signals"  # as a trouble
FILE: Final = "signals.json"
LONGEST_S: Final = 300  # of one look
POLL_S: Final = 5.0
NICE: Final = 10
MAX_BYTES: Final = 64 * 1024  # of what a look says
LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What came of a look."""

    at: float  # when it began, seconds since 1970
    took_s: float = 0.0
    standing: int = 0  # signals
    cut: bool = False  # a log has more entries than are looked at
    fault: str = ""  # why there was none, or who did not hear of it
    done: float = 0.0  # when one last came to its end, seconds since 1970; 0: never


def last(data_dir: Path) -> Look | None:
    """The latest look at a data directory; None where there was none, or what it says cannot be read."""
    try:
        text = (data_dir / FILE).read_text("utf-8")[:MAX_BYTES]
        return Look(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


class Looking:
    """Looks at these data directories, each with its store."""

    def __init__(
        self,
        at: SignalsAt,
        wiring: Wiring,
        places: Sequence[tuple[Path, str]],
        say: Callable[[str, str], object],
        poll_s: float = POLL_S,
    ) -> None:
        self._at, self._wiring, self._places, self._say, self._poll_s = at, wiring, places, say, poll_s
        self._closed, self._child = threading.Event(), list[subprocess.Popen[bytes]]()
        self._thread = threading.Thread(target=self._go_on, name="bylaw-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; a look that is under way is broken off."""
        self._closed.set()
        for child in list(self._child):
            child.kill()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                for data_dir, store in self._places:
                    self._turn(data_dir, store)
                faults = [found.fault for data_dir, _ in self._places if (found := last(data_dir)) is not None and found.fault]
            except Exception as error:  # this thread must live to see the next turn
                LOG.exception("signals could not be looked for")
                faults = [type(error).__name__]
            self._say(PART, "; ".join(faults)[:300])

    def _turn(self, data_dir: Path, store: str) -> None:
        """Look, where a look is due and nobody else is at it."""
        if not self._due(data_dir) or (lock := place.try_lock(data_dir / PART)) is None:
            return
        try:
            if self._due(data_dir):  # nobody has, since it was asked
                began, before = time.time(), last(data_dir)
                said = self._looked(data_dir, store)
                if not self._closed.is_set():
                    done = time.time() if not said.get("fault") else before.done if before else 0.0
                    _write(data_dir, Look(began, round(time.time() - began, 3), done=done, **said))
        finally:
            os.close(lock)

    def _due(self, data_dir: Path) -> bool:
        found, now = last(data_dir), time.time()
        return found is None or not found.at <= now < found.at + self._at.every_s

    def _looked(self, data_dir: Path, store: str) -> dict[str, Any]:
        hooks = [asdict(one) for one in self._wiring.hooks]
        asked: dict[str, Any] = {"data_dir": str(data_dir), "store": store, "hooks": hooks, "hosts": self._wiring.hosts}
        asked |= {"window_s": self._at.window_s, "history_s": self._at.history_s}
        with subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            self._child.append(child)
            if self._closed.is_set():  # between the turn and here, so that nobody has killed it
                child.kill()
            try:
                text, _ = child.communicate(json.dumps(asked).encode(), LONGEST_S)
                said = json.loads(text[:MAX_BYTES])
                return {name: said[name] for name in ("standing", "cut", "fault")}
            except subprocess.TimeoutExpired:
                child.kill()
                return {"fault": f"a look took longer than {LONGEST_S} s and was broken off"}
            except (OSError, ValueError, KeyError, TypeError):
                return {"fault": f"a look came to no end (exit {child.wait()})"}
            finally:
                self._child.clear()


def _write(data_dir: Path, found: Look) -> None:
    beside = data_dir / f"{FILE}.new"
    beside.write_text(json.dumps(asdict(found)), "utf-8")
    beside.replace(data_dir / FILE)


def rings(hooks: Sequence[HookAt], hosts: Sequence[str]) -> "list[tuple[str, Ring]]":
    """What rings for a signal: webhooks; mail is for approvals alone. Raises StoreError where a secret is missing."""
    from bylaw.canonical import digest  # noqa: PLC0415  # who looks for no signals needs neither
    from bylaw.govern import webhooks  # noqa: PLC0415  # the same

    def ring_of(hook: webhooks.Webhook) -> "Ring":
        return lambda said: webhooks.send(hook, f"msg_{digest(said).removeprefix('sha256:')[:32]}", int(time.time()), said)

    made = []
    for at, hook in enumerate(hooks):
        secret = secret_in(hook.secret_env, "whsec_ and base64 of 24 to 64 bytes")
        made.append((f"webhook {at + 1}", ring_of(webhooks.Webhook(hook.url, secret, frozenset(hosts), hook.inside))))
    return made


# ---- In the child ----------------------------------------------------------------------------------------------------


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """One look, and who is told."""
    from bylaw.govern import watch  # noqa: PLC0415  # a gateway itself never looks
    from bylaw.ledger.writer import Ledger  # noqa: PLC0415  # the same
    from bylaw.store import database  # noqa: PLC0415  # the same

    data_dir, now = Path(asked["data_dir"]), time.time()
    ring = rings([HookAt(**one) for one in asked["hooks"]], asked["hosts"])
    store = database.open(asked["store"])
    try:
        found = watch.gather([data_dir], store, watch.Span(asked["window_s"], asked["history_s"]), now)
        faults: tuple[str, ...] = ()
        if any(one.key not in found.told for one in found.report.signals):
            with Ledger(data_dir) as ledger:
                faults = watch.tell(found, ring, ledger.append, now).faults
    finally:
        store.close()
    return {"standing": len(found.report.signals), "cut": found.cut, "fault": "; ".join(faults)[:1_000]}


def main() -> None:
    """What is asked comes in as JSON, what was found goes out as JSON; nobody waits for longer than that may take."""
    signal.alarm(LONGEST_S)  # also where whoever asked is gone
    os.nice(NICE)
    try:
        said = look(json.loads(sys.stdin.buffer.read(MAX_BYTES)))
    except BylawError as error:
        said = {"standing": 0, "cut": False, "fault": error.what[:1_000]}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
