"""Open the models and the judge that a run names: endpoints with a cache, workers on Ray, canaries in every batch, and what it cost.

What a step opens here is remembered, so that its record says what was asked of endpoints and what the canaries said of the judge. How
endpoints are asked (how many calls at a time, at what price) is no part of what a run is: it may be another at a restart.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bylaw import runs
from bylaw.errors import ModelError, RunError
from bylaw.judge import canaries, framing, naming
from bylaw.judge.canaries import Canaried, Watched
from bylaw.models import endpoint, generate, hub, loading, targets
from bylaw.models.generate import Plan
from bylaw.models.manners import USUAL, Manners
from bylaw.models.spent import COUNTS, Spent
from bylaw.runs import Run
from bylaw.types import Judge, Model, Policy

CONNECT_S: Final = 5.0
SECRET: Final = "BYLAW_JUDGE_SECRET"  # makes a judge's codes unguessable even to who knows the seed


@dataclass(slots=True)
class Opened:
    """The models a step has opened, and what was seen of its judge."""

    plan: Plan = field(default_factory=Plan)
    manners: Manners = USUAL
    models: list[Model] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    told: dict[int, Spent] = field(default_factory=dict)  # by the model's place in `models`

    def model(self, text: str, folder: Path | None = None) -> Model:
        """Open a target; with another engine than `process` its rows go through workers, journalled in `folder`."""
        if self.plan.engine == "process" and not self.plan.vllm:
            opened = loading.open_model(targets.parse(text), self.manners)
        else:
            opened = generate.spread(text, self.plan, folder, manners=self.manners)
        self.models.append(opened)
        return opened

    def judge(self, text: str, policy: Policy, seed: int, folder: Path | None = None) -> Judge:
        """Open a judge by its name, with canaries wherever the policy gives them."""
        key = framing.key(seed, os.environ.get(SECRET, ""))
        judge = naming.open_judge(text, policy, lambda named: self.model(named, folder), key)
        known = canaries.from_policy(policy)
        both_sides = {one.good for one in known} == {True, False}
        return Canaried(judge, known, self.watched.append, seed) if both_sides else judge

    def record(self) -> dict[str, Any]:
        """What it cost and what the canaries said since this was last asked, for a step's record; nothing where there is nothing to say."""
        now = {place: spent for place, model in enumerate(self.models) if isinstance(spent := getattr(model, "spent", None), Spent)}
        asked = [(self.models[place].name, less(spent, self.told.get(place, Spent(cost=0.0)))) for place, spent in now.items()]
        watched, self.told, self.watched[:] = list(self.watched), now, []
        record: dict[str, Any] = {"endpoints": [{"name": name, **asdict(spent)} for name, spent in asked]} if asked else {}
        if watched:
            record["canaries"] = {
                "batches": len(watched),
                "asked": sum(one.canaries for one in watched),
                "right": sum(one.right for one in watched),
                "lost_batches": sum(bool(one.lost) for one in watched),
                "why_lost": next((one.lost for one in watched if one.lost), ""),
            }
        return record


def less(now: Spent, before: Spent) -> Spent:
    """What was spent between two counts."""
    counts = {name: getattr(now, name) - getattr(before, name) for name in COUNTS}
    return Spent(**counts, cost=None if now.cost is None else now.cost - (before.cost or 0.0))


def total(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What every endpoint was asked, over the records of several steps; a cost that one of them does not know is not known."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for one in record.get("endpoints", ()):
            sums = found.setdefault(one["name"], {})
            for key, value in one.items():
                if key != "name":
                    known = key not in sums or sums[key] is not None
                    sums[key] = sums.get(key, 0) + value if known and value is not None else None
    return found


def keep_manners(run: Run, manners: Manners) -> None:
    """Write down, for the run's workers, how endpoints are asked this time."""
    runs.write_json(run.file("work", "manners.json"), asdict(manners) | {"cache": str(manners.cache or "")})


def manners_of(run: Run) -> Manners:
    """How endpoints are asked this time."""
    file = run.path / "work" / "manners.json"
    if not file.is_file():
        return USUAL
    said = runs.read_json(file)
    return Manners(**said | {"cache": Path(said["cache"]) if said["cache"] else None})


def check_target(text: str) -> None:
    """Refuse a model that cannot be, or that nobody offers at this moment; nothing is loaded."""
    target = targets.parse(text)
    if target.kind == "hub":
        hub.ensure_reachable(text)
    if target.kind == "openai":
        _ensure_listening(endpoint.checked(target.where))


def _ensure_listening(url: str) -> None:
    """Refuse an endpoint on this machine or network that nobody serves; behind a proxy only the proxy can know."""
    from bylaw.models.remote import proxy_for  # noqa: PLC0415  # aiohttp, which local models do without

    parts = urlsplit(url)
    if proxy_for(url) or not parts.hostname:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), CONNECT_S).close()
    except OSError as error:
        raise ModelError(f"nobody answers at {parts.netloc}", "start the server, or correct the URL after the @") from error


def check_judge(text: str, policy: Policy) -> None:
    """Refuse a judge whose name or whose models cannot be; nothing is loaded."""

    def named(target: str) -> Model:
        check_target(target)
        return _Named(target)

    naming.open_judge(text, policy, named)


@dataclass(frozen=True, slots=True)
class _Named:
    """A model that is only spoken of."""

    name: str

    def generate(self, *_: Any, **__: Any) -> Any:
        raise RunError(f"{self.name} was checked, not opened", "open it with `Opened.model`")
