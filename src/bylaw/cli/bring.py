"""`bylaw policy import|draft|handbook`, `bylaw init`: bring a policy of your own, or begin one."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bylaw.cli.saying import AsJson, PolicyPath, say, say_json

if TYPE_CHECKING:
    from bylaw.policy.drafts import Proposal
    from bylaw.types import Model

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
    say(f"  next: edit it, then bylaw policy lint {out}, then bylaw align dry-run --policy {out}")


def draft(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="A policy folder.", show_default=False)],
    model: Annotated[str, typer.Option(help="Who drafts: a model target; see `bylaw align deliberative -h`.", show_default=False)] = "",
    clause: Annotated[str, typer.Option(help="Draft for this clause only.", show_default="every draft")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Ask nobody: write the proposals here.", show_default=False)
    ] = None,
    accept: Annotated[
        Path | None, typer.Option("--accept", metavar="FILE", help="Put in the proposals of FILE with `accept` true.", show_default=False)
    ] = None,
) -> None:
    """Let a model draft response, rationale, examples and rules; you accept them one by one (y, n, e to edit, q to stop)."""
    from bylaw import runs  # noqa: PLC0415  # see `cli`
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`
    from bylaw.policy import drafts, parse  # noqa: PLC0415  # see `cli`
    from bylaw.policy.fresh import fresh_file  # noqa: PLC0415  # see `cli`

    if bool(model) == bool(accept):
        raise PolicyError("give --model to draft, or --accept FILE to put in what was accepted", "See `bylaw policy draft -h`.")
    if accept:
        chosen = drafts.accepted(accept)
        new = drafts.accept(path, chosen)
        say(f"{path}: {new} of {len(chosen)} accepted proposals put in" + ("; the others were there already" if new < len(chosen) else ""))
        return
    if out:
        fresh_file(out)
    policy = parse.load(path)
    wanted = (parse.pick(policy, clause),) if clause else drafts.drafts_of(policy)
    if not wanted:
        raise PolicyError(f"{path}: no clause is marked as a draft", "Name one with --clause.")
    found = drafts.propose(policy, wanted, _model(model))
    for fault in found.faults:
        say(f"skipped: {fault}")
    say(f"{len(found.proposals)} proposals for {len(wanted)} clauses, {len(found.faults)} skipped")
    if out:
        if not found.proposals:
            raise PolicyError("no proposal can stand", "What was wrong is said above: ask again, or another model. Nothing was written.")
        runs.write_rows(out, [drafts.row(one) for one in found.proposals])
        say(f"  next: set `accept` to true where you agree, then bylaw policy draft {path} --accept {out}")
        return
    taken = 0
    for proposal in found.proposals:
        try:
            answer = _asked(path, proposal)
        except typer.Abort:
            if sys.stdin.isatty():
                raise
            what = f"nobody is there to answer; {taken} accepted, {len(found.proposals) - taken} proposals dropped or not looked at"
            raise PolicyError(what, "Write proposals to a file with --out FILE, and accept them there.") from None
        if answer == "q":
            break
        taken += answer == "y"
    say(f"{taken} accepted; next: bylaw policy lint {path}")


def handbook(
    path: PolicyPath,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder, or an older handbook's.", show_default=False)],
) -> None:
    """Write the handbook: one HTML page a clause and an index, for the people who own and sign it."""
    from bylaw.policy.handbook import INDEX, write_handbook  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`

    pages = write_handbook(load(path), out)
    say(f"{pages} pages; open {out / INDEX}")


def _model(target: str) -> "Model":
    from bylaw.models.loading import open_model  # noqa: PLC0415  # see `cli`
    from bylaw.models.targets import parse as parse_target  # noqa: PLC0415  # see `cli`

    return open_model(parse_target(target))


def _asked(path: Path, proposal: "Proposal") -> str:
    """Show one proposal and do what the person says; an edited value that cannot stand is shown and asked about again."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`
    from bylaw.policy import drafts  # noqa: PLC0415  # see `cli`

    while True:
        say(f"\n[{proposal.clause}] {proposal.kind}\n{json.dumps(proposal.value, ensure_ascii=False, indent=2)}")
        answer = str(typer.prompt("accept? y, n, e, q", default="n", show_default=False)).strip().lower()
        if answer == "y":
            try:
                drafts.accept(path, [proposal])
            except PolicyError as error:
                say(f"not accepted: {error.what}")
                continue
            return "y"
        if answer in ("n", "q"):
            return answer
        if answer == "e":
            try:
                proposal = proposal._replace(value=json.loads(typer.prompt("new value, as JSON on one line")))
            except (ValueError, RecursionError):
                say("that is not JSON; nothing changed")
