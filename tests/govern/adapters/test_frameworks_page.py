"""The examples of docs/frameworks.md run, and print what the page says."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.models.function import FunctionModel

from tests.govern.adapters.test_openai_agents import Scripted
from tests.govern.adapters.test_pydantic_ai import wanting

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "frameworks.md").read_text("utf-8")
WISHES: list[list[tuple[str, Any]]] = [[("refund", {"order": 81, "amount": amount, "reason": ""})] for amount in (40.0, 640.0)]
FIRST, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PRINTED = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def model_for(code: str) -> Scripted | FunctionModel:
    return wanting(*WISHES) if "pydantic_ai" in code else Scripted(tuple(WISHES))


@pytest.mark.slow
@pytest.mark.parametrize("at", range(3))
def test_the_examples_of_the_page_run_and_print_what_the_page_says(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(FIRST + EXAMPLES[at], "docs/frameworks.md", "exec"), names)  # the page is ours
    if "ask" in names:
        asyncio.run(names["ask"](model_for(EXAMPLES[at])))
    names["guard"].close()

    assert len(EXAMPLES) == len(PRINTED) == 3
    assert capsys.readouterr().out == PRINTED[at]
