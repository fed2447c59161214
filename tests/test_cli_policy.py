"""The `policy` commands as a shell sees them: exit codes, two-line errors, and how little they load."""

import json
import os
import py_compile
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
REFUNDS = str(ROOT / "policies" / "refunds")
BYLAW = [sys.executable, "-c", "from bylaw.cli import main; main()"]


def bylaw(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BYLAW, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}, cwd=ROOT)


def test_a_clean_policy_lints_to_zero() -> None:
    done = bylaw("policy", "lint", REFUNDS)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{REFUNDS}: no findings\n", "")


def test_findings_exit_with_one_and_say_where_and_how(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("## T {#a.b}\n```yaml clause\nseverity: lw\nresponse: comply\n```\n")
    done = bylaw("policy", "lint", str(tmp_path / "a.md"))
    machine = bylaw("policy", "lint", str(tmp_path / "a.md"), "--json")

    assert done.returncode == machine.returncode == 1
    assert done.stdout == "a.md:3: error BL001 severity cannot be 'lw'\n    fix: Did you mean `low`?\n1 finding\n"
    assert [(row["code"], row["file"], row["line"]) for row in json.loads(machine.stdout)] == [("BL001", "a.md", 3)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("policy", "lint", "no/such/place"),
        ("policy", "lint", "--nope"),
        ("policy", "show", REFUNDS, "money.refund-limt"),
        ("policy", "compile", REFUNDS, "--clause", "honesty.machine", "--budget", "20"),
        ("policy", "compile", REFUNDS, "--target", "poem"),
        ("policy", "compile", REFUNDS, "--budget", "many"),
        ("policy", "lint"),
        ("policy", "burn"),
        ("polcy",),
        ("policy", "show", "a\x1b[31m\nb"),
    ],
)
def test_an_error_is_one_line_of_what_and_one_of_what_next(arguments: tuple[str, ...]) -> None:
    done = bylaw(*arguments)
    lines = done.stderr.splitlines()

    assert done.returncode == 2
    assert done.stdout == ""
    assert [line[:7] for line in lines] == ["error: ", "  next:"]
    assert "\x1b" not in done.stderr


def test_the_version_and_a_help_that_fits_a_screen() -> None:
    texts = [bylaw(*words, "--help").stdout for words in ((), ("policy",), ("policy", "lint"), ("policy", "show"), ("policy", "compile"))]

    assert bylaw("--version").stdout.startswith("bylaw ")
    assert all(0 < text.count("\n") <= 45 for text in texts[:2])  # lists of commands
    assert all(0 < text.count("\n") <= 24 for text in texts[2:])


def test_show_and_compile_print_json_for_machines() -> None:
    shown = json.loads(bylaw("policy", "show", REFUNDS, "--json").stdout)
    clause = json.loads(bylaw("policy", "show", REFUNDS, "advice.legal", "--json").stdout)
    compiled = json.loads(bylaw("policy", "compile", REFUNDS, "--json").stdout)
    cards = json.loads(bylaw("policy", "compile", REFUNDS, "--target", "card", "--clause", "advice.legal", "--json").stdout)

    assert shown["digest"] == compiled["digest"]
    assert clause["response"] == "safe_complete"
    assert [list(row) for row in cards] == [["id", "card"]]


def test_show_and_compile_print_text_for_people() -> None:
    assert "money.refund-limit" in bylaw("policy", "show", REFUNDS).stdout
    assert "At run time:" in bylaw("policy", "show", REFUNDS, "money.refund-limit").stdout
    assert "---- advice.legal: excerpt, about" in bylaw("policy", "compile", REFUNDS).stdout


def test_a_terminal_without_letters_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("## Größe 🙂 {#a.b}\n```yaml clause\nseverity: low\nresponse: comply\n```\nIt MUST help.\n")
    done = bylaw("policy", "show", str(tmp_path / "a.md"), PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert done.returncode == 0
    assert "a.b" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_two_lines() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*BYLAW, "policy", "show", REFUNDS], stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: standard output: no space left on the device"
    assert len(done.stderr.splitlines()) == 2


def test_a_reader_who_leaves_early_hears_nothing() -> None:
    running = subprocess.Popen([*BYLAW, "policy", "compile", REFUNDS], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    said = running.stderr.read()
    running.stderr.close()

    assert running.wait() == 1
    assert said == b""


def test_an_interrupt_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    waiting = (
        "import bylaw.cli as c, signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background starts with it ignored
        "@c.app.command('wait')\ndef wait(path: str) -> None:\n    pathlib.Path(path).write_text('x')\n    time.sleep(60)\n"
        "c.main()"
    )
    line = [sys.executable, "-c", waiting, "wait", str(tmp_path / "started")]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as running:
        (tmp_path / "started").read_text()
        time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=180)

    assert running.returncode == 130
    assert said == "interrupted\n"


@pytest.mark.parametrize("cut", [100, 3000])
def test_what_python_compiled_and_a_full_disk_cut_short_is_named_and_no_interrupt(cut: int, tmp_path: Path) -> None:
    (tmp_path / "cut.py").write_text("\n".join(f"def f{n}(a):\n    return a + {n}" for n in range(99)))
    compiled = Path(py_compile.compile(str(tmp_path / "cut.py"), doraise=True) or "")
    compiled.write_bytes(compiled.read_bytes()[:cut])
    importing = "import bylaw.cli as c\n@c.app.command('load')\ndef load() -> None:\n    import cut\nc.main()"

    done = subprocess.run([sys.executable, "-c", importing, "load"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "error: a file that Python compiled was cut short, as by a full disk",
        f"  next: Delete every __pycache__ folder below {sys.prefix} and in bylaw's own.",
    ]


HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "numpy", "matplotlib", "jinja2")


def test_linting_loads_no_training_stack_and_no_cel_without_rules() -> None:
    script = "import sys\nfrom bylaw.cli import run\nrun(sys.argv[1:])\nprint(*sorted(sys.modules), file=sys.stderr)"

    def loaded(policy: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", script, "policy", "lint", str(ROOT / "policies" / policy)], capture_output=True, text=True, check=True
        )
        return {name.partition(".")[0] for name in done.stderr.split()}

    assert not loaded("refunds") & set(HEAVY)
    assert "cel_expr_python" in loaded("refunds")
    assert not loaded("policyworld") & {*HEAVY, "cel_expr_python", "google"}
