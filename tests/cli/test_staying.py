"""A command that stays becomes a process that holds nothing of the command line, and is the same one for everybody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bylaw.cli.staying import Program

REFUNDS = Path(__file__).parents[2] / "policies" / "refunds"
PATIENCE_S = 120


def line(data_dir: Path, policy: Path = REFUNDS) -> list[str]:
    return ["serve", "--policy", str(policy), "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--data-dir", str(data_dir)]


@contextmanager
def listening(command: list[str], where: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where)
    try:
        assert any("listening on" in said for said in process.stdout or ())
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def held(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.slow
def test_a_gateway_holds_nothing_that_read_its_options_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    told = line(tmp_path / "data")
    with listening([sys.executable, "-m", "bylaw", *told], tmp_path) as process:
        maps, shown = held(process), Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
        process.send_signal(signal.SIGTERM)  # where tests run in the background, Ctrl-C is ignored
        code = process.wait(PATIENCE_S)
        said = (process.stderr or sys.stderr).read()

    assert "pydantic_core" not in maps
    assert "sqlite3" in maps
    assert shown[-len(told) - 1 : -1] == told
    assert (code, said) == (-signal.SIGTERM, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("bylaw", "import os, threading\nthreading.Thread(target=os.read, args=(0, 1), daemon=True).start()"),
        ("bylaw", "import sys\nsys.executable = '/nowhere/python'"),
        ("lines-of-somebody", ""),
    ],
    ids=["another thread runs", "the interpreter is gone", "it was started otherwise"],
)
def test_where_it_could_not_become_another_the_process_stays_what_it_is(tmp_path: Path, name: str, first: str) -> None:
    (tmp_path / name).write_text(f"{first}\nfrom bylaw.cli import main\nmain()")
    with listening([sys.executable, str(tmp_path / name), *line(tmp_path / "data")], tmp_path) as process:
        maps = held(process)

    assert "pydantic_core" in maps


@pytest.mark.slow
def test_an_archive_is_not_left_for_an_interpreter_that_would_not_find_it(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("from bylaw.cli import main\nmain()")
    with listening([sys.executable, str(tmp_path / "app"), *line(tmp_path / "data")], tmp_path) as process:
        maps = held(process)

    assert "pydantic_core" in maps


@pytest.mark.slow
def test_no_file_takes_the_place_of_a_stream_that_was_closed(tmp_path: Path) -> None:
    closed = ["sh", "-c", 'exec "$0" "$@" <&- 2>&-', sys.executable, "-m", "bylaw"]
    with listening([*closed, *line(tmp_path / "data")], tmp_path) as process:
        ends = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in (0, 2)]

    assert ends == [os.devnull, os.devnull]


def test_a_command_whose_output_was_closed_ends_as_ever() -> None:
    command = ["sh", "-c", 'exec "$0" "$@" >&-', sys.executable, "-m", "bylaw", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_script_still_looks_for_no_module_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('a stranger')")
    script = tmp_path / "bin" / "bylaw"
    script.parent.mkdir()
    script.write_text("from bylaw.cli import main\nmain()")
    with listening([sys.executable, str(script), *line(tmp_path / "data")], tmp_path) as process:
        maps = held(process)

    assert "pydantic_core" not in maps


@pytest.mark.slow
def test_it_runs_with_the_options_that_python_was_started_with(tmp_path: Path) -> None:
    given = ["-u", "-X", "int_max_str_digits=5000", "-X", "no_debug_ranges", "-X", "utf8", "-X", "dev"]
    with listening([sys.executable, *given, "-m", "bylaw", *line(tmp_path / "data")], tmp_path) as process:
        shown = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    flags = shown[1 : shown.index("-m")]

    assert shown[shown.index("-m") + 1] == "bylaw.cli.staying"
    assert "-u" in flags
    assert sorted(flags[at + 1] for at, one in enumerate(flags) if one == "-X") == sorted(given[2::2])


@pytest.mark.slow
def test_it_runs_with_no_option_that_python_was_not_started_with(tmp_path: Path) -> None:
    with listening([sys.executable, "-E", "-B", "-m", "bylaw", *line(tmp_path / "data")], tmp_path) as process:
        shown = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")

    assert sorted(shown[1 : shown.index("-m")]) == ["-B", "-E"]


@pytest.mark.slow
def test_what_goes_wrong_after_the_options_were_read_is_said_as_ever(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bylaw", *line(tmp_path / "data", tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'none'}: no such policy\n  next: Give a policy folder with a policy.yaml.\n"


def test_more_than_a_pipe_holds_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *given: pytest.fail(f"{given}"))

    assert Program(len, {"obj": ()}).work is len
    assert Program(dict, {"name": "x" * 5_000}).instead() == {"name": "x" * 5_000}
