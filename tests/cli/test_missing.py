"""Whoever lacks a package is told which extra brings it, as pyproject.toml has it."""

import tomllib
from pathlib import Path

import pytest

from bylaw.cli.telling import DISTRIBUTIONS, ended

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("module", "extras"),
    [
        ("sqlalchemy", "serve,pii"),
        ("sqlalchemy.orm", "serve,pii"),
        ("orjson", "serve,pii"),
        ("re2", "serve,pii"),
        ("alembic", "serve,pii"),
        ("aiohttp", "serve,pii"),
        ("phonenumbers", "serve,pii"),
        ("stdnum", "serve,pii"),
        ("torch", "align,eval"),
        ("trl", "align,eval"),
        ("numpy", "eval"),
        ("matplotlib", "eval"),
        ("ray", "scale"),
        ("pg8000", "pg"),
        ("inspect_ai", "inspect"),
        ("opentelemetry.sdk", "otel"),
        ("langchain_core", "langchain"),
        ("nobody_knows", "align,eval"),
    ],
)
def test_a_missing_package_names_its_extra(module: str, extras: str, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert ended(work) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: this command needs {module}, which is not installed",
        f"  next: pip install '.[{extras}]' in a clone of bylaw",
    ]
    assert all(one in EXTRAS for one in extras.split(","))


def test_every_name_that_differs_is_of_a_package_we_use() -> None:
    needed = {one.split("[")[0].split(">")[0].split("=")[0] for each in EXTRAS.values() for one in each}

    assert set(DISTRIBUTIONS.values()) <= needed
