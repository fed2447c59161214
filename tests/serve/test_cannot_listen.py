"""`bylaw serve` where it could not listen, or has no policy: one error of two lines, and nothing was put in force."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

POLICY = Path(__file__).parents[2] / "policies" / "refunds"


def served(data_dir: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bylaw", "serve", "--policy", str(POLICY), "--data-dir", str(data_dir), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


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


@pytest.mark.parametrize(("policy", "says"), [("money.md", "a single file is not put in force"), ("typo", "no such policy")])
def test_a_policy_that_is_no_folder_is_said_to_be_none(policy: str, says: str, tmp_path: Path) -> None:
    where = POLICY / policy
    options = ["--policy", str(where), "--upstream", "http://127.0.0.1:1", "--port", "0"]
    done = served(tmp_path, *options)

    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"error: {where}: {says}", "  next: Give a policy folder with a policy.yaml."]
    assert not list(tmp_path.iterdir())
