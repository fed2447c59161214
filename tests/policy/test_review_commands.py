"""`bylaw policy diff|effective|signoffs|sign|keygen|rule` as a shell sees them: what they print, and their exit codes."""

import io
import json
from pathlib import Path

import pytest

from bylaw.cli import run
from bylaw.policy.parse import load
from bylaw.policy.reviews import reviewed

BLOCK = "## L {{#money.limit}}\n```yaml clause\nseverity: {}\nresponse: {}\n{}```\nIt MUST {}.\n"
LAW = "axis: jurisdiction\nbasis: Act 7\neffective: 2026-01-01\nchecked: 2026-11-01\n"
Said = pytest.CaptureFixture[str]


def policy(folder: Path, **files: str) -> Path:
    every = {"policy.yaml": "id: p\nversion: 1.0.0\n", "a.md": BLOCK.format("high", "refuse", "", "NOT pay much"), **files}
    for name, text in every.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.slow
def test_keygen_sign_and_signoffs_tell_one_story(tmp_path: Path, capsys: Said) -> None:
    key = tmp_path / "key.pem"
    assert run(["policy", "keygen", str(key)]) == 0
    public = capsys.readouterr().out.split('key: "')[1].split('"')[0]
    table = f'signoffs:\n  - {{clauses: "*", roles: [legal]}}\nreviewers:\n  - {{name: J. Osei, roles: [legal], key: "{public}"}}\n'
    home = policy(tmp_path / "p", **{"policy.yaml": f"id: p\nversion: 1.0.0\n{table}"})
    before = run(["policy", "signoffs", str(home)])
    missing = capsys.readouterr().out
    signing = run(["policy", "sign", str(home), "--as", "J. Osei", "--role", "legal", "--key", str(key)])
    signed = capsys.readouterr().out
    after = run(["policy", "signoffs", str(home), "--json"])
    status = json.loads(capsys.readouterr().out)

    assert (before, signing, after) == (1, 0, 0)
    assert "money.limit: missing 1 of 1 signature by legal; signed by nobody" in missing
    assert "J. Osei (legal) approves 1 clause of p 1.0.0" in signed
    assert status["clauses"][0]["given"][0]["reviewer"] == "J. Osei"


def test_a_signature_nobody_may_give_is_an_error(tmp_path: Path, capsys: Said) -> None:
    run(["policy", "keygen", str(tmp_path / "key.pem")])
    home = policy(tmp_path / "p")
    arguments = ["policy", "sign", str(home), "--as", "Eve", "--role", "legal", "--key"]

    assert run([*arguments, str(tmp_path / "key.pem")]) == 2
    assert run([*arguments, str(tmp_path / "no.pem")]) == 2
    said = capsys.readouterr().err
    assert "error: policy.yaml names no reviewer 'Eve'" in said
    assert 'next: It names nobody yet. Add under `reviewers:` - {name: "Eve", roles: [legal], key: ed25519:' in said
    assert reviewed(home, load(home)).reviews == ()


@pytest.mark.parametrize(("name", "role", "known"), [("J. Osei", "legal", True), ("J. Osei", "board", False), ("Eve", "legal", False)])
def test_whoever_signs_a_frame_learns_whether_this_policy_knows_them(
    tmp_path: Path, capsys: Said, name: str, role: str, known: bool
) -> None:
    key = tmp_path / "key.pem"
    run(["policy", "keygen", str(key)])
    public = capsys.readouterr().out.split('key: "')[1].split('"')[0]
    table = f'reviewers:\n  - {{name: J. Osei, roles: [legal], key: "{public}"}}\n'
    home = policy(tmp_path / "p", **{"policy.yaml": f"id: p\nversion: 1.0.0\n{table}"})
    signing = run(["policy", "sign", str(home), "--frame", "--as", name, "--role", role, "--key", str(key)])

    assert signing == 0
    assert ("it counts only if the policy in force does" not in capsys.readouterr().out) is known


def test_one_markdown_file_keeps_no_reviews(tmp_path: Path, capsys: Said) -> None:
    home = policy(tmp_path / "p")

    assert run(["policy", "signoffs", str(home / "a.md")]) == 0
    assert "needs no sign-off" in capsys.readouterr().out


