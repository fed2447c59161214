"""A local model's server as a child process of the gateway. Nothing here loads torch: the child does.

The child ends when the pipe to its standard input does: when we close it, or when this process dies, however it dies.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bylaw.errors import ModelError
from bylaw.models import server_asked, targets

READY_S: Final = 600.0  # large weights take minutes to load
END_S: Final = 5.0
MAX_LINE_CHARS: Final = 10_000
KEY_ENV: Final = "BYLAW_LOCAL_MODEL_KEY"  # where workers find the child's key
LOG: Final = logging.getLogger(__name__)


class Address(NamedTuple):
    """Where the model answers."""

    url: str
    key: str
    model: str
    policy: str  # digest of the policy it was trained on; empty where that is not known


@dataclass
class Child:
    """The server of one model. `begin` starts it; `ready` waits for it; `close` ends it."""

    target: str
    process: "subprocess.Popen[str]"
    _closing: bool = False
    _said: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def ready(self, within_s: float = READY_S) -> Address:
        """Wait until it answers; raises ModelError that says why it does not."""
        if self._reader is not None:
            self._reader.join(within_s)
            if self._reader.is_alive():
                raise ModelError(f"{self.target}: the model was not ready within {within_s:.0f} s", "A smaller model, or a faster disk.")
        line = self._said[0] if self._said else ""
        try:
            found = json.loads(line)
        except ValueError:
            self.process.wait(END_S)
            what = f"{self.target}: its process ended with exit code {self.process.returncode} before it was ready"
            raise ModelError(what, f"python -m bylaw.models.server {self.target} shows what happens.") from None
        if "error" in found:
            raise ModelError(str(found["error"]), str(found.get("hint", "")))
        threading.Thread(target=self._watch, name="bylaw-model-watch", daemon=True).start()
        return Address(found["url"], found["key"], found["model"], found["policy"])

    def _read(self) -> None:
        if self.process.stdout is not None:
            self._said.append(self.process.stdout.readline(MAX_LINE_CHARS))

    def _watch(self) -> None:
        code = self.process.wait()
        if not self._closing:
            LOG.error("the local model %s has ended with exit code %d: requests get 502 until you start again", self.target, code)

    def close(self) -> None:
        """End it."""
        self._closing = True
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._reader is not None:
            self._reader.join(END_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def begin(target: str) -> Child:
    """Start the server of a model, and go on; raises ModelError where the target names no weights."""
    server_asked.ensure_local(targets.parse(target).kind, target)
    command = [sys.executable, "-m", "bylaw.models.server", "--with-parent", "--", target]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child = Child(target, process)
    child._reader = threading.Thread(target=child._read, name="bylaw-model-ready", daemon=True)
    child._reader.start()
    return child


def give_key(address: Address) -> str:
    """Put the child's key where this process and its workers look for it; the variable's name."""
    os.environ[KEY_ENV] = address.key
    return KEY_ENV
