"""What a newcomer types, and what must come of it: names copied from one command into another, options alone, files that are none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bylaw.cli.entry import run
from bylaw.ledger import roots, rotation
from bylaw.ledger.writer import Ledger
from bylaw.store import database

ROOT = Path(__file__).parents[2]
REFUNDS = str(ROOT / "policies" / "refunds")
RULING = ("--side", "good", "--by", "J. Osei, legal", "--says", "Because.")

Said = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory with a store and one record."""
    with Ledger(tmp_path / "data") as ledger:
        ledger.append({"kind": "note", "principal": "kim", "facts": {"step": "tried"}})
    database.open(tmp_path / "data" / "store.sqlite").close()
    return tmp_path / "data"


@pytest.mark.slow
def test_a_record_is_found_by_the_name_that_tail_shows(place: Path, capsys: Said) -> None:
    run(["ledger", "tail", "--data-dir", str(place)])
    name = capsys.readouterr().out.split()[0]
    code, shown = run(["ledger", "show", name, "--data-dir", str(place)]), capsys.readouterr().out
    unknown = run(["ledger", "show", "nosuch#0", "--data-dir", str(place)])

    assert "/" not in name
    assert (code, unknown) == (0, 2)
    assert "principal    kim" in shown
    assert "there is no record nosuch#0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_record_of_a_log_whose_name_another_one_has_is_found_or_asked_for_in_full(place: Path, capsys: Said) -> None:
    roots.join(place)
    rotation.rotate(place)
    with Ledger(place) as ledger:
        ledger.append({"kind": "note"})
    roots.join(place)
    run(["ledger", "tail", "--data-dir", str(place), "--json"])
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"kind": "roots"' in line]
    codes = [run(["ledger", "show", "roots#0", "--data-dir", str(place)])]
    asked = capsys.readouterr().err
    codes += [run(["ledger", "show", f"{one['log']}#0", "--data-dir", str(place)]) for one in said]
    alone = run(["ledger", "show", "roots#1", "--data-dir", str(place)])  # of the older one alone

    assert (codes, alone) == ([2, 0, 0], 0)
    assert all(f"{one['log']}#0" in asked.splitlines()[1] for one in said)


def test_a_ruling_takes_the_name_that_tail_shows(place: Path, capsys: Said) -> None:
    run(["ledger", "tail", "--data-dir", str(place)])
    name = capsys.readouterr().out.split()[0]
    code = run(["ruling", "add", "--policy", REFUNDS, "--decision", name, "--clause", "advice.legal", *RULING, "--data-dir", str(place)])

    assert code == 2
    assert "is no decision" in capsys.readouterr().err  # found, and what it is


@pytest.mark.parametrize(("case", "why"), [(b"", "this case is empty"), (b" \n", "this case is empty"), (b"\xd0\xff", "not UTF-8 text")])
def test_a_case_that_says_nothing_copies_nothing_out_of_the_ledger(
    case: bytes, why: str, place: Path, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "case.txt").write_bytes(case)
    where = ["--case", str(tmp_path / "case.txt"), "--data-dir", str(place)]
    code = run(["ruling", "add", "--policy", REFUNDS, "--decision", "x#0", *RULING, *where])
    said = capsys.readouterr().err

    assert code == 2
    assert why in said
    assert len(said.splitlines()) == 2


def test_a_ruling_where_no_ledger_is_makes_none(tmp_path: Path, capsys: Said) -> None:
    code = run(["ruling", "add", "--policy", REFUNDS, "--decision", "x#0", *RULING, "--data-dir", str(tmp_path / "wrong")])

    assert code == 2
    assert "no ledger there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("named", ["--data-dir", "--store"])
def test_signoffs_with_a_store_asks_that_store(named: str, place: Path, tmp_path: Path, capsys: Said) -> None:
    there, wrong = {"--data-dir": (place, tmp_path / "wrong"), "--store": (place / "store.sqlite", tmp_path / "wrong.sqlite")}[named]
    empty, said = run(["policy", "signoffs", REFUNDS, named, str(there)]), capsys.readouterr().err
    missing = run(["policy", "signoffs", REFUNDS, named, str(wrong)])

    assert (empty, missing) == (2, 2)
    assert "no policy is in force in this store yet" in said
    assert "no store there" in capsys.readouterr().err


