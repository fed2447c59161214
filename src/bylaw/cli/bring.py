"""`bylaw policy import|draft|handbook`, `bylaw init`: bring a policy of your own, or begin one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bylaw.cli.saying import AsJson, say, say_json

imports = typer.Typer(help="Turn an existing document into a policy folder.", no_args_is_help=True)

NewFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.", show_default=False)]
Source = Annotated[Path, typer.Argument(metavar="FILE", help="The document to read.", show_default=False)]


@imports.command("model-spec")
def import_model_spec(file: Source, out: NewFolder, as_json: AsJson = False) -> None:
    """The Markdown of the OpenAI Model Spec, with the `examples/` beside it."""
    from bylaw.policy import model_spec  # noqa: PLC0415  # see `cli`

    found = model_spec.import_model_spec(file, out)
    clauses = found.policy.clauses
    sides = [example.side for clause in clauses for example in clause.examples]
    if as_json:
        say_json(
            {
                "out": str(out),
                "headings": len(found.headings),
                "clauses": len(clauses),
                "good": sides.count("good"),
                "bad": sides.count("bad"),
                "eval_prompts": found.prompts,
                "tags_without_file": list(found.tags_without_file),
                "files_without_tag": list(found.files_without_tag),
                "notes": list(found.notes),
            }
        )
        return
    examples = f"{sides.count('good')} good and {sides.count('bad')} bad examples"
    say(f"{out}: {len(clauses)} clauses of {len(found.headings)} headings, {examples}")
    say(f"{found.prompts} evaluation prompts in {out / model_spec.PROMPTS_FILE}")
    say(f"eval tags without a file: {' '.join(found.tags_without_file) or 'none'}")
    say(f"files without an eval tag: {' '.join(found.files_without_tag) or 'none'}")
    say(f"{len(found.notes)} notes and all that was chosen by rule: {out / model_spec.NOTES_FILE}")
    say(f"  next: bylaw policy lint {out}")


@imports.command("prose")
def import_prose(
    file: Source,
    out: NewFolder,
    capitals: Annotated[bool, typer.Option("--capitals", help="Write must, should and may not in capitals.")] = False,
    as_json: AsJson = False,
) -> None:
    """A policy in Markdown, plain text or PDF: sentences with a rule word become draft clauses, the rest is listed."""
    from bylaw.policy import prose_import  # noqa: PLC0415  # see `cli`

    found = prose_import.import_prose(file, out, capitals)
    clauses = found.policy.clauses
    if as_json:
        left = [{"line": one.block.line, "why": one.why, "text": one.block.text} for one in found.left]
        say_json({"out": str(out), "clauses": [clause.id for clause in clauses], "unparsed": left, "notes": list(found.notes)})
        return
    say(f"{out}: {len(clauses)} draft clauses; {len(found.left)} pieces became none and stand in {out / prose_import.UNPARSED_FILE}")
    for note in found.notes:
        say(f"note: {note}")
    say(f"severity and response are guesses; the rules are in {out / prose_import.NOTES_FILE}")
    say(f"  next: read {prose_import.UNPARSED_FILE}, then bylaw policy lint {out}")


def init(
    profile: Annotated[
        Literal["consumer", "enterprise", "regulated", "agentic", "high-risk"], typer.Option(help="Whom it is for.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")] = Path("policy"),
    as_json: AsJson = False,
) -> None:
    """Begin a policy: clauses, examples, evaluation plan and run-time defaults for one kind of assistant, with reasons."""
    from bylaw.policy import profiles  # noqa: PLC0415  # see `cli`

    begun = profiles.begin(profile, out)
    policy = begun.policy
    if as_json:
        say_json({"out": str(out), "profile": profile, "digest": policy.digest, "clauses": [clause.id for clause in policy.clauses]})
        return
    rules = sum(len(clause.enforce) for clause in policy.clauses)
    say(f"{out}: {len(policy.clauses)} clauses, {rules} run-time rules, {len(policy.tools)} tool schemas")
    say(f"what was chosen, and why: {out / profiles.README}")
    say(f"  next: edit it, then bylaw policy lint {out}")
