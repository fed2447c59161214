"""A signal that comes while the gateway begins ends it all the same."""

import os
import signal
from pathlib import Path

import pytest
from sse_starlette.sse import AppStatus

from bylaw.serve import start

POLICY = Path(__file__).parents[2] / "policies" / "refunds"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_server_hears_signals_is_heard(tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppStatus, "should_exit", False)  # it takes note of any server's end, and would end every later test's streams
    setting = start.Setting("http://127.0.0.1:9/v1", port=0, data_dir=tmp_path / "data")
    start.prepare(setting, POLICY, "lena")
    told: list[int] = []

    def say(line: str) -> None:
        if "listening on" in line:
            os.kill(os.getpid(), number)

    before = signal.signal(number, lambda *given: told.append(given[0]))
    try:
        start.serve(setting, say)
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    assert told == [number]
    assert after is not signal.SIG_DFL
