"""The shipped base, loaded once, on one thread: two that share busy cores wait for each other."""

from collections.abc import Iterator

import pytest
import torch

from bylaw.models import local
from bylaw.models.local import LocalModel
from bylaw.models.targets import EMBEDDED


@pytest.fixture(scope="package")
def base() -> Iterator[LocalModel]:
    """The embedded model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield local.load(str(EMBEDDED), "embedded")
    torch.set_num_threads(threads)