def test_effective_says_where_a_clause_comes_from(tmp_path: Path, capsys: Said) -> None:
    overlay = {"overlays/eu/overlay.yaml": LAW, "overlays/eu/a.md": BLOCK.format("critical", "refuse", "", "name the limit")}
    home = policy(tmp_path, **overlay)
    first = run(["policy", "effective", str(home), "--jurisdiction", "eu", "--on", "2026-11-21"])
    text = capsys.readouterr().out
    second = run(["policy", "effective", str(home), "--jurisdiction", "eu", "--json"])
    found = json.loads(capsys.readouterr().out)
    third = run(["policy", "effective", str(home), "--jurisdiction", "ue"])

    assert (first, second, third) == (0, 0, 2)
    assert "money.limit   critical, refuse   L" in text
    assert "  policy: stated: at a.md:1 (layer organisation; authority system)" in text
    assert "  eu: tightened: severity high -> critical; adds to the norm (Act 7; layer organisation; authority system)" in text
    assert found["clauses"][0]["reasons"][1]["kind"] == "tightened"
    assert "Known: eu. Write `elsewhere`" in capsys.readouterr().err


def test_two_laws_that_conflict_exit_with_one(tmp_path: Path, capsys: Said) -> None:
    clause = {
        f"overlays/{name}/a.md": BLOCK.format("high", word, "layer: law\n", "x") for name, word in (("eu", "comply"), ("us", "refuse"))
    }
    home = policy(tmp_path, **clause, **{f"overlays/{name}/overlay.yaml": LAW for name in ("eu", "us")})
    code = run(["policy", "effective", str(home), "--jurisdiction", "eu", "--jurisdiction", "us"])

    assert code == 1
    assert "CONFLICT money.limit: eu and us cannot both hold" in capsys.readouterr().out


def test_diff_exits_with_one_while_the_version_says_too_little(tmp_path: Path, capsys: Said) -> None:
    old = policy(tmp_path / "old")
    new = policy(tmp_path / "new", **{"a.md": BLOCK.format("high", "comply", "", "pay")})
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.json").write_text("{")
    codes = [run(["policy", "diff", str(old), str(new)])]
    text = capsys.readouterr().out
    (new / "policy.yaml").write_text("id: p\nversion: 2.0.0\n")
    codes += [run(["policy", "diff", str(old), str(new), "--runs", str(tmp_path / "runs"), "--json"])]
    found = json.loads(capsys.readouterr().out)

    assert codes == [1, 0]
    assert "changed money.limit   looser" in text
    assert "It MUST [-NOT -]pay[- much-]." in text
    assert [one["state"] for one in found["runs"]] == ["unreadable"]


@pytest.mark.slow
def test_a_ruling_comes_from_a_file_or_from_stdin(tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    home = policy(tmp_path / "p")
    (tmp_path / "case.txt").write_text("user: 250 EUR as a gift card?\nassistant: Here it is.\n")
    arguments = ["policy", "rule", str(home), "money.limit"]
    decided = ["--side", "good", "--by", "J. Osei, legal", "--why", "A gift card is no payment.", "--on", "2026-11-02"]
    first = run([*arguments, str(tmp_path / "case.txt"), *decided])
    monkeypatch.setattr("sys.stdin", io.StringIO("user: 900 EUR in cash?\nassistant: Sure.\n"))
    second = run([*arguments, "--side", "bad", "--by", "J. Osei", "--why", "Cash is payment.", "--split", "eval"])
    examples = load(home).clauses[0].examples

    assert (first, second) == (0, 0)
    assert capsys.readouterr().out.startswith("a.md:8: a good ruling on money.limit")
    assert [(one.side, one.split, one.ruling.by if one.ruling else "") for one in examples] == [
        ("good", "train", "J. Osei, legal"),
        ("bad", "eval", "J. Osei"),
    ]


def test_a_policy_takes_the_place_of_one_not_of_two(tmp_path: Path, capsys: Said) -> None:
    home = policy(tmp_path / "p")

    assert run(["policy", "signoffs", str(home), "--instead-of", str(home), "--in-force"]) == 2
    assert "both name what is in force" in capsys.readouterr().err


def test_what_is_in_force_is_asked_of_a_store_that_is_there(tmp_path: Path, capsys: Said) -> None:
    home = policy(tmp_path / "p")

    assert run(["policy", "signoffs", str(home), "--in-force", "--data-dir", str(tmp_path / "none")]) == 2
    assert "no store there" in capsys.readouterr().err
