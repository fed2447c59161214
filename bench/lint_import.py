"""What `bylaw policy lint` costs, in CPU seconds, best of 5: before it reads a line, with a small policy, and with a published one."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench import Row, row

TARGET_S: Final = 0.3
SPEC_TARGET_S: Final = 1.0
TRIES: Final = 5
REFUNDS: Final = Path(__file__).parents[1] / "policies" / "refunds"
SPEC: Final = REFUNDS.parents[2] / "shared" / "data" / "model_spec" / "model_spec.md"  # not ours to ship
CPU: Final = "import time; print(time.process_time())"
# The last module loads the CEL engine, which only a policy with rules needs.
IMPORTS: Final = "import bylaw.cli, bylaw.policy.lint, bylaw.policy.trial"
LINT: Final = f"from bylaw.cli import run; run(['policy', 'lint', {str(REFUNDS)!r}])"


def cpu_s(code: str) -> float:
    """CPU seconds of one fresh interpreter that runs the code; the last line it prints is its own clock."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{CPU}"], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def best(code: str) -> float:
    """The best of some tries; the first, which may compile modules, is thrown away."""
    cpu_s(code)
    return min(cpu_s(code) for _ in range(TRIES))


def spec_s() -> float:
    """CPU seconds of an import of the published Model Spec and a lint of what came of it, imports of modules aside."""
    from bylaw.policy.lint import lint  # noqa: PLC0415  # the interpreters above are measured without it
    from bylaw.policy.model_spec import import_model_spec  # noqa: PLC0415  # likewise

    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        import_model_spec(SPEC, Path(folder) / "out")
        lint(Path(folder) / "out")
        return time.process_time() - began


def measure() -> list[Row]:
    """A bare interpreter, the imports, and a whole lint; and the Model Spec, imported and linted, where its file lies."""
    found = [
        row("a bare interpreter", best("pass"), "CPU s"),
        row("and what `bylaw policy lint` imports, the CEL engine included", best(IMPORTS), "CPU s", TARGET_S),
        row("and a lint of policies/refunds", best(LINT), "CPU s"),
    ]
    if SPEC.is_file():
        spent = min(spec_s() for _ in range(TRIES))
        found.append(row("import and lint the published Model Spec", spent, "CPU s", SPEC_TARGET_S))
    return found
