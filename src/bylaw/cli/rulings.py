"""`bylaw ruling …` and `bylaw policy rule`: somebody decides an ambiguous case, and the policy cites it from then on."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from bylaw.cli.place import DATA_DIR, DataDir, full_name
from bylaw.cli.saying import FINDINGS, ISO, AsJson, PolicyOption, PolicyPath, say, say_json
from bylaw.errors import PolicyError

Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Judges that rules name.", show_default="DIR/gateway.yaml")]
app = typer.Typer(no_args_is_help=True, help="Somebody decides an ambiguous case, and the policy cites it from then on.")

CHANGED: Final = "the clause has changed: raise `version:`, and have it signed again where it must be (`bylaw policy signoffs`)"
Side = Annotated[Literal["good", "bad"], typer.Option(help="Is the case within the clause, or against it?", show_default=False)]
Decider = Annotated[str, typer.Option(help='Who decided: "J. Osei, legal".', show_default=False)]
Why = Annotated[str, typer.Option(help="Why, in one sentence.", show_default=False)]
Split = Annotated[Literal["train", "eval"], typer.Option(help="eval is never shown to a model or a judge.")]


@app.callback()
def _group() -> None:
    pass


@app.command("add")
def ruling_add(
    policy: PolicyOption,
    decision: Annotated[str, typer.Option(metavar="ID", help="Its record, as `x-bylaw-record` has it.", show_default=False)],
    says: Why,
    side: Side,
    by: Decider,
    clause: Annotated[str, typer.Option(metavar="ID", help="Where the decision names several, or none.", show_default=False)] = "",
    case: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The case in other words: nothing of the ledger is copied.", show_default=False)
    ] = None,
    split: Split = "train",
    config: Config = None,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write a ruling from a decision beside its clause. Exit 1: the policy's rules say otherwise, and must be changed."""
    from bylaw.ledger.writer import Ledger  # noqa: PLC0415  # see `cli`
    from bylaw.serve import one_writer, ruling, wiring  # noqa: PLC0415  # see `cli`
    from bylaw.types import Ruling  # noqa: PLC0415  # see `cli`

    made, record = Ruling(by, datetime.now(UTC).date().isoformat(), says), full_name(decision, data_dir)
    text, rails_of = _words(case) if case else "", wiring.rails_in(data_dir, config)
    if case and not text.strip():
        raise PolicyError(f"{case}: this case is empty", "Write the case in your own words, or leave --case out to copy what was said.")
    with Ledger(data_dir) as ledger, one_writer.alone(policy):
        done = ruling.add(policy, [data_dir], ledger.append, ruling.Ruled(record, side, made, clause, split, text), rails_of)
    if as_json:
        say_json({"clause": done.clause, "file": done.place.file, "line": done.place.line, "trouble": done.trouble})
    else:
        say(f"{done.place}: a {side} ruling on {done.clause}")
        if not case:
            say("what was said now stands in the policy, where no retention reaches it")
        say(CHANGED)
        if done.trouble:
            say(f"the rules say otherwise, so that the policy does not load until they are changed: {done.trouble}")
    if done.trouble:
        raise typer.Exit(FINDINGS)


def policy_rule(
    path: PolicyPath,
    clause: Annotated[str, typer.Argument(metavar="CLAUSE", help="A clause id.", show_default=False)],
    side: Side,
    by: Decider,
    why: Why,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The dialogue or event.", show_default="stdin")] = None,
    split: Split = "train",
    on: Annotated[datetime | None, typer.Option(formats=[ISO], help="When it was decided.", show_default="today")] = None,
) -> None:
    """Keep a ruling on an ambiguous case beside its clause, as a cited example."""
    from bylaw.policy import rulings  # noqa: PLC0415  # see `cli`
    from bylaw.serve import one_writer  # noqa: PLC0415  # see `cli`
    from bylaw.types import Ruling  # noqa: PLC0415  # see `cli`

    text = _words(file)
    day = on.date() if on else datetime.now(UTC).date()
    with one_writer.alone(path):
        place = rulings.rule(path, clause, rulings.case(side, split, Ruling(by, day.isoformat(), why), text))
    say(f"{place}: a {side} ruling on {clause}")
    say(CHANGED)


def _words(file: Path | None) -> str:
    """A case in somebody's own words, from a file or standard input, and no more of it than a character over the limit."""
    from bylaw.policy.rulings import MAX_CASE_CHARS  # noqa: PLC0415  # see `cli`

    try:
        if file is None:
            if sys.stdin.isatty():
                say("Type the case, a dialogue or an event; Ctrl-D on a line of its own ends it.", sys.stderr)
            return sys.stdin.read(MAX_CASE_CHARS + 1)
        with file.open(encoding="utf-8") as opened:
            return opened.read(MAX_CASE_CHARS + 1)
    except UnicodeDecodeError as error:
        raise PolicyError(f"{file or 'stdin'}: not UTF-8 text", "Save the case as UTF-8.") from error
