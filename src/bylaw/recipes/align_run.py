"""Start or go on with a run: check what was asked, keep a copy of the policy, take the steps, close the books."""

import os
import platform
import resource
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw._version import __version__
from bylaw.align import replay
from bylaw.errors import ModelError, PolicyError, RunError
from bylaw.models import targets
from bylaw.models.manners import USUAL, Manners
from bylaw.policy import parse
from bylaw.policyworld import dialect as world
from bylaw.policyworld.level2 import dialect as world2
from bylaw.recipes import opening, world_finds
from bylaw.recipes.asked import ALL_ARMS, Asked
from bylaw.recipes.book import Deliberative
from bylaw.recipes.given import Given
from bylaw.recipes.steps import Narrator, take_all
from bylaw.runs import Run


@dataclass(frozen=True, slots=True)
class Started:
    """A run, begun or begun before."""

    run: Run
    asked: Asked
    manners: Manners = USUAL


def begin(policy_path: Path, out: Path | None, manners: Manners = USUAL, *, arms: str, judge: str, **asked: Any) -> Started:
    """Start a run from what a command line says: a prose policy without a judge is judged by the model itself."""
    policy = parse.load(policy_path)
    wanted = ALL_ARMS if arms == "all" else tuple(arm.strip() for arm in arms.split(",") if arm.strip())
    unknown = [arm for arm in wanted if arm not in ALL_ARMS]
    if unknown or not wanted:
        raise RunError(f"no arm is called {unknown[0] if unknown else arms!r}", f"the arms are {', '.join(ALL_ARMS)}")
    asked["generator"] = asked["generator"] or asked["model"]
    judged_by = judge or ("" if world.speaks(policy) else asked["model"])
    files = [*asked.get("prompts", ()), *(asked[key] for key in ("tests", "replay", "helpful") if asked.get(key))]
    given = tuple(runs.digest_of(Path(file)) for file in files)
    whole = Asked(policy=policy.digest, judge=judged_by, arms=wanted, files=given, **asked)
    return start(policy_path, whole, out or Path("runs") / f"{policy.id}-{policy.digest[7:15]}-{whole.size}-{whole.seed}", manners)


def check(policy_path: Path, asked: Asked) -> None:
    """Refuse what cannot work, before anything is loaded or written."""
    policy = parse.load(policy_path)
    for text in (asked.model, asked.generator):
        opening.check_target(text)
    if asked.judge:
        opening.check_judge(asked.judge, policy)
    if targets.parse(asked.model).kind not in ("local", "hub"):
        raise ModelError(f"{asked.model} has no weights to train", "name a folder, a run or a hub name with --model")
    if world.speaks(policy):
        (world2.dialect if world2.level_of(policy) == 2 else world.dialect)(policy)
        if asked.size == "full":
            raise RunError("PolicyWorld has too few distinct prompts for --size full", "choose --size small")
        if asked.prompts:
            world_finds.part(Given.of(asked).prompts, policy)
    elif "embedded" in (asked.model, asked.generator):
        raise PolicyError(
            f"{policy_path}: the embedded model cannot read this policy: no clause has {world.KEY}",
            "name a real model with --model, try `bylaw align dry-run`, or start from policies/policyworld",
        )
    else:
        Given.of(asked).learnt(policy)
        if "control" in asked.arms:
            raise RunError("the control arm needs a policy for PolicyWorld", "name the arms without it in --arms")
    for file in filter(None, (asked.replay, asked.helpful)):
        rows = replay.from_file(Path(file))
        if not world.speaks(policy):
            Given.of(asked).ensure_untested(policy, rows)


def start(policy_path: Path, asked: Asked, out: Path, manners: Manners = USUAL) -> Started:
    """Check and open a run; the policy is copied into it, so that a later edit does not change what is resumed."""
    check(policy_path, asked)
    ensure_outside(policy_path, out)
    run = runs.start(out, asked.to_json())
    opening.keep_manners(run, manners)
    kept = run.path / "policy"
    if not kept.is_dir():
        beside = run.path / ".policy"
        shutil.rmtree(beside, ignore_errors=True)
        if policy_path.is_dir():
            shutil.copytree(policy_path, beside)
        else:
            beside.mkdir()
            shutil.copy2(policy_path, beside / policy_path.name)
        beside.replace(kept)
    if asked.prompts and not (run.path / "finds" / world_finds.COUNTS).is_file() and world.speaks(policy := parse.load(policy_path)):
        world_finds.keep(run.path / "finds", Given.of(asked).prompts, policy)
    return Started(run, asked, manners)


def ensure_outside(policy_path: Path, out: Path) -> None:
    """Refuse to write into the policy's own folder: what is written there would become part of the policy."""
    if policy_path.is_dir() and out.resolve().is_relative_to(policy_path.resolve()):
        raise RunError(f"{out} lies inside the policy's folder", "choose a folder outside it with --out")


def crew_size() -> int:
    """How many workers: two share a CPU, one has a GPU alone."""
    return 1 if Path("/dev/nvidiactl").exists() else min(2, os.cpu_count() or 1)


def go(started: Started, narrator: Narrator, workers: int = 0) -> Mapping[str, Any]:
    """Take every step that is left, so many at a time (0: as many as suit the machine), write the manifest, return it."""
    run = started.run
    workers = workers or crew_size()
    finished = run.path / "manifest.json"
    if finished.is_file() and all(run.done(step.name) for step in Deliberative().steps(run)):
        return runs.read_json(finished)
    began = time.time()
    with runs.alone(run):
        take_all(run, Deliberative(), narrator, workers)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        steps = {step.name: run.record(step.name) for step in Deliberative().steps(run)}
        facts = {
            "bylaw": __version__,
            "python": platform.python_version(),
            "machine": platform.platform(),
            "policy": started.asked.policy,
            "workers": workers,
            "wall_s": round(time.time() - began, 1),  # of this start; a resumed run has earlier ones too
            "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "steps_cpu_s": round(sum(float(record["cpu_s"]) for record in steps.values()), 1),
            "endpoints": opening.total(steps.values()),
        }
        runs.write_manifest(run, facts)
    return facts
