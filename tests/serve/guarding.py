"""A process that works under a guard until it is killed; its tool writes a line into a file. `python -m tests.serve.guarding DIR LIFE`."""

import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bylaw.errors import BylawError
from bylaw.govern.guard import Guard
from bylaw.govern.outcomes import Blocked, Pending
from bylaw.govern.quorum import Person

LENA = Person("lena", ("lead",))
AGENT = {"id": "agent", "roles": ["agent"], "tenant": "", "jurisdiction": ""}


def line(path: Path, text: str) -> None:
    """A line that is on the disk when this returns."""
    with path.open("a") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def call(folder: Path, guard: Guard, number: int, amount: float, approve: bool = True) -> None:
    """One refund, in a session of its own; asked for once more when a person has said yes to it."""
    acting = guard.acting(AGENT, f"s{number}")

    def refund(order: int, amount: float) -> str:
        line(folder / "effects", f"{order} {amount}")
        return "paid"

    refund_: Callable[..., Any] = acting.tool(refund)
    for _ in range(2):
        try:
            refund_(order=number, amount=amount)
        except Pending as waits:
            if guard.approvals is not None and approve:
                guard.approvals.decide(waits.approval, LENA, True)
        except (Blocked, BylawError):
            return
        if amount < 100:
            return


def work(folder: Path, guard: Guard, life: int, at: int) -> None:
    rng, number = random.Random(life * 100 + at), (life * 10 + at) * 100_000
    begun = [int(one) for one in (folder / "large").read_text().split()] if (folder / "large").exists() else []
    for old in begun[at::3]:
        call(folder, guard, old, 640.0, approve=False)  # was it approved, run, or neither when the last one died?
    while True:
        number += 1
        if rng.random() < 0.5:
            line(folder / "large", str(number))
            call(folder, guard, number, 640.0)
        else:
            call(folder, guard, number, 5.0)


def main(folder: Path, life: int) -> None:
    guard = Guard(folder / "policy", store=folder / "store.sqlite")
    sys.stdout.write("open\n")
    sys.stdout.flush()
    threads = [threading.Thread(target=work, args=(folder, guard, life, at)) for at in range(3)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
