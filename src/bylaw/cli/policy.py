"""`bylaw policy …`: read, check and compile a written policy."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_of
from bylaw.cli.saying import FINDINGS, AsJson, PolicyPath, say, say_json

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.types import Finding

GATEWAYS: Final = frozenset({"x-notice", "x-appeal"})  # fields of policy.yaml that keep a gateway from starting where they say nothing

app = typer.Typer(help="Read, check and compile a written policy.", no_args_is_help=True)


@app.command("lint", short_help="Check a policy.")
def policy_lint(
    path: PolicyPath,
    against: Annotated[str, typer.Option(metavar="REF|DIR", help="Compare with a git revision or a folder.", show_default=False)] = "",
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the findings as SARIF.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Check a policy: what cannot be read, leads nowhere, contradicts, drifts apart or lets its own bad examples through."""
    from datetime import UTC, datetime  # noqa: PLC0415  # see `cli`

    from bylaw.policy.lint import lint  # noqa: PLC0415  # see `cli`

    findings = lint(path, datetime.now(UTC).date(), against)
    if not any(one.code in ("BL001", "BL002", "BL401") for one in findings):
        findings += _unloadable(path)
    if sarif:
        from bylaw import runs  # noqa: PLC0415  # see `cli`
        from bylaw.policy.sarif import sarif as as_sarif  # noqa: PLC0415  # see `cli`

        write = Path.write_text if sarif.exists() and not sarif.is_file() else runs.write_text  # a pipe is not written whole
        write(sarif, json.dumps(as_sarif(findings, path, Path.cwd()), indent=2) + "\n")
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


def _unloadable(path: Path) -> "list[Finding]":
    """Why no gateway loads a policy that can be read: a rail or a check that there is not, a field of its own that says nothing."""
    from bylaw.policy.lint import unreadable  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import every_clause, load  # noqa: PLC0415  # see `cli`

    policy = load(path)
    if not GATEWAYS.intersection(policy.extra) and not any(one.enforce or one.requires for one in every_clause(policy)):
        return []  # nothing that only a gateway reads
    try:
        from bylaw.serve.loadable import fault  # noqa: PLC0415  # see `cli`

        found = fault(path)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"not checked: whether a gateway would load it, which needs {error.name} (pip install '.[serve,pii]')\n")
        return []
    if found and "no rail is called" in found.what and "Did you mean" not in found.hint:  # an application that guards itself may bring it
        sys.stderr.write(f"note: no gateway loads this policy: {found.what}\n")
        return []
    return [unreadable(found)] if found else []


@app.command("show", short_help="Show a policy, or one clause.")
def policy_show(
    path: PolicyPath,
    clause: Annotated[str, typer.Argument(metavar="[CLAUSE]", help="A clause id; left out, the whole policy.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Show a policy at a glance, or one clause in full."""
    from bylaw.policy import show  # noqa: PLC0415  # see `cli`
    from bylaw.policy.digest import meaning  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load, pick  # noqa: PLC0415  # see `cli`

    policy = load(path)
    chosen = pick(policy, clause) if clause else None
    if as_json:
        say_json(meaning(chosen) if chosen else {"digest": policy.digest, **meaning(policy)})
    else:
        say(show.page(chosen) if chosen else show.summary(policy))


@app.command("versions", short_help="What was put in force here.")
def policy_versions(store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """List the policies that were put in force here, oldest first; the last one is in force."""
    from bylaw.serve import live  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened:
        past = live.history(opened)
    if as_json:
        say_json(past)
        return
    for one in past:
        unsigned = f"  UNSIGNED: {one['unsigned']}" if one.get("unsigned") else ""
        say(f"{one['at']}  {one['version']}  {one['digest']}  by {one['by']}{unsigned}")
    say(f"{len(past)} activation{'s' * (len(past) != 1)}")


@app.command("version", short_help="Show a version that was in force.")
def policy_version(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="Its digest, or what that begins with.", show_default=False)],
    clause: Annotated[str, typer.Argument(metavar="[CLAUSE]", help="A clause id; left out, the whole policy.", show_default=False)] = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a policy as it was put in force here, or one clause of it in full."""
    from bylaw.serve import live  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened, live.kept(opened, digest) as folder:
        policy_show(folder, clause, as_json)


@app.command("compile", short_help="Excerpts, judge cards and rules.")
def policy_compile(
    path: PolicyPath,
    clause: Annotated[str, typer.Option(help="Compile this clause only.", show_default=False)] = "",
    target: Annotated[Literal["excerpt", "card", "rules", "all"], typer.Option(help="What to print.")] = "all",
    budget: Annotated[int | None, typer.Option(min=1, help="Token budget of the excerpt.", show_default="as long as needed")] = None,
    as_json: AsJson = False,
) -> None:
    """Compile a policy to training excerpts, judge cards and run-time rules."""
    from bylaw.policy.compile import compile_policy, printed  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load, pick  # noqa: PLC0415  # see `cli`

    policy = load(path)
    compiled = compile_policy(policy, pick(policy, clause).id if clause else "", budget)
    if as_json:
        say_json(compiled if target == "all" else [{"id": one["id"], target: one[target]} for one in compiled["clauses"]])
    else:
        say(printed(compiled, target))
