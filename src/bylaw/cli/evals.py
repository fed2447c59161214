"""`bylaw eval` and `bylaw suite …`: measure a target from both sides; compile, read, check and import the suites it is measured with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bylaw.cli.saying import A_MODEL, FINDINGS, AsJson, Concurrency, JudgeOfTheRest, PolicyOption, Seed, Timeout, say, say_json
from bylaw.errors import RunError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.recipes.evaluate import Question
    from bylaw.types import Policy

app = typer.Typer(help="Suites: what a target is measured with.", no_args_is_help=True)

SuitePath = Annotated[Path, typer.Argument(metavar="FILE", help="A suite: JSON lines or YAML.", show_default=False)]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it: .jsonl or .yaml.", show_default=False)]
MaybePolicy = Annotated[
    Path | None, typer.Option("--policy", metavar="PATH", help="Its clauses must be this policy's.", show_default=False)
]
Suites = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Suites; left out, compiled from the policy.", show_default=False)]
Trained = Annotated[
    Path | None, typer.Option(metavar="RUN|FILE", help="Training rows: cases that stand in them are left out.", show_default=False)
]
Cards = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="The judge's cards: rates are corrected too.", show_default=False)]
Counterfactual = Annotated[
    bool, typer.Option("--counterfactual", help="Swap each clause in the prompt (PolicyWorld): does the decision move?")
]
PerClause = Annotated[int, typer.Option(min=1, max=1000, help="At most so many cases a clause and side.")]


def evaluate(
    target: Annotated[str, typer.Option(help=f"Who is tested: {A_MODEL}, openai:MODEL@URL, scripted:FILE.", show_default=False)],
    policy: PolicyOption,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; a begun one goes on.", show_default="./runs/…")] = None,
    suite: Suites = None,
    judge: JudgeOfTheRest = "",
    tests: Annotated[Path | None, typer.Option(metavar="FILE", help="More prompts to be tested with.", show_default=False)] = None,
    size: Annotated[Literal["smoke", "tiny", "small", "full"], typer.Option(help="How much of PolicyWorld's test set.")] = "tiny",
    per_clause: PerClause = 8,
    policy_in_prompt: Annotated[bool, typer.Option("--policy-in-prompt", help="The policy stands in the prompt.")] = False,
    candidates: Annotated[bool, typer.Option("--candidates", help="Cases that are only candidates count too.")] = False,
    against: Trained = None,
    timeout: Timeout = 120.0,
    price: Annotated[str, typer.Option(metavar="IN,OUT", help="What endpoints charge per million tokens.", show_default=False)] = "",
    concurrency: Concurrency = 8,
    repeat: Annotated[int, typer.Option(min=1, max=100, help="Ask every case so often, each time with another seed.")] = 1,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=5.0, help="Of the target.", show_default="0; 0.7 with --repeat")] = None,
    stop_early: Annotated[bool, typer.Option("--stop-early", help="A clause ends once its limit is decided, with 5 % error.")] = False,
    grader: Annotated[str, typer.Option(metavar="MODEL", help="Grades answers after StrongREJECT.", show_default=False)] = "",
    judge_card: Cards = None,
    counterfactual: Counterfactual = False,
    attach: Annotated[bool, typer.Option("--attach", help="Documents go as files: `document` to a bylaw gateway.")] = False,
    governed: Annotated[bool, typer.Option("--governed", help="The target alone, the gate alone, and both, side by side.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a target against a policy from both sides: attacks resisted, allowed requests helped.

    Writes results.json, cases.jsonl and report.html. Exit 2 where not one case could be scored.
    """
    from dataclasses import replace  # noqa: PLC0415  # see `cli`

    from bylaw.cli.align import manners  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import evaluate as recipe  # noqa: PLC0415  # see `cli`

    asked = recipe.Question(
        target=target,
        policy=policy,
        suites=tuple(suite or ()),
        judge=judge,
        tests=tests,
        size=size,
        per_clause=per_clause,
        in_prompt=policy_in_prompt,
        against=against,
        statuses=("active", "candidate") if candidates else ("active",),
        manners=replace(manners(price, concurrency), timeout_s=timeout, tries=2),
        depth=recipe.Depth(repeat, temperature, stop_early, grader, tuple(judge_card or ()), counterfactual, attach),
    )
    results = _measured(asked, out, governed, as_json)
    if as_json:
        say_json(results)


def _measured(asked: "Question", out: Path | None, governed: bool, quiet: bool) -> dict[str, Any]:
    from bylaw.recipes import evaluate as recipe  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import measured  # noqa: PLC0415  # see `cli`

    folder = recipe.place(asked)
    if governed:
        from bylaw.recipes import governed_eval  # noqa: PLC0415  # see `cli`

        return governed_eval.evaluated(asked, out or folder.with_name(f"{folder.name}-governed"), quiet=quiet)
    return measured.evaluate(asked, out or folder, quiet=quiet)


