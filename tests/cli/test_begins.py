"""What `bylaw serve` and `bylaw mcp` hand on and say before they begin: the environment's name, MCP servers, a draft that is not there."""

from pathlib import Path
from typing import Any

import pytest

from bylaw.cli import serving
from bylaw.cli.entry import run
from bylaw.errors import BylawError
from bylaw.serve import mcp_start, start

REFUNDS = str(Path(__file__).parents[2] / "policies" / "refunds")


@pytest.mark.parametrize(("given", "env"), [(["--env", "production"], {"name": "production"}), ([], {})])
def test_the_name_of_the_environment_reaches_conditions(
    given: list[str], env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def reached(setting: Any, *more: Any) -> None:
        seen.append(setting.ways.env)
        raise BylawError("reached", "The command ends where it would begin to work.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "prepare", reached)
    monkeypatch.setattr(mcp_start, "run", reached)
    run(["serve", "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--policy", REFUNDS, "--data-dir", "made", *given])
    words: dict[str, Any] = dict.fromkeys(("name", "prefix", "place", "key_env", "session", "store"), "")
    with pytest.raises(BylawError):
        serving.mcp(
            command=("true",), policy=Path(REFUNDS), media="allow", env="".join(given[1:]), config=None, data_dir=Path("made"), **words
        )

    assert seen == [env, env]


def test_what_is_served_besides_and_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def reached(*_: Any) -> None:
        raise BylawError("reached", "The command ends where it would listen.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "serve", reached)
    (tmp_path / "gateway.yaml").write_text("draft: nowhere\nmcp: {shop: {command: [sh, -c, exit]}}\n")
    run(
        [
            "serve",
            "--upstream",
            "http://127.0.0.1:9/v1",
            "--port",
            "0",
            "--policy",
            REFUNDS,
            "--data-dir",
            "made",
            "--config",
            "gateway.yaml",
        ]
    )
    said = capsys.readouterr()

    assert "nowhere: no draft of a policy is there" in said.out + said.err
    assert "MCP server shop: /mcp/shop" in said.out + said.err


def test_a_store_that_is_new_is_called_so(tmp_path: Path, capsys: Any) -> None:
    made = ["keys", "create", "--principal", "kim", "--data-dir", str(tmp_path / "data")]
    run(made)
    first = capsys.readouterr().err
    run(made)

    assert first == f"{tmp_path}/data/store.sqlite: a new store\n"
    assert capsys.readouterr().err == ""
