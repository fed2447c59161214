"""The policy that is shipped for the embedded world, and its words."""

from pathlib import Path

import pytest

from bylaw.policy.parse import load
from bylaw.policyworld.dialect import WorldDialect, dialect
from bylaw.types import Policy


@pytest.fixture(scope="package")
def policy() -> Policy:
    """policies/policyworld."""
    return load(Path(__file__).parents[2] / "policies" / "policyworld")


@pytest.fixture(scope="package")
def words(policy: Policy) -> WorldDialect:
    """The policy in the world's words."""
    return dialect(policy)
