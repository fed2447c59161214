"""The house keeps its own rules: the map is true, files are short and captioned, names and exemptions argue for themselves."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docs import build

from bylaw.canonical import digest
from bylaw.policyworld import scenarios, stage0

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ALL_PYTHON = sorted(file for room in ("src", "tests", "bench", "docs") for file in (ROOT / room).rglob("*.py"))
FORBIDDEN = {"utils", "helpers", "common", "core", "base", "manager", "handler"}


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.slow
def test_the_map_and_the_command_page_are_what_the_code_says() -> None:
    assert (ROOT / "ARCHITECTURE.md").read_text() == build.architecture()
    assert (ROOT / "docs" / "cli.md").read_text() == build.command_line()


@pytest.mark.slow
@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_a_module_has_a_caption_and_at_most_400_lines(file: Path) -> None:
    lines = file.read_text().splitlines()

    assert build.caption(file)
    assert len(lines) <= 400


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [name(file) for file in SOURCES if file.stem in FORBIDDEN]


def test_every_exemption_argues_for_itself() -> None:
    bare = re.compile(r"#\s*(noqa:\s*[A-Z0-9, ]+|type:\s*ignore\[[^\]]+\])\s*$")

    silent = [f"{name(f)}:{i}" for f in ALL_PYTHON for i, line in enumerate(f.read_text().splitlines(), 1) if bare.search(line)]

    assert not silent


def test_every_requirement_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pinned = {re.split(r"==", line)[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line}

    apart = {"inspect_ai"}  # wants an older fsspec than datasets brings, so it lives in an environment of its own

    missing = {re.split(r"[<>=\[]", one)[0].strip().lower() for one in wanted} - pinned

    assert missing == apart


def test_the_benchmark_page_states_what_the_code_computes() -> None:
    page = (ROOT / "docs" / "decisions" / "benchmark.md").read_text()
    mix = stage0.STAGE0

    assert digest([[s.user, s.request] for s in scenarios.test_set()]) in page
    assert str(scenarios.WORLD_SEED) in page
    assert (
        f"policy {mix.policy}, helpful {mix.helpful}, direct {mix.direct}, decode {mix.decode}, quiz {mix.quiz}; noise {mix.noise}" in page
    )
    assert all(f"{share:.2f}" in page for share in set(stage0.EXCUSED.values()))


def test_the_readme_names_only_commands_that_exist() -> None:
    known = set(re.findall(r"^## bylaw (.+)$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE))
    used = set(re.findall(r"^\$? ?bylaw ((?:policy|align) [a-z-]+|[a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))

    assert used
    assert not [command for command in used if not any(f"{one} ".startswith(f"{command} ") for one in known)]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["policy", "lint", "policies/refunds"], ["--help"], ["align", "deliberative", "--help"]])
def test_what_needs_no_model_never_loads_torch(arguments: list[str]) -> None:
    code = f"import sys; from bylaw import cli; cli.run({arguments!r}); print('torch' in sys.modules or 'transformers' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip().endswith("False")


@pytest.mark.slow
def test_tests_say_what_they_show() -> None:
    trees = {file: ast.parse(file.read_text()) for file in (ROOT / "tests").rglob("test_*.py")}
    functions = [
        (f, n) for f, tree in trees.items() for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")
    ]

    short = [f"{name(f)} {n.name}" for f, n in functions if n.name.count("_") < 3]

    assert functions
    assert not short


@pytest.mark.slow
def test_no_regular_expression_forbids_a_group_to_be_taken_back() -> None:
    """`(?:…)++` and `(?>…)` match too little in Python before 3.11.5, Debian's 3.11.2 among them (CPython's issue 106052)."""
    group = re.compile(r"\(\?>|(?<!\\)\)(?:[*+?]|\{[0-9,]+\})\+")

    def texts(file: Path) -> list[str]:
        found = (one.value for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, ast.Constant) and isinstance(one.value, str))
        return [one for one in found if re.search(r"[\\\[]|\(\?", one)]  # such as have what only an expression has

    assert group.search(r"(?:a|b)*+c")
    assert group.search(r"(?>a|b)c")
    assert not [name(file) for file in SOURCES if any(group.search(text) for text in texts(file))]


def test_whoever_acts_a_full_disk_keeps_python_from_compiling() -> None:
    """Cut short, `torch`'s compiled files once failed every test after (docs/lab-log.md, 2026-11-23)."""
    acting = [file.read_text() for file in ALL_PYTHON if "setrlimit(resource.RLIMIT_FSIZE" in file.read_text() and file != Path(__file__)]

    assert len(acting) == 4
    assert all(re.search(r"dont_write_bytecode|PYTHONDONTWRITEBYTECODE", text) for text in acting)
