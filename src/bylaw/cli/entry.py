"""The front door of the command line: which commands there are, and what an error looks like."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from bylaw._version import __version__
from bylaw.cli import align, bring, judge, label, policy, prompts, review
from bylaw.cli.saying import ERROR, FINDINGS, INTERRUPTED, failed, say
from bylaw.errors import BylawError

app = typer.Typer(
    help="One written policy: trained into the model, enforced at run time, tested by attack, proven by evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


policy.app.add_typer(bring.imports, name="import")
policy.app.command("draft")(bring.draft)
policy.app.command("handbook")(bring.handbook)
review.register(policy.app)
app.add_typer(policy.app, name="policy")
app.add_typer(align.app, name="align")
app.command("prompts")(prompts.make)
app.add_typer(label.app, name="label")
app.add_typer(judge.app, name="judge")
app.command("init")(bring.init)
app.command("demo")(align.demo)
app.command("eval")(align.evaluate)
app.command("chat")(align.chat)
app.command("trace")(align.trace)
