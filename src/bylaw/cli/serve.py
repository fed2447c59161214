"""`bylaw serve`, and which policy is in force: `bylaw policy activate` and `bylaw policy rollback`."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bylaw.cli import serving
from bylaw.cli.place import DATA_DIR, By, Config, DataDir, StoreUrl, login, store_and_ledger
from bylaw.cli.saying import A_MODEL, AsJson, PolicyOption, say, say_json
from bylaw.cli.staying import Program

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.serve.live import InForce


def serve(
    policy: PolicyOption,
    upstream: Annotated[
        str, typer.Option(metavar="URL", help="The model's server, e.g. https://api.openai.com/v1", show_default=False)
    ] = "",
    model: Annotated[str, typer.Option(metavar="RUN", help=f"Or a model to run here: {A_MODEL}.", show_default=False)] = "",
    upstream_key_env: Annotated[str, typer.Option(metavar="NAME", help="The variable with the upstream's key.", show_default=False)] = "",
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where to listen; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    media: Annotated[Literal["allow", "block"], typer.Option(help="Images and sound, which no rail can read.")] = "allow",
    env: Annotated[str, typer.Option(metavar="NAME", help="What `env.name` is in conditions, as `production`.")] = "",
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
) -> Program:
    """Stand between clients and a model: any OpenAI or Anthropic client works by changing its base URL."""
    given = {
        "policy": policy,
        "upstream": upstream,
        "model": model,
        "upstream_key_env": upstream_key_env,
        "host": host,
        "port": port,
        "workers": workers,
        "media": media,
        "env": env,
        "config": config,
        "regions": regions,
        "run": run,
        "unsafe_watch": unsafe_watch,
        "store": store,
        "data_dir": data_dir,
    }
    return Program(serving.serve, {**given, "by": login()})


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
        serving.folder(there)
    with store_and_ledger(store, data_dir, "aloud" if there.exists() else "") as (
        opened,
        ledger,
    ):  # an earlier digest is in a store that there is
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
