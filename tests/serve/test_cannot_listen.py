"""`bylaw serve` and `bylaw mcp` where they could not listen: one error of two lines, and nothing was put in force."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

POLICY = Path(__file__).parents[2] / "policies" / "refunds"


def served(data_dir: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bylaw", "serve", "--policy", str(POLICY), "--data-dir", str(data_dir), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_port_that_is_taken_is_an_error_and_puts_no_policy_in_force(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = served(tmp_path, "--upstream", "http://127.0.0.1:1", "--port", str(port))

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use",
        "  next: Name another --port or --host.",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_gateway_before_itself_is_refused(host: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    done = served(tmp_path, "--upstream", f"http://{host}:{port}/v1", "--port", str(port))

    assert done.returncode == 2
    assert f"http://{host}:{port}/v1 is this gateway's own address" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stream", ["input", "output"])
def test_a_line_whose_standard_stream_is_a_file_says_so_and_starts_nothing(stream: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bylaw", "mcp", "--policy", str(POLICY), "--data-dir", str(tmp_path / "data"), "--", "cat"]
    with (tmp_path / "file").open("w+b") as file:
        there = file if stream == "input" else subprocess.PIPE
        back = file if stream == "output" else subprocess.PIPE
        with subprocess.Popen(command, stdin=there, stdout=back, stderr=subprocess.PIPE) as running:
            _, said = running.communicate(timeout=60)

    assert running.returncode == 2
    assert said.decode().splitlines()[0] == f"error: standard {stream} is no pipe"
    assert not (tmp_path / "data").exists()
