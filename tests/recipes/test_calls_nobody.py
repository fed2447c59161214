"""A run calls nobody: no hub is asked, and no library reports home what is trained here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes.listening import listening

ASK = "import contextlib, urllib.request as r\nwith contextlib.suppress(OSError): r.urlopen('https://models.invalid/api', timeout=20)"


def test_who_is_called_is_noted(tmp_path: Path) -> None:
    with listening(tmp_path / "called") as environment:
        subprocess.run([sys.executable, "-c", ASK], env=environment, check=True, timeout=60)

    assert (tmp_path / "called").read_text().startswith("CONNECT models.invalid:443 HTTP/1")


@pytest.mark.slow
def test_a_whole_run_calls_nobody(smoke: Path) -> None:
    assert (smoke.parent / "called").read_text() == ""
