"""The shop of the demo's second half: a gateway in front of a scripted agent, up from the demo's first line to its last.

So the link to the console, printed at the opening, works for as long as the demo runs. While the model is trained nothing happens there;
the second half fills it.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from bylaw.errors import RunError
from bylaw.recipes import governed_stage as stage
from bylaw.recipes.governed_stage import Agent, Gateway
from bylaw.recipes.places import example_policy

FOLDER: Final = "work/governed"  # in the run's folder, and no part of its manifest; begun anew each time
DATA: Final = "shop-data"
POLICY: Final = "refunds"


@dataclass(frozen=True, slots=True)
class Shop:
    """A running shop."""

    folder: Path
    policy: Path
    gateway: Gateway
    agent: Agent
    asks: str  # the key of the agent
    approves: str  # the key of a person


@contextmanager
def opened(console: Console, run: Path) -> Iterator[Shop]:
    """Let the shop be open, and say where its console is."""
    folder = run / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    policy = folder / POLICY
    shutil.copytree(example_policy("refunds"), policy)
    stage.staffed(policy, folder / "reviewers")
    stage.signed(policy, folder / "reviewers")
    asks, approves = keys(policy, folder / DATA)
    with ExitStack() as stack:
        agent = stack.enter_context(stage.agent())
        gateway = stack.enter_context(closing(stage.begin(folder / DATA, "--policy", str(policy), "--upstream", agent.url)))
        stage.ready(gateway)
        console.print(
            f"The console: [bold]{gateway.url}/console/[/] [dim](until this demo ends; it fills in the second half)[/]", soft_wrap=True
        )
        console.print(
            f"Sign in there with the key [bold]{approves}[/] [dim](made for this demo, good for nothing else)[/]\n", soft_wrap=True
        )
        yield Shop(folder, policy, gateway, agent, asks, approves)


def keys(policy: Path, data_dir: Path) -> tuple[str, str]:
    """The keys of one that asks and of one that approves."""
    made = stage.command("keys", "demo", "--policy", str(policy), "--data-dir", str(data_dir), "--json")
    if made.code != 0:
        raise RunError(f"the demo cannot make keys: {made.err.strip()[:300]}", "This is a fault of bylaw: please report it.")
    found = json.loads(made.out)
    return str(found["requester"]["key"]), str(found["approver"]["key"])


def reopened(console: Console, run: Path) -> None:
    """Say how the console is opened again on what the demo recorded."""
    folder = run / FOLDER
    console.print(
        f"  bylaw serve --policy {folder / POLICY} --upstream http://127.0.0.1:9/v1 --data-dir {folder / DATA}"
        "   the console again, on what was recorded; the key is the same",
        soft_wrap=True,
    )
