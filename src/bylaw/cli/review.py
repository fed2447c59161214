"""`bylaw policy diff|effective|signoffs|sign|keygen`: what changed, what holds where and why, and who has signed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_of
from bylaw.cli.saying import FINDINGS, ISO, AsJson, PolicyPath, say, say_json

Jurisdictions = Annotated[list[str] | None, typer.Option("--jurisdiction", help="Holds there; repeat for several.", show_default=False)]
Products = Annotated[list[str] | None, typer.Option("--product", help="Holds for it; repeat for several.", show_default=False)]
Deployments = Annotated[list[str] | None, typer.Option("--deployment", help="Holds for it; repeat for several.", show_default=False)]


def policy_diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The policy as it was.", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The policy as it is now.", show_default=False)],
    runs: Annotated[Path | None, typer.Option(metavar="DIR", help="Which of these runs it makes stale.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions clause by clause: what changed, is it stricter, which version does it call for? Exit 1: too low a version."""
    from bylaw.policy import diff, stale  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`

    found = diff.diff(load(old), load(new))
    states = stale.states(runs, found.new) if runs else []
    if as_json:
        say_json({**diff.to_json(found), **({"runs": [stale.to_json(one) for one in states]} if runs else {})})
    else:
        say(diff.printed(found) + (f"\n\nruns\n{stale.printed(states)}" if runs else ""))
    if not found.bump_is_enough:
        raise typer.Exit(FINDINGS)


def policy_effective(
    path: PolicyPath,
    jurisdiction: Jurisdictions = None,
    product: Products = None,
    deployment: Deployments = None,
    on: Annotated[datetime | None, typer.Option(formats=[ISO], help="On which day.", show_default="today")] = None,
    as_json: AsJson = False,
) -> None:
    """The one policy that holds for a place, a product and a deployment, and why each clause is as it is. Exit 1: two laws conflict."""
    from bylaw.policy import showing_effective  # noqa: PLC0415  # see `cli`
    from bylaw.policy.effective import Scope, resolve  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`
    from bylaw.policy.reviews import reviewed  # noqa: PLC0415  # see `cli`

    policy = load(path)
    scope = Scope(tuple(jurisdiction or ()), tuple(product or ()), tuple(deployment or ()))
    day = on.date() if on else datetime.now(UTC).date()
    found = resolve(policy, scope, day, reviewed(path, policy).reviews)
    if as_json:
        say_json(showing_effective.to_json(found))
    else:
        say(showing_effective.printed(found))
    if found.conflicts:
        raise typer.Exit(FINDINGS)


def policy_signoffs(
    ctx: typer.Context,
    path: PolicyPath,
    instead_of: Annotated[
        Path | None, typer.Option(metavar="OLD", help="And what the table of this one, in force now, asks for.", show_default=False)
    ] = None,
    in_force: Annotated[
        bool, typer.Option("--in-force", help="And what the table in force in the store asks for; so with --store, --data-dir.")
    ] = False,
    data_dir: DataDir = DATA_DIR,
    store_url: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Who must sign each clause, who has, and what is missing. Exit 1: something is missing, or a record does not count."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`
    from bylaw.policy import signoffs, succession  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`
    from bylaw.policy.reviews import reviewed  # noqa: PLC0415  # see `cli`

    policy = load(path)
    found = reviewed(path, policy)
    rows = signoffs.status(policy, found.reviews)
    missing: tuple[str, ...] = ()
    # whoever names a store here asks about it; BYLAW_STORE is set for every command, and asks nothing
    in_force = in_force or any(getattr(ctx.get_parameter_source(one), "name", "") == "COMMANDLINE" for one in ("store_url", "data_dir"))
    if instead_of and in_force:
        raise PolicyError("--instead-of and --in-force (or --store, --data-dir) both name what is in force", "Give one of them.")
    if instead_of:
        missing = succession.missing_in(path, policy, instead_of, load(instead_of))
    elif in_force:
        from bylaw.serve import leave, live  # noqa: PLC0415  # only where a store is asked

        with store_of(store_url, data_dir) as store:
            if live.latest(store) is None:
                raise PolicyError(
                    "no policy is in force in this store yet", "The first one needs what its own table asks for: leave out --in-force."
                )
            missing = leave.under_table(store, policy, path)
    before = str(instead_of or "the policy in force")
    if as_json:
        broken = [{"file": one.place.file, "message": one.message} for one in found.findings]
        said = {"policy": policy.id, "digest": policy.digest, "clauses": [signoffs.to_json(row) for row in rows], "broken": broken}
        say_json({**said, **({"instead_of": list(missing)} if instead_of or in_force else {})})
    else:
        say(signoffs.printed(rows, found.findings))
        if instead_of or in_force:
            say("\n".join([f"to take the place of {before}:", *(f"  {one}" for one in missing or ["nothing is missing"])]))
    if found.findings or missing or any(row.missing for row in rows):
        raise typer.Exit(FINDINGS)


def policy_keygen(out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write the private key.", show_default=False)]) -> None:
    """Make a reviewer's key: the private half in a file that only you can read, the public half for policy.yaml."""
    from bylaw.policy.reviews import new_key  # noqa: PLC0415  # see `cli`

    public = new_key(out)
    say(f"wrote {out}; keep it, and never commit it")
    say(f'for policy.yaml, under `reviewers:`\n  - {{name: YOUR NAME, roles: [YOUR ROLE], key: "{public}"}}')


def policy_sign(
    path: PolicyPath,
    reviewer: Annotated[str, typer.Option("--as", help="Your name, as policy.yaml has it.", show_default=False)],
    role: Annotated[str, typer.Option(help="The role you sign in.", show_default=False)],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your private key.", show_default=False)],
    clauses: Annotated[str, typer.Option(metavar="PATTERN", help="Which clauses.")] = "*",
    overlay: Annotated[str, typer.Option(help="Sign this overlay's clauses instead.", show_default=False)] = "",
    frame: Annotated[
        bool, typer.Option("--frame", help="Sign the frame: table, reviewers, tools, `x-` keys, which clauses there are.")
    ] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Say no: nothing of it is signed off until you approve it.")] = False,
    note: Annotated[str, typer.Option(help="A remark for the record.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Sign clauses as they stand now: a review record in reviews/. A clause that changes later must be signed again."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`
    from bylaw.policy import reviews  # noqa: PLC0415  # see `cli`
    from bylaw.policy.frame import FRAME  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`

    policy = load(path)
    if frame and (clauses != "*" or overlay):
        raise PolicyError("--frame is signed for itself", "Leave out --clauses and --overlay, and sign those apart.")
    asked = reviews.Asked(reviewer, role, FRAME if frame else clauses, overlay, "reject" if reject else "approve", note)
    private = reviews.read_key(key)
    signed = reviews.review(policy, asked, private, datetime.now(UTC))
    file = reviews.keep(path, signed)
    known = any(one.name == reviewer and role in one.roles and one.key == reviews.public_half(private) for one in policy.reviewers)
    if as_json:
        say_json({**signed.to_json(), "file": str(file), "reviewer_known_here": known})
    else:
        what = "the frame" if frame else f"{len(signed.clauses)} clause{'s' * (len(signed.clauses) != 1)}"
        say(f"{reviewer} ({role}) {'rejects' if reject else 'approves'} {what} of {policy.id} {policy.version}: {file}")
        if not known:
            say(
                f"policy.yaml names no {reviewer!r} in the role {role!r} with this key: it counts only if the policy in force does; "
                "`bylaw policy signoffs PATH --in-force` tells"
            )
