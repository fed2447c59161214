"""`bylaw ledger …`: verify what was recorded, prove one entry, take it out of the house, read along."""

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bylaw.cli.place import DATA_DIR, DataDir, full_name
from bylaw.cli.saying import FINDINGS, AsJson, say, say_json
from bylaw.errors import LedgerError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.govern.citing import Held
    from bylaw.ledger.notes import Checkpoint, PublicKey
    from bylaw.ledger.reading import Log

app = typer.Typer(help="Verify, prove, export and read the record of what was decided.", no_args_is_help=True)

POLL_S: Final = 0.5
MAX_NOTE_BYTES: Final = 100_000
MAX_PROOF_BYTES: Final = 1_000_000
LOGS: Final = (".sqlite", ".jsonl")
KeyOption = Annotated[str | None, typer.Option(metavar="KEY", help="A public key, or its file.", show_default="DIR/keys/ledger.pub")]


@app.command("verify")
def ledger_verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Logs, exports (.jsonl), proofs.", show_default="DIR")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    key: KeyOption = None,
    checkpoint: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A checkpoint kept elsewhere.", show_default=False)] = None,
    policy: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A version of the policy: do its clauses exist?", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find out whether the record is whole: nothing changed, removed, moved or left out. Exit 1 where it is not."""
    from bylaw.govern import citing  # noqa: PLC0415  # see `cli`
    from bylaw.ledger import chain  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`

    public = _key(key, data_dir)
    files = _files(paths, data_dir)
    held = [_note(file) for file in checkpoint or ()]
    logs, proofs = [file for file in files if file.suffix in LOGS], [file for file in files if file.suffix not in LOGS]
    shown = [_proof(file, public) for file in proofs]
    versions = [load(one) for one in policy or ()]
    with ExitStack() as stack:
        opened = [_log(file, stack) for file in logs]
        report = chain.verify_all(opened, public, held)
        named = citing.held((said for log in opened for said in _entries(log)), versions) if versions and report.good else citing.Held()
    unlooked = sum(named.unknown.values())
    strange = unlooked > 0 and not any(named.known.values())  # whoever gave these versions has taken them for others
    good = report.good and named.good and not strange and all(one["holds"] for one in shown)
    if as_json:
        told = {"logs": [one._asdict() for one in report.logs], "faults": [one._asdict() for one in report.faults], "proofs": shown}
        cited = {"known": named.known, "unknown": named.unknown, "missing": [one._asdict() for one in named.missing]}
        say_json({"good": good, "key": str(public), **told, **({"policies": cited} if versions and report.good else {})})
    else:
        for one in report.logs:
            jumps = f", the clock went back {one.clock_jumps} times" if one.clock_jumps else ""
            say(f"{one.log or 'an empty log'}: {one.entries} entries, {one.sessions} sessions, {one.checkpoints} checkpoints{jumps}")
        for fault in report.faults:
            say(f"{fault.code}: {fault.log}: {fault.message}")
        for proof in shown:
            say(f"{'proof' if proof['holds'] else 'forged'}: {proof['file']}: {proof['says']}")
        if versions and report.good:
            _say_named(named, {one.digest: f"{one.id} {one.version}" for one in versions})
            if strange:
                say("no record is of a policy that was given: name the versions that were in force with --policy (`bylaw policy versions`)")
        elif versions:
            say("policies: not looked at, for the record itself does not hold")
        if key is None:
            say("The public key lies beside the log: whoever can replace both is not found out. Name your own copy with --key.")
        looked = f", but for the clauses of {unlooked} records, which were not looked up" if unlooked else ""
        say(f"all holds{looked}" if good else "something does not hold")
    if not good:
        raise typer.Exit(FINDINGS)


@app.command("prove")
def ledger_prove(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="LOG#INDEX, as in x-bylaw-record; or LOG.", show_default=False)],
    since: Annotated[Path | None, typer.Option(metavar="FILE", help="Prove growth since this checkpoint.", show_default=False)] = None,
    data_dir: DataDir = DATA_DIR,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Prove that one entry stands in the log (C2SP tlog-proof), or that the log only grew since a checkpoint."""
    from bylaw.ledger import export, place  # noqa: PLC0415  # see `cli`
    from bylaw.ledger.reading import stored  # noqa: PLC0415  # see `cli`

    name, hashed, index = record.rpartition("#") if "#" in record else (record, "", "")
    if bool(hashed) == (since is not None) or (hashed and not (index.isascii() and index.isdigit() and len(index) < 17)):
        raise LedgerError(f"{record!r} names no record", "Give LOG#INDEX, or LOG with --since CHECKPOINT.")
    path = data_dir / place.FOLDER / f"{name.rpartition('/')[2]}.sqlite"
    old = data_dir / place.FOLDER / Path(*name.split("/")[1:2]) / path.name  # of a key that was exchanged
    path, public = (
        (old, _key(key or str(old.with_name("ledger.pub")), data_dir)) if old.is_file() and old != path else (path, _key(key, data_dir))
    )
    with stored(path) as log:
        if "/" in name and log.origin != name:
            raise LedgerError(f"{path} is not the log {name}", f"It is {log.origin}.")
        proof = export.prove_growth(log, _checkpoint(since, public), public) if since else export.prove(log, int(index), public)
    if as_json:
        say_json({"record": record, "log": log.origin, "proof": proof})
    else:
        typer.echo(proof, nl=False)


@app.command("export")
def ledger_export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.", show_default=False)],
    data_dir: DataDir = DATA_DIR,
    contents: Annotated[bool, typer.Option("--contents", help="With contents: what people and models wrote.")] = False,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Write all logs as JSON lines, with a verifier of one file that needs nothing of bylaw."""
    from bylaw.ledger import export, place, sealed  # noqa: PLC0415  # see `cli`

    public = _key(key, data_dir)
    _files(None, data_dir)
    written = [str(path) for path in export.export(place.files(data_dir), public, out, contents)]
    keys = [(public, out)]
    for old in sealed.keys(data_dir):
        lie = sealed.folder(data_dir, old)
        keys.append((old, out / lie.name))
        written += [str(path) for path in export.export(sorted(lie.glob("*.sqlite")), old, out / lie.name, contents)]
    if as_json:
        folders = [{"key": str(one), "folder": str(folder)} for one, folder in keys]
        say_json({"written": written, "key": str(public), "verifier": str(out / export.VERIFIER), "folders": folders})
    else:
        say("\n".join(f"wrote {path}" for path in written))
        for one, folder in keys:  # the verifier holds one folder against one key, and does not go into those below
            say(f"verify with: python {out / export.VERIFIER} --key {one} {folder}")


@app.command("tail")
def ledger_tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many entries of each log.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now.")] = False,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print the last entries, one a line, oldest first. Nothing is verified."""
    from bylaw.ledger.reading import entry, stored  # noqa: PLC0415  # see `cli`

    seen: dict[Path, int] = {}
    while True:
        found: list[dict[str, Any]] = []
        for path in _files(None, data_dir):
            with stored(path) as log:
                rows = log.after(seen[path], 10_000) if path in seen else log.last(lines)
            found.extend(entry(path, leaf) for _, leaf in rows)
            seen[path] = rows[-1][0] if rows else seen.get(path, -1)
        for said in sorted(found, key=lambda one: (one["time"], one["log"], one["index"])):
            say(json.dumps(said) if as_json else _told(said))
        if not follow:
            return
        time.sleep(POLL_S)


@app.command("show")
def ledger_show(
    record: Annotated[str, typer.Argument(metavar="LOG#INDEX", help="As in x-bylaw-record, or as `tail` shows it.", show_default=False)],
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print one entry: what was decided, by which clauses and rules, and what is left of what was said. Nothing is verified."""
    from bylaw.ledger.reading import named  # noqa: PLC0415  # see `cli`

    found = named([data_dir], full_name(record, data_dir))
    if found is None:
        raise LedgerError(f"{data_dir}: there is no record {record[:100]}", "Records are named LOG#INDEX; see `bylaw ledger tail`.")
    said, contents = found
    texts = {name: content.decode("utf-8", "replace") for name, content in contents.items()}
    if as_json:
        say_json(said | {"contents": {name: texts.get(name) for name in said["contents"]}})
        return
    for name, value in said.items():
        if name not in ("contents", "facts") and value not in ("", [], {}, 0):
            say(f"{name:<12} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    for name, value in sorted(said["facts"].items()):
        say(f"{name:<12} {value if isinstance(value, str) else json.dumps(value)}")
    for name in sorted(said["contents"]):
        say(f"{name:<12} {texts.get(name, '(deleted; the record still commits to it)')}")
    where = "" if data_dir == DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
    for clause in said["clauses"] if said["policy"] else ():
        say(f"the clause and its rules, as they were: bylaw policy version {said['policy']} {clause}{where}")


@app.command("agreement")
def ledger_agreement(data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """How often the checks that clauses require agreed, of the answers on which both could tell. Nothing is verified."""
    from bylaw.govern.rails.ensemble import rates, votes_of  # noqa: PLC0415  # see `cli`

    with ExitStack() as stack:
        logs = [_log(file, stack) for file in _files(None, data_dir)]
        votes = votes_of(said for log in logs for said in _entries(log))
    rows = [
        {"clause": clause, "left": pair.left, "right": pair.right, "same": pair.same, "of": pair.of, "answers": len(told)}
        for clause, told in sorted(votes.items())
        for pair in rates(told)
    ]
    if as_json:
        say_json(rows)
        return
    for row in rows:
        say(
            f"{row['clause']}: {row['left']} and {row['right']} said the same {row['same']} of {row['of']} times ({row['answers']} answers)"
        )
    if not rows:
        say("no two checks have been asked about an answer yet")


@app.command("join")
def ledger_join(data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Sign one root over the logs of all processes; keep DIR/ledger/roots.checkpoint elsewhere."""
    from bylaw.ledger import place, roots  # noqa: PLC0415  # see `cli`

    _files(None, data_dir)
    receipt = roots.join(data_dir)
    file = data_dir / place.FOLDER / f"{place.ROOTS}.checkpoint"
    if receipt is None:
        raise LedgerError(f"{data_dir}: no log has an entry yet", "Serve something first.")
    if as_json:
        say_json({"record": str(receipt), "checkpoint": file.read_text("utf-8")})
    else:
        say(f"joined as {receipt}; keep a copy of {file} where nobody here can change it")


@app.command("rotate-key")
def ledger_rotate_key(
    to: Annotated[Path | None, typer.Option(metavar="KEYFILE", help="The key another gateway has now.", show_default="a new one")] = None,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Exchange the key that signs. Old logs end with the new key's name, a new log begins with theirs. Only while nothing is served."""
    from bylaw.ledger import rotation  # noqa: PLC0415  # see `cli`

    done = rotation.rotate(data_dir, to)
    if as_json:
        say_json({"old": str(done.old), "new": str(done.new), "logs": done.logs})
    else:
        say(f"old key  {done.old}\nnew key  {done.new}\n{done.logs} logs of the old key are sealed, and its private half is deleted.")
        say("Keep the new public key where you keep the old one. `bylaw ledger verify --key` reaches the whole record from either.")


@app.command("retain")
def ledger_retain(
    days: Annotated[int, typer.Option("--older-than", metavar="DAYS", min=0, max=100_000, help="Age in days.", show_default=False)],
    session: Annotated[str, typer.Option(metavar="ID", help="Of this session alone.", show_default="all")] = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Delete contents older than so many days, and record that. Entries stay. Only while nothing is served."""
    from bylaw.ledger.entries import now_us  # noqa: PLC0415  # see `cli`
    from bylaw.ledger.retention import retain  # noqa: PLC0415  # see `cli`

    _files(None, data_dir)
    erased = retain(data_dir, max(0, now_us() - days * 86_400_000_000), session)
    if as_json:
        say_json({"erased": erased})
    else:
        say("\n".join(f"{log}: {count} contents deleted" for log, count in erased.items()))


def _key(given: str | None, data_dir: Path) -> "PublicKey":
    from bylaw.ledger.keyfile import public_key  # noqa: PLC0415  # see `cli`

    return public_key(given or data_dir / "keys" / "ledger.pub")


def _files(paths: list[Path] | None, data_dir: Path) -> list[Path]:
    from bylaw.ledger import place  # noqa: PLC0415  # see `cli`

    found = [] if paths else [*place.files(data_dir), *place.sealed(data_dir)]
    for path in paths or ():
        inside = [file for kind in LOGS for depth in ("*", "*/*") for file in sorted(path.glob(f"{depth}{kind}"))]
        found += inside if path.is_dir() else [path]
    if not found:
        raise LedgerError(f"{paths[0] if paths else data_dir}: no ledger there", "Name the data directory with --data-dir.")
    return found


def _log(path: Path, stack: ExitStack) -> "Log":
    from bylaw.ledger.reading import exported, stored  # noqa: PLC0415  # see `cli`

    return exported(path) if path.suffix == ".jsonl" else stack.enter_context(stored(path))


def _entries(log: "Log") -> Iterator[dict[str, Any]]:
    """Every entry that can be read; what cannot is the verifier's to name."""
    from bylaw.ledger.entries import read_leaf  # noqa: PLC0415  # see `cli`

    for _, leaf in log.leaves():
        with suppress(ValueError):
            yield read_leaf(leaf)


def _say_named(named: "Held", versions: dict[str, str]) -> None:
    """Which policies the records name, and what they name that is not there."""
    for digest, name in versions.items():
        say(f"policy {name} ({digest}): {named.known.get(digest, 0)} records")
    for digest, count in sorted(named.unknown.items()):
        say(f"unknown policy {digest}: {count} records, whose clauses could not be looked up")
    for one in named.missing:
        say(f"missing: {one.log}#{one.at}: names {one.name}, which {versions.get(one.policy, 'no policy given here')} does not have")


def _proof(path: Path, key: "PublicKey") -> dict[str, Any]:
    from bylaw.ledger.verify_standalone import Wrong, check_proof  # noqa: PLC0415  # see `cli`

    if not path.is_file() or path.stat().st_size > MAX_PROOF_BYTES:
        raise LedgerError(f"{path}: no log, export or proof there", "Name a file that `bylaw ledger` wrote.")
    try:
        return {"file": str(path), "holds": True, "says": check_proof(path.read_bytes().decode("utf-8"), (key.name, key.raw))}
    except (Wrong, UnicodeDecodeError) as error:
        return {"file": str(path), "holds": False, "says": str(error)}


def _checkpoint(path: Path, key: "PublicKey") -> "Checkpoint":
    from bylaw.ledger.notes import read_checkpoint  # noqa: PLC0415  # see `cli`

    return read_checkpoint(_note(path), key)


def _note(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > MAX_NOTE_BYTES:
        raise LedgerError(f"{path}: no checkpoint there", "Name a file with a signed note.")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise LedgerError(f"{path} is no checkpoint", "Name a file with a signed note.") from error


def _told(said: dict[str, Any]) -> str:
    log, clauses = said["log"].rpartition("/")[2], ", ".join(said["clauses"])
    step = said["facts"].get("step")  # which of its kind it is: `activated`, `canary rolled back`, `claimed`
    which = said["policy"][:19] if said["kind"] == "policy" else ""
    what = [
        said["kind"],
        step if isinstance(step, str) else "",
        which,
        said["decision"],
        said["surface"],
        said["tool"],
        f"[{clauses}]" if clauses else "",
    ]
    whose = [f"by {said['principal']}" if said["principal"] else "", f"session {said['session']} {said['seq']}" if said["session"] else ""]
    return f"{log}#{said['index']} {said['time']} " + " ".join(" ".join(part.split()) for part in (*what, *whose) if part)
