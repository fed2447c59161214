"""The command line: parse, call, print. It never thinks.

Exit codes: 0 good, 1 findings or a missed threshold, 2 an error, 130 interrupted. An error is one line of what and one line of what
next. Commands import what they need when they run, so that `bylaw policy lint` never loads the training stack.
"""

import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bylaw._version import __version__
from bylaw.errors import BylawError

FINDINGS = 1
ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="One written policy: trained into the model, enforced at run time, tested by attack, proven by evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
policy_app = typer.Typer(help="Read, check and compile a written policy.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

PolicyPath = Annotated[Path, typer.Argument(metavar="PATH", help="A policy folder, or one Markdown file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def main() -> None:
    """The entry point of the `bylaw` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to stop
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every expected error becomes two lines on stderr."""
    try:
        code = app(list(arguments), prog_name="bylaw", standalone_mode=False)
        sys.stdout.flush()
    except BylawError as error:
        return failed(error.what, error.hint)
    except typer.TyperException as error:
        return failed(error.format_message(), "See `bylaw --help`.") if error.format_message() else ERROR
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDINGS
    except OSError as error:
        return failed(*_system(error))
    if code == INTERRUPTED:
        say("interrupted", sys.stderr)
    return code if isinstance(code, int) else 0


def failed(what: str, hint: str) -> int:
    """Print an error as one line of what and one line of what next; returns the exit code."""
    say(f"error: {' '.join(what.split())}", sys.stderr)
    say(f"  next: {' '.join(hint.split()) or 'See `bylaw --help`.'}", sys.stderr)
    return ERROR


def say(text: str, stream: Any = None) -> None:
    """Print text in which nothing but line ends and tabs can steer a terminal."""
    typer.echo("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text), file=stream)


def say_json(value: Any) -> None:
    """Print one JSON value."""
    typer.echo(json.dumps(value, indent=2))


def _system(error: OSError) -> tuple[str, str]:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}no space left on the device", "Free some space, or write to another disk."
    return f"{where}{error.strerror or error}", "Check the path and its permissions."


def _version(asked: bool) -> None:
    if asked:
        say(f"bylaw {__version__}")
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """One written policy: trained into the model, enforced at run time, tested by attack, proven by evidence."""


@policy_app.command("lint")
def policy_lint(path: PolicyPath, as_json: AsJson = False) -> None:
    """Check a policy: what cannot be read, leads nowhere, drifts apart or lets its own bad examples through."""
    from datetime import UTC, datetime  # noqa: PLC0415  # see the caption

    from bylaw.policy.lint import lint  # noqa: PLC0415  # see the caption

    findings = lint(path, datetime.now(UTC).date())
    if as_json:
        keys = ("code", "level", "message", "fix", "clause")
        say_json([{**{key: getattr(one, key) for key in keys}, "file": one.place.file, "line": one.place.line} for one in findings])
    else:
        for one in findings:
            clause = f" [{one.clause}]" if one.clause else ""
            say(f"{one.place if one.place.file else path}: {one.level} {one.code}{clause} {one.message}\n    fix: {one.fix}")
        say(f"{len(findings)} finding{'s' * (len(findings) != 1)}" if findings else f"{path}: no findings")
    if findings:
        raise typer.Exit(FINDINGS)


@policy_app.command("show")
def policy_show(
    path: PolicyPath,
    clause: Annotated[str, typer.Argument(metavar="[CLAUSE]", help="A clause id; left out, the whole policy.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Show a policy at a glance, or one clause in full."""
    from bylaw.policy import show  # noqa: PLC0415  # see the caption
    from bylaw.policy.digest import meaning  # noqa: PLC0415  # see the caption
    from bylaw.policy.parse import load, pick  # noqa: PLC0415  # see the caption

    policy = load(path)
    chosen = pick(policy, clause) if clause else None
    if as_json:
        say_json(meaning(chosen) if chosen else {"digest": policy.digest, **meaning(policy)})
    else:
        say(show.page(chosen) if chosen else show.summary(policy))


@policy_app.command("compile")
def policy_compile(
    path: PolicyPath,
    clause: Annotated[str, typer.Option(help="Compile this clause only.", show_default=False)] = "",
    target: Annotated[Literal["excerpt", "card", "rules", "all"], typer.Option(help="What to print.")] = "all",
    budget: Annotated[int | None, typer.Option(min=1, help="Token budget of the excerpt.", show_default="as long as needed")] = None,
    as_json: AsJson = False,
) -> None:
    """Compile a policy to training excerpts, judge cards and run-time rules."""
    from bylaw.policy.compile import compile_policy, printed  # noqa: PLC0415  # see the caption
    from bylaw.policy.parse import load, pick  # noqa: PLC0415  # see the caption

    policy = load(path)
    compiled = compile_policy(policy, pick(policy, clause).id if clause else "", budget)
    if as_json:
        say_json(compiled if target == "all" else [{"id": one["id"], target: one[target]} for one in compiled["clauses"]])
    else:
        say(printed(compiled, target))