@app.command("compile")
def suite_compile(
    policy: PolicyOption,
    out: OutFile,
    per_clause: PerClause = 8,
    identities: Annotated[bool, typer.Option("--identities", help="Each plain request as many people ask it: for fairness.")] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write a suite with both sides of every clause: what it forbids, what looks alike, what stands at its limits."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`
    from bylaw.evals import fairness, suite_files, suite_policy, suite_shown, suite_world, suite_world_agent  # noqa: PLC0415  # see `cli`
    from bylaw.policyworld import dialect  # noqa: PLC0415  # see `cli`

    read = _policy(policy)
    if identities and (dialect.speaks(read) or suite_world_agent.speaks(read)):
        raise PolicyError("PolicyWorld has no words for who asks", "compile pairs of identities from a policy for real models")
    if dialect.speaks(read):
        made = suite_policy.Compiled(suite_world.per_clause(read, per_clause, seed), 0)
    elif suite_world_agent.speaks(read):
        made = suite_policy.Compiled(suite_world_agent.suite(read, per_clause, seed), 0)
    else:
        made = suite_policy.compiled(read, per_clause)
    made = made._replace(suite=fairness.paired(made.suite)) if identities else made
    suite_files.save(made.suite, out)
    if as_json:
        say_json(suite_shown.summary(made.suite, read) | {"out_of_reach": made.out_of_reach})
        return
    say("\n".join(suite_shown.lines(made.suite, read)))
    if made.out_of_reach:
        say(f"left out: {made.out_of_reach} examples of events that no conversation can bring about (sessions, principals)")
    say(f"written to {out}")


@app.command("lint")
def suite_lint(file: SuitePath, policy: MaybePolicy = None, as_json: AsJson = False) -> None:
    """Check a suite: every line that cannot be read, and what of it cannot work. Exit 1 with findings."""
    from bylaw.evals import suite_files, suite_lint  # noqa: PLC0415  # see `cli`

    read = _policy(policy) if policy else None
    found = suite_files.read(file, read)
    if not found.lines:
        raise RunError(f"{file}: there is no case in it", "A suite has one case a line: see `bylaw suite compile`.")
    problems = [*found.problems, *suite_lint.findings(found.suite, read, file.name)]
    if as_json:
        rows = [{"place": str(one.place), "message": one.message, "fix": one.fix} for one in problems]
        say_json({"cases": len(found.suite.cases), "lines": found.lines, "digest": found.suite.digest, "findings": rows})
    else:
        for one in problems:
            say(f"{one}\n  next: {one.fix}")
        say(f"{file}: {len(found.suite.cases)} of {found.lines} cases are sound, {len(problems)} findings, {found.suite.digest}")
    raise typer.Exit(FINDINGS if problems else 0)


@app.command("list")
def suite_list(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Suites; none: what can be imported.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show suites side by side; without a file, the public sets that `bylaw suite import` knows, with their licences."""
    from bylaw.evals import suite_files, suite_shown  # noqa: PLC0415  # see `cli`

    if not files:
        from bylaw.evals import report_import, suite_import  # noqa: PLC0415  # see `cli`

        if as_json:
            say_json(suite_import.catalogue())
            return
        reports = (f"  {tool:17s} {report_import.LICENCES[tool]}; the report of a run, --from FILE" for tool in report_import.TOOLS)
        say("\n".join([*suite_import.told(), *reports]))
        return
    read = [suite_files.load(file) for file in files]
    if as_json:
        say_json([suite_shown.summary(one, None) for one in read])
        return
    for one in read:
        say("\n".join(suite_shown.lines(one, None)))


@app.command("import")
def suite_import_command(
    name: Annotated[str, typer.Argument(metavar="SET", help="A public set; `bylaw suite list` names them.", show_default=False)],
    out: OutFile,
    source: Annotated[str, typer.Option("--from", metavar="PATH", help="A file or folder; left out, the hub.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=0, help="A fixed part of it, spread over its categories; 0: all.")] = 0,
    against: Annotated[
        Path | None, typer.Option(metavar="RUN|FILE", help="Leave out what stands in training rows.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a public set into a suite. Its licence is shown and kept in every case."""
    from bylaw.evals import report_import, suite_files, suite_import, suite_shown  # noqa: PLC0415  # see `cli`

    if name in report_import.TOOLS and not source:
        raise RunError(f"--from is missing: which report of {name}?", f"Name the file that a finished {name} run wrote.")
    from bylaw.recipes.evaluate import less_trained  # noqa: PLC0415  # see `cli`

    suite = report_import.load(name, Path(source)) if name in report_import.TOOLS else suite_import.load(name, source, limit)
    suite, hits = less_trained(suite, against) if against else (suite, ())
    suite_files.save(suite, out)
    if as_json:
        say_json(suite_shown.summary(suite, None) | {"decontaminated": [hit._asdict() for hit in hits]})
        return
    say("\n".join(suite_shown.lines(suite, None)))
    for hit in hits:
        say(f"left out: case {hit.case} stands in training row {hit.row} ({hit.how})")
    say(f"written to {out}")


def _policy(path: Path) -> "Policy":
    from bylaw.policy import parse  # noqa: PLC0415  # see `cli`

    return parse.load(path)
