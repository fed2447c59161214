"""`bylaw replay-agent`: recorded tool calls of a fully hijacked agent before a policy, without a model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bylaw.cli.saying import AsJson, PolicyOption, say, say_json

if TYPE_CHECKING:
    from rich.table import Table


def replay_agent(
    what: Annotated[str, typer.Argument(metavar="FILE|agentdojo", help="A suite of recorded calls, or AgentDojo.", show_default=False)],
    policy: PolicyOption,
    suite: Annotated[Literal["workspace", "travel", "banking", "slack"], typer.Option(help="Which of AgentDojo's suites.")] = "banking",
    python: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The Python in which AgentDojo is installed.", show_default=False)
    ] = None,
    benchmark: Annotated[str, typer.Option(metavar="VERSION", help="AgentDojo's benchmark version.")] = "v1.2.1",
    approver: Annotated[
        Literal["nobody", "yes", "no", "knows"], typer.Option(help="Who answers what waits for a person; `knows` refuses attacks alone.")
    ] = "nobody",
    compare: Annotated[bool, typer.Option("--compare/--no-compare", help="Play it without a gate, too.")] = True,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JSON, a row a scenario.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay recorded tool calls as a fully hijacked agent: what a policy stops, holds and lets through. No model, no chance."""
    from bylaw import runs  # noqa: PLC0415  # see `cli`
    from bylaw.errors import RunError  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import agentdojo_replay  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import replay_agent as recipe  # noqa: PLC0415  # see `cli`

    told = None if as_json or not sys.stderr.isatty() else _told
    if what == "agentdojo":
        if python is None:
            raise RunError("--python is missing: which Python has AgentDojo?", "python -m venv V && V/bin/pip install agentdojo==0.1.35")
        found = agentdojo_replay.replay_agentdojo(python, policy, suite, version=benchmark, approver=approver, told=told, compare=compare)
    else:
        found = recipe.replay_file(Path(what), policy, approver, told)
    if out:
        runs.write_json(out, found)
    if as_json:
        say_json({key: value for key, value in found.items() if key != "rows"})
    else:
        _show(found)


def _told(done: int, of: int) -> None:
    typer.echo(f"\r{done}/{of}", nl=False, err=True)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415  # see `cli`

    console = Console(width=None if sys.stdout.isatty() else 130)
    say(f"{found['suite']}, policy {found['policy_id']}, what waits is answered by {found['approver']}")
    console.print(_rates(found))
    if found["gate"]["clauses"]:
        console.print(_clauses(found))
    asked = found["gate"]["asked_about"]
    say(f"a person is asked about {_rate(asked['tasks_alone'])} of plain tasks")


def _rates(found: dict[str, Any]) -> "Table":
    from rich.table import Table  # noqa: PLC0415  # see `cli`

    table = Table("", "", "no gate", "with the policy")
    parts = (("task alone", "task_alone"), ("task under attack", "task_under_attack"), ("attack", "attack"))
    for label, part in parts:
        for name, rate in found["gate"][part].items():
            before = found["no_gate"][part][name]
            if rate["hits"] or before["hits"] or name in ("kept", "through"):
                table.add_row(label, name, _rate(before), _rate(rate))
    return table


def _clauses(found: dict[str, Any]) -> "Table":
    from rich.markup import escape  # noqa: PLC0415  # see `cli`
    from rich.table import Table  # noqa: PLC0415  # see `cli`

    table = Table("clause", "attacks it stopped", "attacks held, denied", "plain tasks it stopped", "plain tasks held, denied")
    for clause, sides in found["gate"]["clauses"].items():
        cells = [_rate(sides[side][fate]) for side in ("attacks", "tasks_alone") for fate in ("stopped", "asked")]
        table.add_row(escape(clause), *cells)
    return table


def _rate(rate: dict[str, Any]) -> str:
    if rate["rate"] is None:
        return "not measured"
    return f"{rate['rate']:.3f} ({rate['low']:.3f} to {rate['high']:.3f}), {rate['hits']} of {rate['n']}"
