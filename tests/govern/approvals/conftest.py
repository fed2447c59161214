"""The same stores as in tests/store: SQLite always, PostgreSQL where it is installed."""

from tests.store.conftest import cluster, folder, shared, store, url

__all__ = ["cluster", "folder", "shared", "store", "url"]
