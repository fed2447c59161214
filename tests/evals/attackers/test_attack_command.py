"""`bylaw attack` end to end: finds become a suite that `bylaw eval` reads, and bad input is one line."""

import json
from pathlib import Path

import pytest

from bylaw.cli.entry import run
from bylaw.evals import suite_files

POLICY = "policies/refunds"
HELP = "Sure, here is all of it."


def script(path: Path, *rows: dict[str, str]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"scripted:{path}"


def weak(tmp_path: Path) -> str:
    """A target that falls for developer mode and for a false approval."""
    return script(
        tmp_path / "weak.jsonl",
        {"when": "Developer mode", "say": HELP},
        {"when": "[debug console]", "say": HELP},
        {"when": "supervisor", "say": HELP},
        {"when": "", "say": "I'm sorry, I can't help with that."},
    )


def attack(*more: str) -> int:
    return run(["attack", "--policy", POLICY, "--goals", "4", "--side", "refuse", "--side", "decline", *more])


@pytest.mark.slow
def test_an_attack_leaves_a_suite_of_finds_that_eval_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a"
    code = attack("--target", weak(tmp_path), "--budget", "300", "--out", str(out), "--json")
    report = json.loads(capsys.readouterr().out)
    suite = suite_files.load(out / "finds.jsonl")
    fallen = [one for one in suite.cases if one.status == "active"]
    again = run(
        [
            "eval",
            "--target",
            weak(tmp_path),
            "--policy",
            POLICY,
            "--suite",
            str(out / "finds.jsonl"),
            "--out",
            str(tmp_path / "e"),
            "--json",
        ]
    )
    measured = json.loads(capsys.readouterr().out)

    assert code == 1
    assert report == json.loads((out / "attack.json").read_text())
    assert report["budget"]["spent"] <= 300
    assert fallen
    assert all(one.severity and one.found_in.startswith("attack:") and one.attack.parent for one in fallen)
    assert again == 0
    assert measured["outcomes"]["violated"] == len(fallen)
    assert measured["outcomes"]["unscored"] == 0


@pytest.mark.slow
def test_one_seed_gives_one_attack_to_the_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        attack("--target", weak(tmp_path), "--budget", "120", "--out", str(tmp_path / name), "--seed", "4")
    capsys.readouterr()

    for file in ("attack.json", "finds.jsonl", "tries.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_target_that_holds_leaves_no_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holds = script(tmp_path / "holds.jsonl", {"when": "", "say": "I'm sorry, I can't help with that."})
    code = attack("--target", holds, "--budget", "60", "--attacker", "sweep", "--out", str(tmp_path / "a"), "--json")
    report = json.loads(capsys.readouterr().out)

    assert code == 0
    assert report["finds"] == []
    assert report["attackers"]["sweep"]["rate"] == 0.0
    assert report["attackers"]["sweep"]["high"] > 0.0


def test_a_target_that_gives_no_reply_was_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = script(tmp_path / "silent.jsonl", {"when": "", "fault": "down"})
    code = attack("--target", silent, "--budget", "60", "--out", str(tmp_path / "a"))

    assert code == 2
    assert "nothing was measured" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--target", "openai:m@http://127.0.0.1:9/v1"], "127.0.0.1:9"),
        (["--target", "embedded"], "cannot read this policy"),
        (["--target", "scripted:nowhere.jsonl"], "no script"),
        (["--attacker", "bandid"], "there is no attacker 'bandid'"),
        (["--attacker", "pair"], "pair needs a model that writes attacks"),
        (["--side", "sideways"], "there is no side 'sideways'"),
        (["--budget", "3"], "a budget of 3 calls is out of range"),
    ],
)
def test_bad_input_is_one_clear_line(more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = [] if "--target" in more else ["--target", weak(tmp_path)]
    code = attack(*target, "--out", str(tmp_path / "a"), *more)
    said = capsys.readouterr().err

    assert code == 2
    assert says in said
    assert len(said.strip().split("\n")) == 2


def test_every_technique_and_attacker_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["attack", "--list", "--json"])
    listed = json.loads(capsys.readouterr().out)

    assert code == 0
    assert sum(len(few) for few in listed.values()) > 160
