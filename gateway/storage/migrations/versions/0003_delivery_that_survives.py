"""delivery that survives."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Reports that are waited for, queues by service, webhooks, and what nodes share of a channel.

    It only adds, so nodes of the version before go on with it; their claims sort what the index gave them sorted.
    """
    for name, kind in (("unknowns", sa.BigInteger()), ("confirm_by", sa.Float(53)), ("followed_at", sa.Float(53))):
        op.add_column("message", sa.Column(name, kind, nullable=True))
    op.drop_index("ix_message_queued_channel_due_at", table_name="message")
    _index_where(
        "ix_message_queued_channel_service_due_at", "message", ["channel", "service", "due_at"], "status = 'queued'"
    )
    _index_where("ix_message_confirm_by", "message", ["confirm_by"], "confirm_by IS NOT NULL")
    _webhooks()
    _nodes()


def _webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("verification_id", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.Float(precision=53), nullable=False),
        sa.Column("lease", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("finished_at", sa.Float(precision=53), nullable=True),
        sa.Column("answer", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    _index_where("ix_webhook_pending_service_due_at", "webhook", ["service", "due_at"], "status = 'pending'")
    op.create_index("ix_webhook_verification_id", "webhook", ["verification_id"], unique=False)
    op.create_table(
        "endpoint",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("url_hash", sa.LargeBinary(), nullable=False),
        sa.Column("disabled_at", sa.Float(precision=53), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("service", name=op.f("pk_endpoint")),
    )


def _nodes() -> None:
    op.create_table(
        "share",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("amount", sa.Float(precision=53), nullable=False),
        sa.Column("until", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("channel", "node", name=op.f("pk_share")),
    )
    op.create_table(
        "pause",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("until", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_pause")),
    )
    op.create_table(
        "turn",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("channel", "hash", name=op.f("pk_turn")),
    )
    op.create_index("ix_turn_at", "turn", ["at"], unique=False)


def _index_where(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=False, sqlite_where=condition, postgresql_where=condition)
