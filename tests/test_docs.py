"""What the pages promise is there: commands parse, examples come out as printed, files exist, dependencies have a reason."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from docs import build

from bylaw.cli import app, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DEPENDENCIES = (ROOT / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8")
IMPORTED_AS = {"cel-expr-python": "cel_expr_python", "pyyaml": "yaml"}


def commands_in(page: str) -> list[str]:
    """Every command a page tells a reader to type, comments left out."""
    lines = [re.split(r"  #| \|{1,2} ", line)[0].strip() for line in page.replace("\\\n", " ").splitlines() if line.startswith("bylaw ")]
    return [line for line in lines if "…" not in line]


def parse(command: str) -> Any:
    """Parse a command line as typer would, without running it; a word or an option that is not there raises."""
    node: Any = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    while hasattr(node, "commands"):
        node = node.commands[words.pop(0)]
    return node.make_context(node.name, words)


def rows_of(page: str) -> dict[str, str]:
    """A page's table rows by their first cell; a cell may name several packages."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {name: cells[-1] for cells in rows for name in cells[0].split(", ")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", sorted({one for page in (README, *(file.read_text("utf-8") for file in MANUAL)) for one in commands_in(page)})
)
def test_a_command_of_the_readme_and_the_manual_parses(command: str) -> None:
    assert parse(command) is not None


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in commands_in(README) if re.match(r"bylaw policy \w+ policies/", one)])
def test_a_command_of_the_readme_that_only_reads_a_shipped_policy_succeeds(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert run(shlex.split(command)[1:]) == 0


@pytest.mark.parametrize("wrong", ["bylaw polcy lint X", "bylaw policy burn X", "bylaw demo --nope", "bylaw demo --size huge"])
def test_a_command_that_does_not_exist_would_be_noticed(wrong: str) -> None:
    with pytest.raises((KeyError, typer.TyperException)):
        parse(wrong)


@pytest.mark.slow
def test_the_policy_of_the_readme_lints_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    policy = re.findall(r"^````markdown\n(.*?)^````$", README, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "my-policy.md").write_text(policy, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code = run(["policy", "lint", "my-policy.md"])

    assert code == 1
    assert f"```text\n{capsys.readouterr().out}```" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_a_page_names_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!-- written by.*?<!-- end", "", text, flags=re.DOTALL)
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|toml|txt)|(?:[\w-]+/)+)`", text)
    places = (ROOT, build.SOURCE)
    made_by_a_reader = {"my-policy.md"}

    missing = [name for name in (*linked, *named) if name not in made_by_a_reader and not any((place / name).exists() for place in places)]

    assert not missing


def test_every_page_can_be_found_from_the_readme() -> None:
    found: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        new = {(page.parent / link).resolve() for link in links if "://" not in link} - found
        found |= new
        waiting += [one for one in new if one.is_file()]

    assert {page.resolve() for page in MANUAL} <= found


def test_every_requirement_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[<>=\[ ]", one)[0] for one in wanted}

    assert names == rows_of(DEPENDENCIES).keys() - {"package", "---"}


@pytest.mark.slow
def test_a_package_that_one_module_alone_imports_is_imported_by_it_alone() -> None:
    claims = {name: found[1] for name, cell in rows_of(DEPENDENCIES).items() if (found := re.match(r"`([\w/]+\.py)` alone", cell))}
    modules = {str(file.relative_to(build.SOURCE)): file.read_text(encoding="utf-8") for file in build.SOURCE.rglob("*.py")}
    importers = {
        name: [
            file for file, text in modules.items() if re.search(rf"^\s*(from|import) {IMPORTED_AS.get(name, name)}\b", text, re.MULTILINE)
        ]
        for name in claims
    }

    assert len(claims) >= 5
    assert importers == {name: [file] for name, file in claims.items()}


def test_the_benches_are_named_where_they_are_listed() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "nope"], capture_output=True, text=True, check=False, cwd=ROOT)
    said = re.search(r"there are (.+)", done.stderr)

    assert done.returncode == 2
    assert said
    assert all((ROOT / "bench" / f"{name}.py").is_file() for name in said[1].split(", "))
