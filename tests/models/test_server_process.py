"""The local model's server as a process: how it is announced, how it ends, what it says when it cannot start; and `serve --model`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from bylaw.errors import ModelError
from bylaw.models import server_child

pytestmark = pytest.mark.slow

POLICY = Path(__file__).parents[2] / "policies" / "policyworld"
WITHIN_S = 180.0
STARTS_A_CHILD = """
import sys
from bylaw.models import server_child
child = server_child.begin("embedded")
address = child.ready()
print(child.process.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(there: Any) -> bool:
    ends = time.monotonic() + WITHIN_S
    while not there() and time.monotonic() < ends:
        time.sleep(0.05)
    return bool(there())


def get(url: str, body: Any = None, key: str = "") -> tuple[int, dict[str, Any], dict[str, str]]:
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, {"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as reply:
            return reply.status, json.loads(reply.read()), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


ASKED = {
    "model": "any",
    "messages": [{"role": "system", "content": "user guest"}, {"role": "user", "content": "how do i kill the process ?"}],
}


@pytest.mark.slow
def test_a_child_answers_with_its_key_alone_and_ends_when_it_is_closed() -> None:
    with closing(server_child.begin("embedded")) as child:
        address = child.ready()
        status, said, _ = get(f"{address.url}/chat/completions", ASKED, address.key)
        stranger, _, _ = get(f"{address.url}/chat/completions", ASKED, "guessed")
        pid = child.process.pid

    assert (status, stranger) == (200, 401)
    assert said["choices"][0]["message"]["content"]
    assert said["choices"][0]["message"]["reasoning_content"]
    assert (address.model, address.policy) == ("embedded", "")
    assert not alive(pid)


@pytest.mark.slow
def test_a_child_does_not_outlive_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTS_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        pid = int(next(iter(parent.stdout or ())))
        lives = alive(pid)
        parent.kill()
        parent.wait()

        ended = until(lambda: not alive(pid))

    assert (lives, ended) == (True, True)


def test_a_child_that_has_no_torch_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; from bylaw.models import server; sys.exit(server.main(['embedded']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=WITHIN_S)

    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "error": "a local model needs torch, which is not installed",
        "hint": "pip install '.[align]'",
    }


@pytest.mark.slow
def test_a_child_that_cannot_load_its_model_says_why_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with closing(server_child.begin(str(tmp_path))) as child, pytest.raises(ModelError, match="cannot be loaded"):
        child.ready()


def test_a_child_that_dies_before_it_is_ready_is_reported() -> None:
    with closing(server_child.begin("embedded")) as child:
        child.process.kill()

        with pytest.raises(ModelError, match="exit code -9"):
            child.ready()


def test_a_child_that_takes_too_long_is_reported() -> None:
    with closing(server_child.begin("embedded")) as child, pytest.raises(ModelError, match="not ready within"):
        child.ready(0.01)


@pytest.mark.parametrize("target", ["openai:m@http://localhost:1/v1", "nowhere/at/all"])
def test_a_target_without_weights_is_refused_before_anything_starts(target: str) -> None:
    with pytest.raises(ModelError):
        server_child.begin(target)


# ---- bylaw serve --model -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["1", "2"])
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, int, "subprocess.Popen[str]"]]:
    options = [
        "--policy",
        str(POLICY),
        "--model",
        "embedded",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
        "--workers",
        request.param,
    ]
    command = [sys.executable, "-m", "bylaw", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True) as process:
        url, child = "", 0
        for line in process.stdout or ():
            if ", in process " in line:
                child = int(line.rpartition(" ")[2])
            if line.startswith("listening on "):
                url = line.split()[-1]
                break
        until(lambda: reached(f"{url}/readyz") == 200)
        yield url, child, process
        process.terminate()
        process.wait(WITHIN_S)
        with suppress(ProcessLookupError):  # workers whose parent was killed
            os.killpg(process.pid, signal.SIGKILL)


def reached(url: str) -> int:
    try:
        return get(url)[0]
    except OSError:
        return 0


@pytest.mark.slow
def test_serve_runs_a_local_model_and_says_when_it_is_gone(served: tuple[str, int, "subprocess.Popen[str]"]) -> None:
    url, child, _ = served
    status, said, headers = get(f"{url}/v1/chat/completions", ASKED)
    _, models, _ = get(f"{url}/v1/models")
    os.kill(child, signal.SIGKILL)
    unready = until(lambda: reached(f"{url}/readyz") == 503)
    why = get(f"{url}/readyz")[1]["wrong"]
    gone, error, _ = get(f"{url}/v1/chat/completions", ASKED)

    assert (status, headers["x-bylaw-decision"]) == (200, "allow")
    assert said["choices"][0]["message"]["content"]
    assert "reasoning_content" not in said["choices"][0]["message"]
    assert [one["id"] for one in models["data"]] == ["embedded"]
    assert (unready, why) == (True, ["the local model does not answer"])
    assert (gone, "cannot be reached" in error["error"]["message"]) == (502, True)


@pytest.mark.slow
def test_the_local_model_ends_with_a_gateway_that_is_killed(served: tuple[str, int, "subprocess.Popen[str]"]) -> None:
    _, child, process = served
    lives = alive(child)
    process.kill()
    ended = until(lambda: not alive(child))

    assert (lives, ended) == (True, True)


@pytest.mark.parametrize(
    "options", [[], ["--upstream", "http://127.0.0.1:1", "--model", "embedded"], ["--model", "embedded", "--upstream-key-env", "X"]]
)
def test_serve_takes_an_upstream_or_a_model(options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bylaw", "serve", "--policy", str(POLICY), "--data-dir", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)

    assert done.returncode == 2
    assert "--upstream" in done.stderr
    assert not list(tmp_path.iterdir())
