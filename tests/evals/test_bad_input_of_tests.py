"""Bad input to every command that tests: one line of what and one of what next, exit 2, and nothing that was there is lost."""

import json
import time
from pathlib import Path

import pytest
from tests.evals.evaluating import REFUNDS, REFUSES, Captured, evaluated, rows, script, suite, two_lines
from tests.evals.test_targets import Endless
from tests.models.endpoint import say, serve

from bylaw.cli.entry import run

GOOD = {"clause": "privacy.other-customers", "side": "refuse", "turns": [{"role": "user", "content": "x"}]}
POLICY = ["--policy", str(REFUNDS)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # caches and default folders lie where one works
    Path("broken.jsonl").write_text(f"{json.dumps(GOOD)}\n{{broken\n")
    Path("foreign.jsonl").write_text(json.dumps(GOOD | {"clause": "no.such"}) + "\n")
    script(REFUSES)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["attack", *POLICY, "--target", "scripted:target.jsonl", "--suite", "broken.jsonl"], "broken.jsonl:2:"),
        (["attack", *POLICY, "--target", "scripted:target.jsonl", "--suite", "foreign.jsonl"], "foreign.jsonl:1: the policy has no clause"),
        (["attack", *POLICY, "--target", "scripted:target.jsonl", "--attacker", "base46"], "there is no attacker 'base46'"),
        (["eval", *POLICY, "--target", "scripted:target.jsonl", "--suite", "broken.jsonl", "--governed"], "broken.jsonl:2:"),
        (["eval", *POLICY, "--target", "openai:m@http://127.0.0.1:9/v1", "--governed"], "nobody answers at 127.0.0.1:9"),
        (["eval", "--policy", "nowhere", "--target", "scripted:target.jsonl", "--governed"], "nowhere"),
        (["suite", "list", "broken.jsonl"], "broken.jsonl:2:"),
        (["suite", "import", "garak", "--from", "broken.jsonl"], "broken.jsonl:2: the line is no JSON"),
        (["suite", "import", "xtest", "--from", "broken.jsonl"], "xtest"),
        (["suite", "compile", "--policy", "nowhere"], "nowhere"),
        (["replay-agent", "broken.jsonl", *POLICY], "broken.jsonl:"),
        (["compare", "nowhere", "elsewhere"], "nowhere is no measurement"),
    ],
)
def test_what_cannot_be_read_or_reached_is_one_clear_line_and_nothing_is_written(line: list[str], says: str, capsys: Captured) -> None:
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    out = [] if line[:2] == ["suite", "list"] else ["--out", "page.html" if line[0] == "compare" else "made.jsonl"]

    code = run([*line, *out])

    what, _ = two_lines(capsys)
    assert code == 2
    assert says in what
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    assert not any(Path(one).exists() for one in out[1:])


@pytest.mark.parametrize("broken", [b"", b'{"id": ', b"\xff\xfe"])
def test_lint_and_eval_of_a_suite_that_is_no_text_say_so_in_one_line(broken: bytes, capsys: Captured) -> None:
    Path("s.jsonl").write_bytes(broken)

    code, _ = evaluated(script(REFUSES), "--suite", "s.jsonl")

    what, _ = two_lines(capsys)
    assert code == 2
    assert "s.jsonl" in what or not broken  # an empty suite has nothing to test with
    assert not Path("out").exists()


@pytest.mark.slow
def test_a_target_that_streams_for_ever_is_not_measured_after_its_time_and_the_suite_goes_on_later(capsys: Captured) -> None:
    named, began = suite("s", ("refuse", "a"), ("allow", "b")), time.monotonic()
    with serve(lambda _: say("never"), Endless) as server:
        line = ["--suite", named, "--timeout", "0.3"]
        code, found = evaluated(server.target(), *line)
        what, then = two_lines(capsys)
        attacked = run(["attack", *POLICY, "--target", server.target(), "--budget", "12", "--timeout", "0.3", "--goals", "1", "--out", "a"])
    nothing, _ = two_lines(capsys)

    assert (code, attacked) == (2, 2)
    assert "no reply: no reply within 0.3 s" in what
    assert "start the same command again" in then
    assert "nothing was measured" in nothing
    assert found["outcomes"]["unscored"] == len(rows()) == 2
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_half_written_run_is_named_by_whoever_would_rest_on_it_and_is_left_as_it_is(capsys: Captured) -> None:
    named = suite("s", ("refuse", "a"), ("allow", "b"))
    evaluated(script(REFUSES), "--suite", named)
    evaluated(script(REFUSES), "--suite", named, out="other")
    for name in ("results.json", "manifest.json"):
        Path("out", name).unlink()
    whole = Path("out/cases.jsonl").read_bytes()
    Path("out/cases.jsonl").write_bytes(whole[:-20])
    capsys.readouterr()

    compared = run(["compare", "other", "out", "--out", "page.html"])
    what, then = two_lines(capsys)
    gated = run(["gate", "out"])
    shown = capsys.readouterr().out
    again, found = evaluated(script(REFUSES), "--suite", named)

    assert (compared, gated, again) == (2, 2, 0)
    assert "out is half written: it has no results.json" in what
    assert "the same `bylaw eval` command goes on" in then
    assert "half written" in shown
    assert not Path("page.html").exists()
    assert Path("out/cases.jsonl").read_bytes() == whole
    assert sum(found["outcomes"].values()) == 2
