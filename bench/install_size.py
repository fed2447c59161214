"""How much `pip install .[serve]` puts on the disk: the site-packages of a fresh environment, without pip and what it compiles.

The environment is made in the temporary folder, from the package index; where that cannot be, the row says so. The packages that weigh
most follow, each with all that it owns there.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench import Row, row

TARGET_MB: Final = 170.0
SHOWN: Final = 8
INSTALL_S: Final = 900
ROOT: Final = Path(__file__).parents[1]


def measure() -> list[Row]:
    """All of it, and what weighs most."""
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where) / "venv"
        steps = (
            [sys.executable, "-m", "venv", "--without-pip", str(folder)],
            [sys.executable, "-m", "pip", "--python", str(folder), "install", "-q", "--no-compile", f"{ROOT}[serve]"],
        )
        for step in steps:
            try:
                done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            except subprocess.TimeoutExpired:
                return [row(f"install: not measured, it took over {INSTALL_S} s", float("nan"), "")]
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:100]
                return [row(f"install: not measured, {said}", float("nan"), "")]
        packages = next(folder.glob("lib/python*/site-packages"))
        sizes = {one.name: size_mb(one) for one in packages.iterdir()}
    most = sorted(sizes.items(), key=lambda one: -one[1])[:SHOWN]
    return [
        row("install: site-packages of .[serve]", sum(sizes.values()), "MB", TARGET_MB),
        *(row(f"install: {name}", size, "MB") for name, size in most),
    ]


def size_mb(path: Path) -> float:
    """What a file or a folder takes on the disk."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_blocks for one in files) * 512 / 2**20
