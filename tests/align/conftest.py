"""The shipped base, as in tests/models."""

from tests.models.conftest import base

__all__ = ["base"]
