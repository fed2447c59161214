"""What `bylaw policy lint` costs before it reads a line: CPU seconds of a fresh interpreter and its imports, best of 5."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from bench import Row, row

TARGET_S: Final = 0.3
TRIES: Final = 5
REFUNDS: Final = Path(__file__).parents[1] / "policies" / "refunds"
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


def measure() -> list[Row]:
    """A bare interpreter, the imports, and a whole lint."""
    return [
        row("a bare interpreter", best("pass"), "CPU s"),
        row("and what `bylaw policy lint` imports, the CEL engine included", best(IMPORTS), "CPU s", TARGET_S),
        row("and a lint of policies/refunds", best(LINT), "CPU s"),
    ]