def test_a_store_of_the_environment_does_not_change_what_signoffs_asks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_STORE", str(place / "store.sqlite"))

    assert run(["policy", "signoffs", REFUNDS]) == 0


def test_a_stop_holds_where_the_ledger_cannot_be_opened(place: Path, tmp_path: Path, capsys: Said) -> None:
    with Ledger(tmp_path / "other"):
        (tmp_path / "other" / "keys" / "ledger.key").replace(place / "keys" / "ledger.key")  # as after a restore that went wrong
    code, said = run(["stop", "--reason", "odd refunds", "--data-dir", str(place)]), capsys.readouterr().err
    run(["stop", "--list", "--data-dir", str(place)])

    assert code == 2
    assert said.startswith("error: global is stopped, but the ledger could not record it: ")
    assert "odd refunds" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["approvals", "edit", "x", "--args", "[" * 100_000],
        ["watch", "seed", "pay", "[" * 100_000, "--clause", "a.b", "--why", "w"],
        ["sessions", "forget", "--principal", " "],
        ["stop", "--drill", "--list"],
        ["stop", "--drill", "--scope", "tool:pay"],
        ["stop", "--list", "--reason", "odd"],
    ],
)
def test_what_cannot_be_meant_so_is_two_lines_and_no_entry(asked: list[str], place: Path, capsys: Said) -> None:
    code = run([*asked, "--data-dir", str(place), *(["--key", "none"] if asked[0] in ("approvals", "watch") else [])])
    said = capsys.readouterr()
    run(["ledger", "tail", "--data-dir", str(place)])

    assert (code, said.out, len(said.err.splitlines())) == (2, "", 2)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_suite_without_a_case_is_not_called_sound(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "empty.jsonl").touch()
    code = run(["suite", "lint", str(tmp_path / "empty.jsonl")])

    assert code == 2
    assert "there is no case in it" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["garak", "pyrit"])
def test_a_report_to_import_is_listed_and_must_be_named(tool: str, tmp_path: Path, capsys: Said) -> None:
    run(["suite", "list"])
    listed = capsys.readouterr().out
    code = run(["suite", "import", tool, "--out", str(tmp_path / "s.jsonl")])

    assert f"\n  {tool} " in listed
    assert code == 2
    assert f"--from is missing: which report of {tool}?" in capsys.readouterr().err


def test_a_draft_of_which_nothing_stands_writes_no_proposals_to_accept(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "script.jsonl").write_text('{"say": "Of course."}')
    where = ["--clause", "advice.legal", "--out", str(tmp_path / "proposals.jsonl")]
    code = run(["policy", "draft", REFUNDS, "--model", f"scripted:{tmp_path / 'script.jsonl'}", *where])

    assert code == 2
    assert "no proposal can stand" in capsys.readouterr().err
    assert not (tmp_path / "proposals.jsonl").exists()


def test_an_empty_file_is_no_store_to_look_into(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "empty").touch()
    code = run(["approvals", "list", "--store", str(tmp_path / "empty")])

    assert code == 2
    assert "no store there" in capsys.readouterr().err
    assert not (tmp_path / "empty").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(("stdin", "stdout"), [(subprocess.PIPE, subprocess.DEVNULL), (subprocess.DEVNULL, subprocess.PIPE)])
def test_mcp_without_an_agent_at_the_other_end_is_one_error(stdin: int, stdout: int, tmp_path: Path) -> None:
    line = ["mcp", "--policy", REFUNDS, "--data-dir", str(tmp_path), "--", "cat"]
    command = [sys.executable, "-c", "from bylaw.cli import main; main()", *line]
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True) as started:
        said = started.communicate(timeout=60)[1]
    of = "output" if stdout == subprocess.DEVNULL else "input"

    assert started.returncode == 2
    assert said.splitlines()[0] == f"error: standard {of} is no pipe"


def test_a_fault_of_bylaw_is_an_error_and_no_finding(capsys: Said) -> None:
    broken = typer.Typer()

    @broken.command()
    def crash() -> None:
        raise ValueError("two\nlines")

    code, said = run([], broken), capsys.readouterr().err

    assert code == 2
    assert "in crash" in said  # where it lies
    assert said.splitlines()[-2:] == [
        "error: ValueError: two",
        "  next: This is a fault of bylaw: please report it, with the lines above.",
    ]
