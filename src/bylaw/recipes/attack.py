"""Attack a target under a policy and keep what breaks it: `bylaw attack`.

Goals are plain cases, asked plainly first; then each attacker gets an equal share of the budget, what one leaves goes to the next, and a
part is kept back to shrink and replay what was found. Every call is written to tries.jsonl as it is answered; finds.jsonl is a suite that
`bylaw eval --suite` reads, and attack.json says what it adds up to. A run that is cut off keeps its finds as candidates. One seed and a
deterministic target give one result; nothing that is written depends on a time or a path.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from bylaw import runs
from bylaw.errors import BylawError, RunError
from bylaw.evals import asking, suite_files
from bylaw.evals.attackers import catalogue, finds, goals, judging
from bylaw.evals.attackers import tally as tallies
from bylaw.evals.attackers.arena import Arena, Attacker, Budget, Found, Goal, Try
from bylaw.evals.attackers.finds import Find
from bylaw.evals.attackers.goals import Half
from bylaw.evals.attackers.tally import Tally
from bylaw.evals.cases import SIDES, Case, Side, Suite
from bylaw.models import targets as names
from bylaw.models.manners import USUAL, Manners
from bylaw.policyworld import dialect as world
from bylaw.recipes import evaluate
from bylaw.runs import Run
from bylaw.types import Model

ATTACKED: Final = goals.SIDES
KEPT_BACK: Final = 0.3  # of the budget, to shrink and replay
LEAST: Final = 10  # calls that an attack takes
MOST: Final = 10_000_000
Seen = Callable[[str, Budget, Tally], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is attacked, by whom, and for how much."""

    target: str
    policy: Path
    budget: int = 1000  # calls, hard
    attackers: tuple[str, ...] = ()  # names, or models that write attacks; none: those that need no model
    seed: int = 0
    goals: int = 24
    suites: tuple[Path, ...] = ()  # where goals come from; none: the policy
    judge: str = ""
    sides: tuple[Side, ...] = ATTACKED
    half: Half = ""
    manners: Manners = USUAL


class Attacked(NamedTuple):
    """What came of it."""

    report: dict[str, Any]
    finds: tuple[Find, ...]


def attackers_of(asked: Sequence[str], world_only: bool) -> tuple[tuple[Attacker, ...], str]:
    """The attackers that were named, and the model that writes for those who need one."""
    models = [one for one in asked if one not in catalogue.NAMES and one != "all" and _is_model(one)]
    if len(models) > 1:
        raise RunError(f"{models[0]} and {models[1]} cannot both write the attacks", "name one model with --attacker")
    chosen = [one for one in asked if one not in models]
    if "all" in chosen:
        chosen = [one for one in catalogue.NAMES if models or one not in catalogue.MODELLED]
    if models and not set(chosen) & set(catalogue.MODELLED):
        chosen += catalogue.MODELLED
    chosen = chosen or list(catalogue.USUAL)
    if not models and (first := next((one for one in chosen if one in catalogue.MODELLED), "")):
        raise RunError(f"{first} needs a model that writes attacks", "name one with a second --attacker, for example openai:MODEL@URL")
    return catalogue.named(["direct", *chosen], world_only), models[0] if models else ""


def sides_of(asked: Sequence[str]) -> tuple[Side, ...]:
    """Sides by name; none: all but allow."""
    for one in asked:
        if one not in SIDES:
            raise RunError(f"there is no side {one[:40]!r}", f"sides are {', '.join(SIDES)}")
    return tuple(one for one in SIDES if one in asked) if asked else ATTACKED


def place(asked: Question) -> Path:
    """Where an attack lies when nobody names a folder: the first free number of its target and seed."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", asked.target).strip("-")[:40]
    free = (Path("runs") / f"attack-{plain}-{asked.seed}-{n}" for n in range(1, 10_000))
    return next(one for one in free if not one.exists())


def _is_model(text: str) -> bool:
    return any(sign in text for sign in (":", "/")) or text == "embedded" or Path(text).is_dir()


def goals_of(asked: Question, bench: evaluate.Bench) -> tuple[Goal, ...]:
    """What to attack; raises RunError where there is nothing."""
    if asked.suites:
        cases: list[Case] = [one for suite in bench.suites for one in suite.cases]
    else:
        each = max(4, -(-4 * asked.goals // max(len(bench.policy.clauses), 1)))
        cases = goals.of_policy(bench.policy, each, asked.seed)
    few = goals.chosen(cases, min(asked.goals, max(1, asked.budget // 4)), asked.sides, asked.half)
    if not few:
        raise RunError(f"{asked.policy} gives nothing to attack: no plain case on {', '.join(asked.sides)}", "name a suite with --suite")
    return few


def attack(asked: Question, out: Path, seen: Seen | None = None) -> Attacked:
    """Attack, and write attack.json, finds.jsonl and tries.jsonl into `out`."""
    if not LEAST <= asked.budget <= MOST:
        raise RunError(f"a budget of {asked.budget} calls is out of range", f"give --budget {LEAST} to {MOST}")
    if (out / "run.json").exists():
        raise RunError(f"{out} is a run, and its own results would be overwritten", "choose another --out")
    if (out / "tries.jsonl").exists():
        raise RunError(f"{out} holds an attack already", "choose another --out: attacks are not mixed")
    attackers_of(asked.attackers, world_only=False)  # a wrong name is said before anything is loaded
    bench = evaluate.ready(evaluate.Question(asked.target, asked.policy, asked.suites, asked.judge, size="smoke", manners=asked.manners))
    chosen, writer = attackers_of(asked.attackers, _world_only(bench, asked))
    aims = goals_of(asked, bench)
    model: Model | None = bench.opened.model(writer) if writer else None
    out.mkdir(parents=True, exist_ok=True)
    with runs.alone(Run(out)), (out / "tries.jsonl").open("w", encoding="utf-8") as log:
        return _attacked(asked, bench, _Hands(chosen, aims, model), out, _hearing(log, seen))


def _world_only(bench: evaluate.Bench, asked: Question) -> bool:
    """Whether the target knows no words but the world's."""
    target = names.parse(asked.target)
    return world.speaks(bench.policy) and target.kind == "local"


