"""`bylaw serve`, and which policy is in force: `bylaw policy activate` and `bylaw policy rollback`."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bylaw.cli.place import DATA_DIR, By, Config, DataDir, StoreUrl, login, store_and_ledger
from bylaw.cli.saying import A_MODEL, AsJson, PolicyOption, say, say_json

if TYPE_CHECKING:  # commands import what they need when they run
    from collections.abc import Sequence

    from bylaw.serve.live import InForce
    from bylaw.serve.regions import Region


def serve(
    policy: PolicyOption,
    upstream: Annotated[
        str, typer.Option(metavar="URL", help="The model's server, e.g. https://api.openai.com/v1", show_default=False)
    ] = "",
    model: Annotated[str, typer.Option(metavar="RUN", help=f"Or a model to run here: {A_MODEL}.", show_default=False)] = "",
    upstream_key_env: Annotated[str, typer.Option(metavar="NAME", help="The variable with the upstream's key.", show_default=False)] = "",
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    media: Annotated[Literal["allow", "block"], typer.Option(help="Images and sound, which no rail can read.")] = "allow",
    config: Config = None,
    regions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Upstream, storage and retention by jurisdiction.", show_default=False)
    ] = None,
    run: Annotated[Path | None, typer.Option(metavar="DIR", help="Whose results the console shows.", show_default=False)] = None,
    unsafe_watch: Annotated[
        bool, typer.Option("--unsafe-watch", help="For development: a changed policy folder is in force at once, reviewed by nobody.")
    ] = False,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Stand between clients and a model: any OpenAI or Anthropic client works by changing its base URL."""
    from bylaw.serve import local_model, start, wiring  # noqa: PLC0415  # see `cli`
    from bylaw.serve import regions as regional  # noqa: PLC0415  # see `cli`
    from bylaw.serve.gate import Ways  # noqa: PLC0415  # see `cli`

    placed = regional.read(regions, data_dir) if regions else ()
    upstream = upstream or (placed[0].upstream if placed and not model else "")
    watched, wired = policy if unsafe_watch else None, wiring.found(data_dir, config)
    wired = replace(wired, run=run) if run else wired
    setting = start.Setting(
        upstream,
        upstream_key_env,
        host,
        port,
        workers,
        store,
        data_dir,
        Ways(media=media),
        wiring=wired,
        regions=placed,
        unsafe_watch=watched,
    )
    with local_model.behind(setting, model) as behind:
        _can_listen(host, port, upstream)
        _folder(policy)
        made = start.prepare(behind.setting, policy, login(), say)
        _tell(made, placed)
        if unsafe_watch:
            say("UNSAFE: whatever is written into the policy's folder is in force at once, and nobody has reviewed it (--unsafe-watch)")
        start.serve(behind.ready(made.digest, say), say)


def _tell(made: "InForce", placed: "Sequence[Region]") -> None:
    """What is in force, where it is enforced, and where it is not signed off."""
    say(f"policy {made.places.policy.id} {made.places.policy.version} {made.digest}")
    for clause, where in made.places.book({}).standing().items():
        say(f"  {clause}: {where}")
    for one in placed:
        say(f"  region {one.name}: {one.upstream}, kept in {one.data_dir}" + (f" for {one.keep_days} days" if one.keep_days else ""))
    for missing in made.unsigned:
        say(f"  not signed off: {missing}")


def _folder(policy: Path) -> None:
    """Raises PolicyError where no folder is: what is put in force is a folder's files."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`

    if not policy.is_dir():
        what = "a single file is not put in force" if policy.exists() else "no such policy"
        raise PolicyError(f"{policy}: {what}", "Give a policy folder with a policy.yaml.")


def _can_listen(host: str, port: int, upstream: str) -> None:
    """Raises StoreError where it could not, before the policy is put in force on every gateway of the store."""
    import socket  # noqa: PLC0415  # see `cli`

    from bylaw.errors import StoreError  # noqa: PLC0415  # see `cli`

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise StoreError(f"cannot listen on {host}:{port}: {error.strerror}", "Name another --port or --host.") from error
    if port and upstream.partition("://")[2].partition("/")[0] in (f"{host}:{port}", f"127.0.0.1:{port}", f"localhost:{port}"):
        raise StoreError(f"the upstream {upstream} is this gateway's own address", "Name another --port, or the model's server.")


def activate(
    what: Annotated[str, typer.Argument(metavar="DIR|DIGEST", help="A policy folder, or an earlier digest.", show_default=False)],
    unsigned: Annotated[
        str, typer.Option(metavar="REASON", help="Although signatures are missing. The ledger keeps why.", show_default=False)
    ] = "",
    by: By = "",
    config: Config = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Put a policy in force on every running process, within a second. One that does not load replaces nothing, nor does one that is not
    signed off: as its own table asks, and as the table of the policy in force does."""
    from bylaw.serve import live, wiring  # noqa: PLC0415  # see `cli`

    if (there := Path(what)).exists():
        _folder(there)
    with store_and_ledger(store, data_dir, make=there.exists()) as (opened, ledger):  # an earlier digest is in a store that there is
        live.take_over(data_dir, opened)
        with nullcontext(there) if there.exists() else live.kept(opened, what) as folder:
            rails_of = wiring.rails_in(data_dir, config)
            made, one = live.activate(opened, ledger.append, folder, by or login(), unsigned, rails_of)
    _in_force(made, one.unsigned, as_json)


def rollback(
    to: Annotated[str, typer.Argument(metavar="[DIGEST]", help="Left out: the one that was in force before.", show_default=False)] = "",
    by: By = "",
    config: Config = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Put an earlier policy in force again, as it was then: its sign-offs are not asked for once more."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see `cli`
    from bylaw.serve import live, wiring  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        live.take_over(data_dir, opened)
        past = [one["digest"] for one in live.history(opened)]
        before = [one for one in past if one != past[-1]]
        if not to and not before:
            raise PolicyError("there is no earlier policy", "Name a folder: bylaw policy activate DIR")
        rails_of = wiring.rails_in(data_dir, config)
        made, one = live.put_back(opened, ledger.append, to or before[-1], by or login(), past[-1] if past else "", rails_of)
    _in_force(made, one.unsigned, as_json)


def _in_force(made: "InForce", unsigned: str, as_json: bool) -> None:
    policy = made.places.policy
    if as_json:
        say_json({"id": policy.id, "version": policy.version, "digest": made.digest, **({"unsigned": unsigned} if unsigned else {})})
    else:
        say(f"in force: {policy.id} {policy.version} {made.digest}" + (f", UNSIGNED: {unsigned}" if unsigned else ""))
