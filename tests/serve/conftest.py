"""The same empty databases as in tests/store: SQLite always, PostgreSQL where it is installed."""

from tests.store.conftest import cluster, folder, url

__all__ = ["cluster", "folder", "url"]
