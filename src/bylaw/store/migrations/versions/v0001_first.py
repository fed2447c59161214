"""The first schema: approvals and their answers, API keys, emergency stops, processes."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None


def upgrade() -> None:
    """Make every table of the first version."""
    _approvals()
    _keys_and_stops()
    _processes()


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("route", sa.String(16), nullable=False),
        sa.Column("subject", sa.LargeBinary),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("policy", sa.String(71), nullable=False),
        sa.Column("clauses", sa.Text, nullable=False),
        sa.Column("needs", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("live_call", sa.String(71)),
        sa.Column("edited_by", sa.Text, nullable=False),
        sa.Column("replaced_by", sa.String(32), nullable=False),
        sa.Column("claim", sa.String(71), nullable=False),
        sa.Column("process", sa.String(32), nullable=False),
        sa.Column("ended_by", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("result", sa.String(71), nullable=False),
        sa.Column("notice", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("uq_approvals_live_call", "approvals", ["live_call"], unique=True)
    op.create_index("ix_approvals_state_requested_at", "approvals", ["state", "requested_at"])
    op.create_index("ix_approvals_requester_state", "approvals", ["requester", "state"])
    op.create_table(
        "approval_answers",
        sa.Column("approval", sa.String(32), nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("yes", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("approval", "person", name="pk_approval_answers"),
        sa.ForeignKeyConstraint(["approval"], ["approvals.id"], name="fk_approval_answers_approval"),
    )


def _keys_and_stops() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(71), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("jurisdiction", sa.Text, nullable=False),
        sa.Column("requests_per_min", sa.Integer),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_table(
        "stops",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("stopped_by", sa.Text, nullable=False),
        sa.Column("stopped_at", sa.BigInteger, nullable=False),
        sa.Column("lifted_by", sa.Text, nullable=False),
        sa.Column("lifted_at", sa.BigInteger),
        sa.Column("lifted_reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stops"),
    )
    op.create_index("ix_stops_lifted_at", "stops", ["lifted_at"])


def _processes() -> None:
    op.create_table(
        "processes",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("born", sa.Text, nullable=False),
        sa.Column("beat_at", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )
    seen = op.create_table(
        "time_seen",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_time_seen"),
    )
    versions = op.create_table(
        "versions",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_versions"),
    )
    op.bulk_insert(seen, [{"id": 1, "at": 0}])
    op.bulk_insert(versions, [{"name": name, "version": 0} for name in ("keys", "policy", "stops")])
