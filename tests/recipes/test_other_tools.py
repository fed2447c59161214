"""garak and PyRIT at our gateway, each in an environment of its own: the page's own commands run, and what they report is imported."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from bylaw import runs
from bylaw.cli.entry import run
from bylaw.evals import suite_files
from bylaw.evals.targets import Conversation, Said
from bylaw.recipes import answering
from bylaw.recipes import governed_stage as stage
from bylaw.types import Progress

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "other-tools.md").read_text()
GARAK = Path(os.environ.get("BYLAW_GARAK_PYTHON", "/tmp/garak/bin/python"))
PYRIT = Path(os.environ.get("BYLAW_PYRIT_PYTHON", "/tmp/pyrit/bin/python"))
PORT = "127.0.0.1:8097"  # of the page


class Echo:
    """Says what it was told, so that the gateway alone can hold anything back."""

    name = "echo"

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        return [Said(f"Sure: {one.messages[-1].content[:400]}") for one in conversations]


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Host and port of a gateway before the echo."""
    monkeypatch.chdir(tmp_path)
    with (
        answering.served(Echo()) as url,
        closing(stage.begin(tmp_path / "gw", "--policy", str(ROOT / "policies/refunds"), "--upstream", url)) as here,
    ):
        stage.ready(here)
        yield here.url.removeprefix("http://")


def block(section: str, language: str, at: str) -> str:
    """The first block of a language under a heading of the page, with our own gateway in it."""
    part = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", part, re.DOTALL)
    assert found is not None
    return found[1].replace(PORT, at)


def asked(command: str, python: Path, **more: str) -> None:
    """Run one of the page's commands in its own environment."""
    environment = {**stage.environment(), **more}
    line = [str(python), *command.split()[1:]]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def command(section: str, begins: str) -> str:
    """A command under a heading of the page."""
    return next(line for line in PAGE.split(f"\n## {section}\n")[1].splitlines() if line.startswith(begins))


@pytest.mark.slow
@pytest.mark.skipif(not GARAK.exists(), reason="garak is not installed (BYLAW_GARAK_PYTHON)")
def test_garak_meets_the_gateway_as_the_page_says_and_its_report_becomes_a_suite(gateway: str, tmp_path: Path) -> None:
    Path("g.yaml").write_text(block("garak", "yaml", gateway))
    Path("g.yaml").chmod(0o600)
    named = dict(re.findall(r"(\w+)=(\S+)", command("garak", "export")))

    asked(command("garak", "python -m garak"), GARAK, **named | {"XDG_DATA_HOME": str(tmp_path)})
    code = run(command("garak", "bylaw suite import").split()[1:])

    suite = suite_files.load(Path("garak.jsonl"))
    assert code == 0
    assert len(suite.cases) == 16
    assert {one.attack.techniques[0].partition(".")[0] for one in suite.cases} == {"encoding", "promptinject"}
    assert {one.status for one in suite.cases} == {"active", "candidate"}  # an echo says every trigger in plain words, and decodes none
    assert run(["suite", "lint", "garak.jsonl"]) == 0


@pytest.mark.slow
@pytest.mark.skipif(not PYRIT.exists(), reason="PyRIT is not installed (BYLAW_PYRIT_PYTHON)")
def test_pyrit_meets_the_gateway_as_the_page_says_and_its_report_becomes_a_suite(gateway: str) -> None:
    Path("p.py").write_text(block("PyRIT", "python", gateway))

    asked(command("PyRIT", "python p.py"), PYRIT)
    code = run(command("PyRIT", "bylaw suite import").split()[1:])

    suite = suite_files.load(Path("pyrit.jsonl"))
    said = [one["converted_value"] for one in runs.read_json(Path("pyrit.json"))["messages"] if one["role"] == "assistant"]
    assert code == 0
    assert [one.attack.techniques for one in suite.cases] == [(), (), ("Base64Converter",), ("Base64Converter",)]
    assert said
    assert [one for one in said if "4111 1111 1111 1111" in one] == []  # the gateway cut the card out of the answers
    assert run(["suite", "lint", "pyrit.jsonl"]) == 0