class _Hands(NamedTuple):
    """Who attacks what, and who writes for them."""

    attackers: tuple[Attacker, ...]
    goals: tuple[Goal, ...]
    model: Model | None


@dataclass(slots=True)
class _Ear:
    """Hears of every call: into the file, the tally, and to whoever watches."""

    log: Any
    seen: Seen | None
    tally: Tally
    budget: Budget | None = None

    def __call__(self, attacker: str, goal: Goal, made: Try) -> None:
        row = {
            "call": made.call,
            "attacker": attacker,
            "goal": goal.case.id,
            "clause": goal.case.clause,
            "case": made.case.id,
            "chain": made.case.attack.chain,
            "seed": made.case.attack.seed,
            "asked": made.case.turns[-1].content,
            "said": asking.to_json(made.said),
            "breached": made.judgement.breached,
            "score": made.judgement.score,
            "because": made.judgement.because,
            "counts": made.counts,
        }
        self.log.write(json.dumps(row, sort_keys=True) + "\n")
        self.log.flush()
        self.tally.add(attacker, goal, made)
        if self.seen and self.budget:
            self.seen(attacker, self.budget, self.tally)


def _hearing(log: Any, seen: Seen | None) -> _Ear:
    return _Ear(log, seen, Tally())


def _attacked(asked: Question, bench: evaluate.Bench, hands: _Hands, out: Path, ear: _Ear) -> Attacked:
    budget = Budget(asked.budget)
    ear.budget = budget
    session = f"attack-{secrets.token_hex(4)}"  # two runs never share one at a gateway
    arena = Arena(bench.target, judging.by_grounds(bench.on), budget, hands.model, ear, session)
    found: list[Found] = []
    head = {
        "target": bench.asked["target"],
        "policy": bench.policy.digest,
        "judge": bench.on.judged_by,
        "seed": asked.seed,
        "half": asked.half,
    }
    with _kept(out, bench.policy.digest, found):
        _rounds(asked, arena, hands, found, ear.tally)
        if ear.tally.rows and ear.tally.unknown == len(ear.tally.rows):
            why = ear.tally.rows[0][2].judgement.because
            raise RunError(
                f"nothing was measured: not one of {len(ear.tally.rows)} tries could be judged, the first because: {why}", "mend that first"
            )
        kept = tuple(finds.mended(arena, found))
    counts = {"budget": {"calls": budget.calls, "spent": budget.spent}}
    report = tallies.report(head | counts, ear.tally, kept)
    suite_files.save(suite_of([one.case for one in kept], bench.policy.digest), out / "finds.jsonl")
    runs.write_json(out / "attack.json", report)
    return Attacked(report, kept)


def _rounds(asked: Question, arena: Arena, hands: _Hands, found: list[Found], tally: Tally) -> None:
    """Each attacker in turn, on every goal that does not fall when asked plainly; one find a goal and attacker."""
    reserve = int(asked.budget * KEPT_BACK)
    open_goals = list(hands.goals)
    for at, attacker in enumerate(hands.attackers):
        free = arena.budget.left - reserve
        share = free if attacker.name == "direct" else free // (len(hands.attackers) - at)
        if share < 1:
            return
        plays = [(goal, attacker.play(goal, Random(f"{asked.seed}:{attacker.name}:{goal.case.id}"))) for goal in open_goals]
        found += arena.play(attacker.name, plays, share)
        if attacker.name == "direct":
            fell = tally.broken()
            open_goals = [goal for goal in open_goals if goal.case.id not in fell]


def suite_of(cases: Sequence[Case], policy: str) -> Suite:
    """Finds as a suite."""
    return Suite.of("finds", cases, policy)


@contextmanager
def _kept(out: Path, policy: str, found: list[Found]) -> Iterator[None]:
    """Whatever ends the attack early, what it found is kept as candidates."""
    try:
        yield
    except (BylawError, KeyboardInterrupt, OSError):
        if found:
            suite_files.save(suite_of([finds.kept(one, one.case) for one in found], policy), out / "finds.jsonl")
        raise
