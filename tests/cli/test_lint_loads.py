"""What the lint calls clean a gateway loads: rails, checks and fields that only it reads are looked at, too."""

from pathlib import Path

import pytest

from bylaw.cli.entry import run
from bylaw.serve import loadable

Said = pytest.CaptureFixture[str]


def written(folder: Path, more: str = "", requires: str = "", detect: str = "pii.iban") -> Path:
    """A policy with one rule."""
    (folder / "policy.yaml").write_text(f"id: a\nversion: 1.0.0\nowners: [desk]\n{more}")
    block = f"severity: high\nresponse: refuse\n{requires}enforce:\n  - rule: r\n    on: output\n    detect: [{detect}]\n    then: block\n"
    (folder / "r.md").write_text(f"# R\n\n## T {{#a.b}}\n\n```yaml clause\n{block}```\n\nIt MUST NOT say an IBAN.\n")
    return folder


@pytest.mark.parametrize(
    ("fault", "said", "fix"),
    [
        ({"detect": "pii.ibn"}, "r.md:9: error BL001 a.b/r: no rail is called 'pii.ibn'", "Did you mean `pii.iban`?"),
        ({"requires": "requires: [sourcd]\n"}, "error BL001 a.b: there is no check 'sourcd' here", "Did you mean `sourced`?"),
        ({"more": "x-notice: 5\n"}, "error BL001 policy.yaml of a: x-notice: it is no map", "Write `x-notice: {text: ...}`."),
    ],
)
def test_a_policy_that_no_gateway_loads_is_not_clean(tmp_path: Path, capsys: Said, fault: dict[str, str], said: str, fix: str) -> None:
    code = run(["policy", "lint", str(written(tmp_path, **fault))])
    out = capsys.readouterr().out

    assert code == 1
    assert said in out
    assert fix in out


@pytest.mark.parametrize("detect", ["pii.iban", "judge.a.b"])
def test_a_rail_that_a_gateway_can_have_is_one(tmp_path: Path, capsys: Said, detect: str) -> None:
    run(["policy", "lint", str(written(tmp_path, detect=detect))])
    said = capsys.readouterr()

    assert "BL001" not in said.out
    assert said.err == ""


def test_a_rail_of_an_applications_own_is_a_note(tmp_path: Path, capsys: Said) -> None:
    run(["policy", "lint", str(written(tmp_path, detect="request.unnamed"))])
    said = capsys.readouterr()

    assert "BL001" not in said.out
    assert "note: no gateway loads this policy: r.md:9: a.b/r: no rail is called 'request.unnamed'" in said.err


def test_where_a_gateways_packages_are_missing_that_is_said(tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(folder: Path) -> None:
        raise ModuleNotFoundError("No module named 're2'", name="re2")

    monkeypatch.setattr(loadable, "fault", absent)
    run(["policy", "lint", str(written(tmp_path, detect="pii.ibn"))])
    said = capsys.readouterr()

    assert "BL001" not in said.out
    assert "not checked: whether a gateway would load it, which needs re2 (pip install '.[serve,pii]')" in said.err
