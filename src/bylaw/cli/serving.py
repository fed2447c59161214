"""What `bylaw serve` and `bylaw mcp` do once their options are read. Nothing here knows of a command line."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bylaw.cli.telling import say

if TYPE_CHECKING:  # they load when they run
    from bylaw.serve.live import InForce
    from bylaw.serve.regions import Region


def serve(  # the command's options
    *,
    policy: Path,
    upstream: str,
    model: str,
    upstream_key_env: str,
    host: str,
    port: int,
    workers: int,
    media: Literal["allow", "block"],
    env: str,
    config: Path | None,
    regions: Path | None,
    run: Path | None,
    unsafe_watch: bool,
    store: str,
    data_dir: Path,
    by: str,
) -> None:
    """Put the policy in force and listen until told to stop; raises BylawError."""
    from bylaw.serve import local_model, start, wiring  # noqa: PLC0415  # see above
    from bylaw.serve import regions as regional  # noqa: PLC0415  # see above
    from bylaw.serve.gate import Ways  # noqa: PLC0415  # see above

    placed = regional.read(regions, data_dir) if regions else ()
    upstream = upstream or (placed[0].upstream if placed and not model else "")
    watched, wired = policy if unsafe_watch else None, wiring.found(data_dir, config)
    wired = replace(wired, run=run) if run else wired
    if wired.run and not wired.run.is_dir():
        say(f"{wired.run}: no run is there; until one is, the console's page of alignment debt says so")
    if wired.draft and not wired.draft.is_dir():
        say(f"{wired.draft}: no draft of a policy is there; until one is, the console takes no sign-offs and no rulings")
    setting = start.Setting(
        upstream,
        upstream_key_env,
        host,
        port,
        workers,
        store,
        data_dir,
        Ways(media=media, env=_env(env)),
        wiring=wired,
        regions=placed,
        unsafe_watch=watched,
    )
    with local_model.behind(setting, model) as behind:
        _can_listen(host, port, upstream)
        folder(policy)
        made = start.prepare(behind.setting, policy, by, say)
        _tell(made, placed)
        for one in wired.mcp:
            say(f"  MCP server {one.name}: /mcp/{one.name}")
        if unsafe_watch:
            say("UNSAFE: whatever is written into the policy's folder is in force at once, and nobody has reviewed it (--unsafe-watch)")
        start.serve(behind.ready(made.digest, say), say)


def mcp(  # the command's options
    *,
    command: tuple[str, ...],
    policy: Path | None,
    name: str,
    prefix: str,
    place: str,
    key_env: str,
    session: str,
    media: Literal["allow", "block"],
    env: str,
    config: Path | None,
    store: str,
    data_dir: Path,
) -> None:
    """Stand between an agent on standard input and output and a server that is started here; raises BylawError."""
    from bylaw.serve import mcp_start, wiring  # noqa: PLC0415  # see above
    from bylaw.serve.gate import Ways  # noqa: PLC0415  # see above

    wired = wiring.found(data_dir, config)
    ways = Ways(media=media, env=_env(env))
    mcp_start.run(mcp_start.Setting(command, policy, name, prefix, place, key_env, session, store, data_dir, ways, wired))


def _env(name: str) -> dict[str, str]:
    return {"name": name} if name else {}


def _tell(made: "InForce", placed: "Sequence[Region]") -> None:
    """What is in force, where it is enforced, and where it is not signed off."""
    say(f"policy {made.places.policy.id} {made.places.policy.version} {made.digest}")
    for clause, where in made.places.book({}).standing().items():
        say(f"  {clause}: {where}")
    for one in placed:
        say(f"  region {one.name}: {one.upstream}, kept in {one.data_dir}" + (f" for {one.keep_days} days" if one.keep_days else ""))
    for missing in made.unsigned:
        say(f"  not signed off: {missing}")


def folder(policy: Path) -> None:
    """Raises PolicyError where no folder is: what is put in force is a folder's files."""
    from bylaw.errors import PolicyError  # noqa: PLC0415  # see above

    if not policy.is_dir():
        what = "a single file is not put in force" if policy.exists() else "no such policy"
        raise PolicyError(f"{policy}: {what}", "Give a policy folder with a policy.yaml.")


def _can_listen(host: str, port: int, upstream: str) -> None:
    """Raises StoreError where it could not, before the policy is put in force on every gateway of the store."""
    import socket  # noqa: PLC0415  # see above

    from bylaw.errors import StoreError  # noqa: PLC0415  # see above

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise StoreError(f"cannot listen on {host}:{port}: {error.strerror}", "Name another --port or --host.") from error
    if port and upstream.partition("://")[2].partition("/")[0] in (f"{host}:{port}", f"127.0.0.1:{port}", f"localhost:{port}"):
        raise StoreError(f"the upstream {upstream} is this gateway's own address", "Name another --port, or the model's server.")
