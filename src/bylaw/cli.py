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
    except ModuleNotFoundError as error:
        return failed(
            f"this command needs {error.name}, which is not installed", "pip install 'bylaw[align,eval]', or '.[align,eval]' in a clone"
        )
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


align_app = typer.Typer(help="Align a model to a policy.", no_args_is_help=True)
app.add_typer(align_app, name="align")

PolicyOption = Annotated[Path, typer.Option("--policy", metavar="PATH", help="A policy folder.", show_default=False)]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same rows.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; a begun run goes on.", show_default="./runs/…")]
A_MODEL = "`embedded`, a folder, a run, a hub name"


@align_app.command("deliberative")
def align_deliberative(
    policy: PolicyOption,
    model: Annotated[str, typer.Option(help=f"Who learns: {A_MODEL}.", show_default=False)],
    generator: Annotated[str, typer.Option(help="Who writes the rows; left out, the model itself.", show_default=False)] = "",
    judge: Annotated[
        str, typer.Option(help="Who judges; left out, PolicyWorld's exact judge, or the model itself for prose.", show_default=False)
    ] = "",
    size: Annotated[Literal["smoke", "tiny", "small", "full"], typer.Option(help="How much of everything.")] = "tiny",
    seed: Seed = 0,
    out: Out = None,
    lora: Annotated[int, typer.Option(min=0, help="Rank of a LoRA adapter; 0 trains all weights.")] = 0,
    arms: Annotated[str, typer.Option(help="Arms to train and measure, with commas, or `all`.")] = "base,policy_in_prompt,sft,sft_rl",
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="More prompts for a policy in prose.", show_default=False)] = None,
    replay: Annotated[Path | None, typer.Option(metavar="FILE", help="Capability rows to keep skills.", show_default=False)] = None,
    helpful_first: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Helpful rows: stage 0, before all.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deliberative alignment: synthesise, filter, strip, fine-tune, reinforce, measure. Resumes where it was stopped.

    A model is one of: embedded | FOLDER | RUN[:arm] | hub/name | scripted:FILE
    """
    from bylaw.recipes import align_run, telling  # noqa: PLC0415  # see the caption

    files = {"prompts": prompts, "replay": replay, "helpful": helpful_first}
    named = {key: str(file.resolve()) if file else "" for key, file in files.items()}
    started = align_run.begin(
        policy, out, model=model, generator=generator, judge=judge, size=size, seed=seed, lora=lora, arms=arms, **named
    )
    results = telling.align(started, quiet=as_json)
    if as_json:
        say_json(results)


@app.command("demo")
def demo(
    out: Out = None,
    seed: Seed = 0,
    size: Annotated[Literal["smoke", "tiny", "small"], typer.Option(help="tiny takes minutes; small up to 20.")] = "tiny",
    arms: Annotated[Literal["demo", "all"], typer.Option(help="all adds rl, the short runs and the control.")] = "demo",
    as_json: AsJson = False,
) -> None:
    """Show all of it on the embedded model: a written policy, a trained model, a measured frontier."""
    from bylaw.recipes import telling  # noqa: PLC0415  # see the caption

    results = telling.demo(out or Path("runs") / f"demo-{size}-{seed}{'-all' * (arms == 'all')}", seed, size, arms == "all", quiet=as_json)
    if as_json:
        say_json(results)


@app.command("eval")
def evaluate(
    target: Annotated[str, typer.Option(help=f"Who is tested: {A_MODEL}, scripted:FILE.", show_default=False)],
    policy: PolicyOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write results.json, report.html and the rows.", show_default=False)],
    judge: Annotated[str, typer.Option(help="Who judges a policy in prose.", show_default=False)] = "",
    size: Annotated[Literal["smoke", "tiny", "small", "full"], typer.Option(help="How many prompts.")] = "tiny",
    as_json: AsJson = False,
) -> None:
    """Measure a model against a policy from both sides: attacks resisted, allowed requests helped."""
    from bylaw.recipes import telling  # noqa: PLC0415  # see the caption

    results = telling.evaluate(target, policy, judge, size, out, quiet=as_json)
    if as_json:
        say_json(results)


@app.command("chat")
def chat(
    model: Annotated[str, typer.Option(help=f"Who answers: {A_MODEL}, scripted:FILE.", show_default=False)],
    request: Annotated[str, typer.Argument(metavar="[REQUEST]", help="Ask this once; left out, talk.", show_default=False)] = "",
    policy: Annotated[Path | None, typer.Option(metavar="PATH", help="Names the cited clauses.", show_default="the run's own")] = None,
    user: Annotated[str, typer.Option(help="Who is asking, where the policy tells users apart.")] = "guest",
) -> None:
    """Talk with a model: its thinking dim, the clause it cites named."""
    from bylaw.recipes import telling  # noqa: PLC0415  # see the caption

    telling.chat(model, policy, user, request)


@app.command("trace")
def trace(
    clause: Annotated[str, typer.Argument(metavar="CLAUSE", help="A clause id.", show_default=False)],
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="A run's folder.", show_default="the newest in ./runs")] = None,
    as_json: AsJson = False,
) -> None:
    """One clause's life: its text, the rows that taught it, its measured rates."""
    from bylaw.recipes import telling  # noqa: PLC0415  # see the caption
    from bylaw.recipes.trace import newest_run  # noqa: PLC0415  # see the caption

    found = telling.trace(clause, run or newest_run(Path("runs")), quiet=as_json)
    if as_json:
        say_json(found)
