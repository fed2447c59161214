"""`bylaw backup` and `bylaw restore`: the ledger and the store, out and back."""

from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl
from bylaw.cli.saying import FINDINGS, AsJson, say, say_json

MAX_NOTE_BYTES = 100_000


def backup(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.", show_default=False)],
    with_key: Annotated[bool, typer.Option("--with-key", help="With the private signing key, mode 0600.")] = False,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Copy the ledger and the store into a new folder, while gateways run. It holds what people and models wrote."""
    from dataclasses import asdict  # noqa: PLC0415  # see `cli`

    from bylaw.serve import backup as backups  # noqa: PLC0415  # see `cli`

    made = backups.backup(data_dir, store, out, with_key)
    if as_json:
        say_json(asdict(made))
        return
    say(f"{out}: {made.logs} logs and {made.rows} rows as of {made.made_at}" + ("" if made.quiet else ", while somebody was writing"))
    if with_key:
        say(f"UNENCRYPTED: whoever reads {out}/keys/ledger.key can sign in this ledger's name. Encrypt the folder before it leaves.")
    else:
        say("The signing key is not in it. A restore makes a new one.")
    say("It holds what people and models wrote: keep it as you keep the data directory.")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `bylaw backup` wrote.", show_default=False)],
    checkpoint: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A checkpoint kept elsewhere: is the backup behind it?", show_default=False)
    ] = None,
    go_on: Annotated[bool, typer.Option("--go-on", help="Write on in its logs: for a stopped gateway that moves.")] = False,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back into a new data directory and an empty store. Exit 1 where its ledger does not hold, or is behind."""
    from bylaw.errors import LedgerError  # noqa: PLC0415  # see `cli`
    from bylaw.serve import restore as restores  # noqa: PLC0415  # see `cli`

    for path in checkpoint or ():
        if not path.is_file() or path.stat().st_size > MAX_NOTE_BYTES:
            raise LedgerError(f"{path}: no checkpoint there", "Name a file with a signed note.")
    notes = tuple(path.read_bytes().decode("utf-8", "replace") for path in checkpoint or ())
    done = restores.restore(folder, data_dir, store, notes, go_on)
    report, made = done.report, done.backup
    if as_json:
        faults = [one._asdict() for one in report.faults]
        logs = [one._asdict() for one in report.logs]
        ended = done.ended._asdict()
        say_json({"made_at": made.made_at, "rows": made.rows, "logs": logs, "faults": faults, "ended": ended, "went_on": done.went_on})
    else:
        say(f"{data_dir}: {made.logs} logs and {made.rows} rows as of {made.made_at}")
        for fault in report.faults:
            say(f"{fault.code}: {fault.log}: {fault.message}")
        if not done.went_on:
            say(
                "Its logs are sealed; a new key signs a new log, which names them. Keep the new keys/ledger.pub where you keep the old one."
            )
            say(f"{len(done.ended.approvals)} approvals to which somebody had said yes are ended: they may have been used or denied since.")
            if done.ended.canaries:
                say("The canary that was running is stopped: it may have been rolled back since. Start it again where it should go on.")
            if done.ended.logins:
                say("Whoever was signed in at the console signs in again.")
        say(
            f"What happened after {made.made_at} is not here: answers, stops, revoked keys, budgets used, what sessions had read and paid,"
            " tools that were pinned, policies put in force, what was forgotten. Revoke, stop and forget anew."
        )
        if checkpoint is None:
            say("Whether it is behind what was published is not known: name a checkpoint that you kept with --checkpoint.")
        say("the ledger holds" if report.good else "the ledger does not hold")
    if not report.good:
        raise typer.Exit(FINDINGS)
