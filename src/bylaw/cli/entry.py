"""The front door of the command line: which commands there are, and what an error looks like."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from bylaw._version import __version__
from bylaw.cli import (
    align,
    appeals,
    approvals,
    attack,
    backup,
    bring,
    canary,
    evals,
    findings,
    gate,
    judge,
    keys,
    label,
    ledger,
    mcp,
    policy,
    prompts,
    replay,
    replay_ledger,
    review,
    rulings,
    serve,
    sessions,
    stale,
    stops,
    watch,
)
from bylaw.cli.saying import ERROR, INTERRUPTED, failed, say
from bylaw.cli.staying import Program
from bylaw.cli.telling import any_letter, ended

WIDE: Final = 80  # columns; on a narrower terminal the tables of the help would cut the names of options

app = typer.Typer(
    help="One written policy: trained into the model, enforced at run time, tested by attack, proven by evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point of the `bylaw` command."""
    any_letter()
    sys.exit(run(sys.argv[1:], stays=Program.instead))


def run(arguments: Sequence[str], commands: typer.Typer | None = None, stays: Callable[[Program], object] = Program.__call__) -> int:
    """Run one command line and return its exit code; `stays` does what a command that stays is to do."""

    def work() -> object:
        called, width = commands or app, _columns()
        called.rich_markup_mode = "rich" if width >= WIDE else None
        fits: dict[str, Any] = {} if width >= WIDE else {"terminal_width": width}
        try:
            code = called(list(arguments), prog_name="bylaw", standalone_mode=False, **fits)
        except typer.TyperException as error:
            said, where = error.format_message().replace("Value error, ", ""), getattr(error, "ctx", None)
            return failed(said, f"See `{where.command_path if where else 'bylaw'} --help`.") if said else ERROR
        except typer.Abort as abort:
            if isinstance(abort.__cause__, EOFError):  # typer takes every one for the end of what a person types
                raise abort.__cause__ from None
            return INTERRUPTED
        return stays(code) if isinstance(code, Program) else code

    return ended(work)


def _columns() -> int:
    """How wide the terminal is, as rich finds it: also where the output goes to a pager."""
    said, found = os.environ.get("COLUMNS", ""), 0
    for stream in (2, 1, 0):
        with suppress(OSError):  # no terminal
            found = os.get_terminal_size(stream).columns
    return (int(said) if said.isdigit() else found) or WIDE


def _version(asked: bool) -> None:
    if asked:
        say(f"bylaw {__version__}")
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """One written policy: trained into the model, enforced at run time, tested by attack, proven by evidence."""


# One line each, so that the help fits a screen; a command's own help says the rest.
policy.app.add_typer(bring.imports, name="import", short_help="Turn a document into a policy folder.")
policy.app.command("draft", short_help="Let a model draft; you accept one by one.")(bring.draft)
policy.app.command("diff", short_help="Compare two versions clause by clause.")(review.policy_diff)
policy.app.command("effective", short_help="What holds in a place, and why.")(review.policy_effective)
policy.app.command("stale", short_help="Which models it leaves behind.")(stale.policy_stale)
policy.app.command("rule", short_help="Keep a ruling beside its clause.")(rulings.policy_rule)
policy.app.command("keygen", short_help="Make a reviewer's key.")(review.policy_keygen)
policy.app.command("sign", short_help="Sign clauses as they stand now.")(review.policy_sign)
policy.app.command("signoffs", short_help="Who must sign, who has, what is missing.")(review.policy_signoffs)
policy.app.command("handbook", short_help="Write one HTML page a clause.")(bring.handbook)
policy.app.command("activate", short_help="Put a policy in force on every process.")(serve.activate)
policy.app.command("rollback", short_help="Put an earlier policy in force again.")(serve.rollback)
policy.app.add_typer(canary.canary, name="canary", short_help="Try a candidate on a share.")
policy.app.add_typer(canary.shadow, name="shadow", short_help="What a candidate would have done.")

app.command("init", short_help="Begin a policy for one kind of assistant.")(bring.init)
app.add_typer(policy.app, name="policy")
app.command("prompts", short_help="Make prompts to train and test with.")(prompts.make)
app.add_typer(label.app, name="label", short_help="Collect people's preferences and labels.")
app.add_typer(judge.app, name="judge")
app.command("serve", short_help="Stand between clients and a model.")(serve.serve)
app.add_typer(mcp.app, name="mcp", short_help="Govern an MCP server, and pin its tools.")
app.add_typer(ledger.app, name="ledger")
app.command("backup", short_help="Copy ledger and store, while gateways run.")(backup.backup)
app.command("restore", short_help="Bring a backup back.")(backup.restore)
app.add_typer(approvals.app, name="approvals")
app.add_typer(appeals.app, name="appeals")
app.add_typer(findings.app, name="findings")
app.add_typer(watch.app, name="watch", short_help="Signals from the records.")
app.add_typer(keys.app, name="keys")
app.add_typer(sessions.app, name="sessions")
app.command("stop", short_help="Stop everything, or one tenant, principal or tool.")(stops.stop)
app.command("resume", short_help="Lift a stop.")(stops.resume)
app.add_typer(align.app, name="align")
app.command("eval", short_help="Measure a target from both sides.")(evals.evaluate)
app.command("attack", short_help="Search for what breaks a target.")(attack.attack)
app.command("gate", short_help="Hold a measurement against limits and a baseline.")(gate.gate)
app.command("compare", short_help="Several measurements side by side.")(gate.compare)
evals.app.command("power", short_help="How many cases a policy's limits need.")(gate.power)
app.command("replay", short_help="Recorded decisions under another policy.")(replay_ledger.replay)
app.command("replay-agent", short_help="Recorded calls before a policy, no model.")(replay.replay_agent)
app.add_typer(rulings.app, name="ruling", short_help="Decide an ambiguous case, citably.")
app.add_typer(evals.app, name="suite", short_help="What a target is measured with.")
app.command("demo", short_help="Show all of it on the embedded model.")(align.demo)
app.command("chat", short_help="Talk with a model.")(align.chat)
app.command("trace", short_help="One clause's life.")(align.trace)
