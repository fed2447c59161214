"""Alembic's folder: how a store of one version becomes a store of the next. Run by `database.open`."""
