"""A process that dies by kill -9 at a named step: in the record, before the step takes effect, or right after the step.

    python -m tests.govern.approvals.dying STORE EFFECTS WHERE WHAT [ID]

`WHERE` is `record:STEP` or `after:STEP`. The tool that is run writes a line into EFFECTS, so that whoever looks can count how often it ran.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bylaw.govern.approvals import Approvals, Claim
from bylaw.store import database
from bylaw.store.approval_rows import Approval
from tests.govern.approvals.scene import AGENT, ANN, CALL, POLICY, asking


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(store: str, folder: Path, where: str, what: str, approval: str = "") -> None:
    opened = database.open(store)

    def record(entry: Mapping[str, Any]) -> None:
        with (folder / "ledger").open("a") as file:
            file.write(json.dumps({"step": entry["facts"]["step"], "approval": entry.get("approval", "")}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if where == f"record:{entry['facts']['step']}":
            die()

    def after(step: str) -> None:
        if where == f"after:{step}":
            die()

    approvals = Approvals(opened, record)
    after("recovered")
    if what == "ask":
        found = approvals.request(CALL, AGENT, asking())
        after("requested")
        print(found.id if isinstance(found, Approval) else found)
    elif what == "approve":
        approvals.decide(approval, ANN, True)
        after("approved")
    elif what == "run":
        claim = approvals.claim(approval, CALL, AGENT, POLICY, asking, lambda: ())
        after("claimed")
        if isinstance(claim, Claim):
            with (folder / "effects").open("a") as file:
                file.write("ran\n")
                file.flush()
                os.fsync(file.fileno())
            after("ran")
            approvals.finish(claim, "done")
            after("done")
    elif what == "release":
        released = approvals.release(approval, AGENT, POLICY, lambda _: asking(), lambda: ())
        after("released")
        print(type(released).__name__)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
