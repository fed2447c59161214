"""A process that records until it is killed; it says each index on stdout once it was acknowledged. `python crashing.py DIR`."""

import asyncio
import sys
import threading
from pathlib import Path

from bylaw.ledger.writer import Ledger, Settings

LOCK = threading.Lock()


def say(line: str) -> None:
    with LOCK:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def thread(ledger: Ledger, name: str) -> None:
    while True:
        receipt = ledger.append({"kind": "decision", "session": name, "contents": {"input": f"from {name}"}})
        say(f"{receipt.index} {receipt.leaf_hash.hex()}")


async def tasks(ledger: Ledger) -> None:
    async def one(name: str) -> None:
        while True:
            receipt = await ledger.record({"kind": "release", "session": name})
            say(f"{receipt.index} {receipt.leaf_hash.hex()}")

    await asyncio.gather(*(one(f"task {i}") for i in range(8)))


def main() -> None:
    ledger = Ledger(Path(sys.argv[1]), settings=Settings(checkpoint_entries=7, checkpoint_s=0.01))
    say("open")
    for i in range(3):
        threading.Thread(target=thread, args=(ledger, f"thread {i}"), daemon=True).start()
    asyncio.run(tasks(ledger))


if __name__ == "__main__":
    main()
