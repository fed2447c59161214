"""A wrong path, a device, a folder nobody may read, a full disk: each is two lines, and nothing is lost."""

from pathlib import Path

import pytest

from bylaw import runs
from bylaw.cli.entry import run

REFUNDS = str(Path(__file__).parents[2] / "policies" / "refunds")

Said = pytest.CaptureFixture[str]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["label", "collect", "ENDLESS", "--policy", REFUNDS, "--annotator", "kim"],
        ["label", "agreement", "ENDLESS"],
        ["prompts", "--policy", REFUNDS, "--from", "ENDLESS", "--out", "made"],
        ["suite", "lint", "ENDLESS"],
        ["replay-agent", "ENDLESS", "--policy", REFUNDS],
        ["align", "deliberative", "--policy", REFUNDS, "--model", "embedded", "--prompts", "ENDLESS", "--out", "made"],
        ["serve", "--policy", REFUNDS, "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--data-dir", "made", "--config", "ENDLESS"],
        ["serve", "--policy", REFUNDS, "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--data-dir", "made", "--regions", "ENDLESS"],
    ],
    ids=lambda asked: " ".join(one for one in asked if one[0] not in "/h"),
)
def test_a_device_without_an_end_is_refused_and_nothing_is_made(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "MAX_STREAM", 1 << 20)
    code = run(["/dev/zero" if one == "ENDLESS" else one for one in asked])
    said = capsys.readouterr()

    assert (code, said.out) == (2, "")
    assert "/dev/zero" in said.err.splitlines()[0]
    assert "no file, and more than 1 MiB come from it" in said.err.splitlines()[0]
    assert len(said.err.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []
