"""A model alone, the gate alone, and the gate before the model: one suite, three measurements, one report. `bylaw eval --governed`.

The gate is `bylaw serve` in a process of its own, asked over HTTP as any client asks it. *Alone* is the target as `bylaw eval` meets it.
*The gate alone* stands before somebody who does whatever a case asks (`evals.obedient`): what is stopped there, the rules stop, whatever
the model. *Both* is the gate before the target: a local model runs behind it (`serve --model`), anything else is put behind an
address of this machine. The cases are the same in all three. Nobody shows a key: a rule about roles meets somebody who has none.
"""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals import compare, compare_page, governed, measurement, obedient
from bylaw.evals.governed import Standing
from bylaw.evals.targets import ModelTarget, Target
from bylaw.govern.rulebook import HERE, MODEL
from bylaw.models import targets
from bylaw.recipes import answering, evaluate
from bylaw.recipes import governed_stage as stage
from bylaw.recipes.compare import told_rate
from bylaw.recipes.course import Bench, Seen
from bylaw.recipes.demo import shown
from bylaw.recipes.evaluate import Question
from bylaw.recipes.narration import narrate
from bylaw.types import Policy

ARMS: Final = ("alone", "gate", "both")
WIDTH: Final = 150  # of a table where nobody watches
MODEL_NAME: Final = "governed"  # what the gateway's upstream is called; whatever is there answers


def measure(question: Question, out: Path, seen: Seen | None = None) -> dict[str, Any]:
    """Measure all three; write their folders, report.html and governed.json into `out`, and give what governed.json holds."""
    if (out / "run.json").exists():
        raise RunError(f"{out} is a run, and its own results would be overwritten", "choose another --out")
    if question.depth.counterfactual:
        raise RunError("clauses are swapped in a prompt, and not in a gateway", "leave --counterfactual out, or --governed")
    alone = evaluate.ready(question)
    standing = standing_of(alone.policy)
    evaluate.measure_with(alone, out / ARMS[0], seen)
    asked = alone.asked["target"]
    stub = obedient.of([case for suite in alone.suites for case in suite.cases])
    with answering.served(stub) as url:
        _behind(question, alone, out / ARMS[1], ("--upstream", url), f"gate alone (before one who does as asked: {obedient.NAME})", seen)
    with _upstream(question.target, alone.target) as options:
        _behind(question, alone, out / ARMS[2], options, f"gate before {asked}", seen)
    measured = [measurement.read(out / name) for name in ARMS]
    found = compare.compare(measured) | {"governed": governed.of(measured, standing)}
    runs.write_json(out / "governed.json", found)
    runs.write_text(out / "report.html", compare_page.render(found, measured).encode("utf-8", "replace").decode("utf-8"))
    return found


def standing_of(policy: Policy) -> dict[str, Standing]:
    """Every clause: whether the gate enforces it, and how."""
    found = {}
    for clause in policy.clauses:
        rules = tuple(
            f"{', '.join(rule.on)}{' of ' + ', '.join(rule.tools) if rule.tools else ''}: {rule.effect}" for rule in clause.enforce
        )
        found[clause.id] = Standing(HERE if clause.enforce or clause.requires else MODEL, rules)
    return found


@contextmanager
def _upstream(named: str, target: Target) -> Iterator[tuple[str, str]]:
    """How the gateway is told what stands behind it."""
    if targets.parse(named).kind in ("local", "hub"):
        yield ("--model", named)
        return
    bare = replace(target, excerpt="", worded=None) if isinstance(target, ModelTarget) else target  # the policy comes with the request
    with answering.served(bare) as url:
        yield ("--upstream", url)


def _behind(question: Question, alone: Bench, out: Path, options: tuple[str, str], name: str, seen: Seen | None) -> None:
    """Measure what a gateway lets through, with the cases that were put to the target alone."""
    out.mkdir(parents=True, exist_ok=True)
    with closing(stage.begin(out / "data", "--policy", str(question.policy.resolve()), *options)) as gateway:
        stage.ready(gateway)
        # A gateway's answer is never taken from a cache: another policy may be in force at the same port.
        manners = replace(question.manners, cache=None)
        asked = replace(question, target=f"openai:{MODEL_NAME}@{gateway.url}/v1", manners=manners)
        bench = evaluate.ready(asked)
        bench.suites, bench.hits = alone.suites, alone.hits
        bench.asked |= {"target": name, "suites": alone.asked["suites"]}
        evaluate.measure_with(bench, out, seen)


# ---- What a person sees --------------------------------------------------------------------------------------------------


def evaluated(question: Question, out: Path, quiet: bool = False) -> dict[str, Any]:
    """Measure all three and show both sides of every clause; raises RunError where one of them measured nothing."""
    console = Console(stderr=quiet, quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with narrate(console) as narrator:
        bar = narrator.progress.add_task("asking", total=None)
        found = measure(question, out, lambda done, total, _: narrator.progress.update(bar, completed=done, total=total))
    for metric in ("resist", "over_refusal"):
        console.print(_table(found, metric))
    console.print(f"{found['cases']} cases; report.html and governed.json are in {out}, each measurement in a folder of its own")
    for arm in found["runs"]:
        if arm["unscored"]:
            console.print(f"{shown(arm['target'])}: {arm['unscored']} cases could not be scored", soft_wrap=True)
    if any(sides["resist"]["n"] + sides["over_refusal"]["n"] == 0 for sides in found["overall"]):
        raise RunError("one of the three measured nothing", f"see why in cases.jsonl below {out}, and start the same command again")
    return found


def _table(found: dict[str, Any], metric: str) -> Table:
    drawn = Table(title=compare_page.TITLES[metric], box=None, pad_edge=False, title_justify="left")
    for heading in ("clause", "at run time", "model alone", "gate alone", "both"):
        drawn.add_column(heading)
    lines = [(clause, found["governed"]["clauses"].get(clause, {}).get("where", ""), sides) for clause, sides in found["clauses"].items()]
    lines += [(f"all that are {where}", where, sides) for where, sides in found["governed"]["sums"].items()]
    for clause, where, sides in lines:
        if sides[0][metric]["n"]:
            drawn.add_row(shown(clause or "(no clause)"), where, *(told_rate(one[metric]) for one in sides))
    return drawn
