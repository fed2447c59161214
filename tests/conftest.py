"""Every test process, and every process it starts: one thread, no network, no chatter. Set before anything imports torch."""

import gc
import os
import sys
from collections.abc import Generator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some hundred child processes compiles bylaw again

from hypothesis import settings  # see above

settings.register_profile("house", deadline=None)  # a busy machine fails no law
settings.register_profile("quick", deadline=None, max_examples=15)  # `make check`: a law is looked at, `make test` tries it in earnest
settings.load_profile("house")
sys.dont_write_bytecode = False  # else each test process compiles every test


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No garbage is looked for while everything is imported, which makes none and takes a quarter longer; nor in it, afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first: begun last, it would be waited for alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
