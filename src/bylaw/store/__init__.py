"""The one database schema of the run time: ledger, approvals, keys, stops; SQLite by default, PostgreSQL by URL."""
