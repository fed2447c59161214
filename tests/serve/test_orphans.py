"""`bylaw serve --workers`: when the supervisor is killed, its workers end by themselves; when a worker dies, there is another."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bylaw.serve.start import WORKER_S
from tests.serve.test_processes_sessions import asked, ready, started
from tests.serve.test_processes_wiring import listening
from tests.serve.test_serving import saying, until


def alive(group: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


def workers(supervisor: int) -> set[int]:
    """The processes that it has spawned, which are alive."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return {int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()}


@pytest.mark.slow
def test_a_worker_that_dies_while_it_is_asked_whether_it_lives_is_replaced_at_once(tmp_path: Path) -> None:
    with started(tmp_path, "http://127.0.0.1:9", "--workers", "2") as (_, process, _):
        first = workers(process.pid)
        silent = min(first)
        os.kill(silent, signal.SIGSTOP)
        time.sleep(1.5)  # so that it is asked, which comes twice a second
        os.kill(silent, signal.SIGKILL)
        took = until(lambda: len(workers(process.pid) - {silent}) == 2)

    assert len(first) == 2
    assert took < WORKER_S / 2


@pytest.mark.slow
def test_workers_whose_supervisor_is_killed_take_nothing_new_finish_what_runs_and_end(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(body: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        go_on.wait(60)
        return saying("Your order is on its way.")

    with listening(slowly) as upstream, started(tmp_path, upstream.url, "--workers", "2") as (url, process, _):
        try:
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(asked, url)
                begun.wait(60)
                process.kill()
                process.wait(30)
                until(lambda: not ready(url))
                listens = ready(url)
                go_on.set()
                decided = running.result(60)
            until(lambda: not alive(process.pid))
            left = alive(process.pid)
        finally:
            go_on.set()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    assert (listens, decided, left) == (False, "allow", False)
