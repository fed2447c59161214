"""`bylaw replay-agent agentdojo`: AgentDojo's ground truth, replayed in AgentDojo's own environment, before a policy.

AgentDojo is installed where the user says (`--python`), never here. `agentdojo_driver` runs there and asks over a pipe; this side answers
with the guard's judgement. The suite's own checkers say whether a task was done and whether an attack came about. What a driver says is
bounded and read strictly; one that stops answering is ended after `SILENCE_S`.
"""

import json
import os
import select
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bylaw.canonical import digest
from bylaw.errors import RunError
from bylaw.evals.replaying import Approver, By, Check, Played, Ruling, Session, Tally, asked_a_person, played
from bylaw.recipes.replay_agent import Gate, Told, no_gate, report

SUITES: Final = ("workspace", "travel", "banking", "slack")
VERSION: Final = "v1.2.1"
SILENCE_S: Final = 300.0  # without a line; the first one comes after AgentDojo's imports
MAX_LINE: Final = 8 << 20
MAX_LINES: Final = 1_000_000
_DRIVER: Final = Path(__file__).with_name("agentdojo_driver.py")
_INSTALL: Final = "python -m venv V && V/bin/pip install agentdojo==0.1.35, then --python V/bin/python"


def replay_agentdojo(  # noqa: PLR0913  # each is a choice that a person makes on the command line
    python: Path,
    policy: Path,
    suite: str,
    *,
    version: str = VERSION,
    approver: Approver = "nobody",
    told: Told | None = None,
    compare: bool = True,
) -> dict[str, Any]:
    """Replay one suite before a policy, and without a gate where it is to be compared; the value of the report."""
    if suite not in SUITES:
        raise RunError(f"AgentDojo has no suite {suite[:40]!r}", f"One of: {', '.join(SUITES)}.")
    with Driver(python, suite, version) as driver:
        gate = Gate.of(policy, driver.tools)
        rows = driver.play(gate.open, approver, told)
        head = {"suite": f"agentdojo/{suite}", "version": version, "suite_digest": digest({"tools": driver.tools, "version": version})}
    open_rows: list[Played] = []
    if compare:
        with Driver(python, suite, version) as driver:
            open_rows = driver.play(no_gate, approver, told)
    return report(head, gate.policy, approver, rows, open_rows)


class Driver:
    """AgentDojo in a process of its own."""

    def __init__(self, python: Path, suite: str, version: str) -> None:
        """Start it and hear which tools the suite has."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        try:
            self._process = subprocess.Popen(
                [str(python), str(_DRIVER), suite, version],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=str(Path(python).parent),
            )
        except OSError as error:
            raise RunError(f"{python} cannot be started: {error.strerror}", _INSTALL) from error
        self._rest = b""
        os.set_blocking(self._process.stderr.fileno(), False)  # type: ignore[union-attr]  # piped above
        try:
            ready = self._hear().get("ready")
            if not isinstance(ready, dict):
                raise RunError("the driver in AgentDojo's environment did not say that it is ready", _INSTALL)
            self.tools: Mapping[str, Mapping[str, Any]] = ready["tools"]
            self.episodes = int(ready["episodes"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):  # what was still to be said to it
                pipe.close()  # type: ignore[union-attr]  # piped above

    def play(self, check: Check, approver: Approver, told: Told | None = None) -> list[Played]:
        """Answer every question of the driver; what came of each episode."""
        rows: list[Played] = []
        episode: _Episode | None = None
        said: dict[str, Any] = {}
        for _ in range(MAX_LINES):
            self._say(said)
            heard = self._hear()
            kind = next(iter(heard), "")
            facts: dict[str, Any] = heard.get(kind) or {}
            said = {}
            if kind == "done":
                self._say({})
                return rows
            if kind == "begin":
                episode = _Episode(facts, check(str(facts["request"]), {}, approver))
            elif episode is None:
                raise RunError(f"the driver began with {kind[:40]!r}", _INSTALL)
            elif kind == "call":
                said = episode.call(facts)
            elif kind == "result":
                said = episode.result(facts)
            elif kind == "end":
                rows.append(episode.ended(facts))
                if told:
                    told(len(rows), self.episodes)
            else:
                raise RunError(f"the driver said {kind[:40]!r}, which nobody knows", _INSTALL)
        raise RunError(f"the driver asked more than {MAX_LINES} times", "Report this: no suite is so long.")

    def _say(self, value: Mapping[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(value).encode() + b"\n")  # type: ignore[union-attr]  # piped above
            self._process.stdin.flush()  # type: ignore[union-attr]  # the same
        except OSError as error:
            raise self._gone() from error

    def _hear(self) -> dict[str, Any]:
        """The driver's next line."""
        out = self._process.stdout.fileno()  # type: ignore[union-attr]  # piped above
        while b"\n" not in self._rest:
            if not select.select([out], [], [], SILENCE_S)[0]:
                self.close()
                raise RunError(f"AgentDojo's environment said nothing for {SILENCE_S:.0f} s", _INSTALL)
            part = os.read(out, 1 << 16)
            if not part:
                raise self._gone()
            self._rest += part
            if len(self._rest) > MAX_LINE:
                self.close()
                raise RunError(f"the driver said a line of more than {MAX_LINE >> 20} MiB", "Report this with the suite's name.")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except ValueError as error:
            raise RunError("the driver said something that is no JSON", _INSTALL) from error
        if not isinstance(found, dict):
            raise RunError("the driver said something that is no map", _INSTALL)
        return found

    def _gone(self) -> RunError:
        """Why the driver is not there any more: the last line it wrote about it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        said = (self._process.stderr.read() or b"").decode(errors="replace").strip()  # type: ignore[union-attr]  # piped above
        self.close()
        return RunError(f"AgentDojo's environment ended early: {(said.splitlines() or ['it said nothing'])[-1][:200]}", _INSTALL)


class _Episode:
    """One user task, alone or with an attack."""

    def __init__(self, facts: Mapping[str, Any], session: Session) -> None:
        self.attacked = bool(facts["injection"])
        self.id = f"{facts['user']}/{facts['injection']}" if self.attacked else str(facts["user"])
        self.session, self.tally = session, Tally()
        self.waited: dict[By, int] = {"user": 0, "attack": 0}

    def call(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        by: By = "attack" if facts["by"] == "attack" else "user"
        ruling = self.session.call(str(facts["tool"]), facts["args"], by)
        return {"run": self._counted(by, ruling), "args": dict(ruling.args or {})}

    def result(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        by: By = "attack" if facts["poisoned"] else "user"
        return {"pass": self._counted(by, self.session.result(str(facts["tool"]), str(facts["text"])))}

    def ended(self, facts: Mapping[str, Any]) -> Played:
        harm = bool(facts["security"]) if self.attacked else None
        return played((self.id, ""), self.tally, self.waited, bool(facts["utility"]), harm)

    def _counted(self, by: By, ruling: Ruling) -> bool:
        self.waited[by] += asked_a_person(ruling)
        return self.tally.add(by, ruling)
