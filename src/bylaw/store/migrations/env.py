"""What Alembic runs: the migrations, on the connection and in the transaction that `database.open` gives."""

from alembic import context

from bylaw.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="bylaw_schema",  # a PostgreSQL database may hold another program's `alembic_version`
)
context.run_migrations()
