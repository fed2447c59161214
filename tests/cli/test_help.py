"""The help, on a terminal of any width: no name of a command or an option is cut."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
import typer

from bylaw.cli.entry import app, run

LONG = 12  # letters of a name; a help whose names are all shorter cuts none where this one does not


def every_command() -> Iterator[tuple[list[str], set[str]]]:
    """Each command with the names that its help must show whole: of its commands, or of its options."""

    def walked(command: object, path: list[str]) -> Iterator[tuple[list[str], set[str]]]:
        below = getattr(command, "commands", {})
        long = {name for one in getattr(command, "params", ()) for name in (*one.opts, *one.secondary_opts) if name.startswith("--")}
        yield path, {*below, *long}
        for name, one in below.items():
            yield from walked(one, [*path, name])

    return walked(typer.main.get_command(app), [])


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80])
def test_no_name_is_cut(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    cut: dict[str, set[str]] = {}
    seen = 0
    for path, names in every_command():
        if len(path) and max(map(len, names), default=0) < LONG:
            continue
        run([*path, "--help"])
        said = capsys.readouterr().out
        missing = {name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said)}
        cut |= {" ".join(path): missing} if missing else {}
        seen += 1

    assert seen > 5
    assert not cut


def test_the_help_of_a_wide_terminal_has_frames(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run(["gate", "--help"])

    assert "╭─ Options" in capsys.readouterr().out


@pytest.mark.slow
def test_a_pager_on_a_narrow_terminal_is_shown_whole_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    command = [sys.executable, "-m", "bylaw", "serve", "--help"]
    said = subprocess.run(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True).stdout
    os.close(ours)
    os.close(theirs)

    assert "--upstream-key-env NAME" in said
