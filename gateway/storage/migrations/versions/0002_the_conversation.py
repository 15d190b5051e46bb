"""the conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What people write to the bot, what it answers, and what it puts right in a chat."""
    op.add_column("message", sa.Column("revise_at", sa.Float(precision=53), nullable=True))
    op.add_column("message", sa.Column("revisions", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_message_revise_channel_at",
        "message",
        ["channel", "revise_at"],
        unique=False,
        sqlite_where=sa.text("revise_at IS NOT NULL"),
        postgresql_where=sa.text("revise_at IS NOT NULL"),
    )

    op.create_table(
        "chat",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("chat_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("told_language", sa.Text(), nullable=True),
        sa.Column("phone_hash", sa.LargeBinary(), nullable=True),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_masked", sa.Text(), nullable=True),
        sa.Column("proved_at", sa.Float(precision=53), nullable=True),
        sa.Column("locked_until", sa.Float(precision=53), nullable=True),
        sa.Column("blocked_at", sa.Float(precision=53), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_chat")),
    )
    op.create_index("uq_chat_phone_hash", "chat", ["phone_hash"], unique=True)

    op.create_table(
        "mute",
        sa.Column("chat_hash", sa.LargeBinary(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("chat_hash", "service", name=op.f("pk_mute")),
    )

    op.create_table(
        "challenge",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("verification_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.Column("asked_chat_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_challenge")),
    )
    op.create_index("ix_challenge_verification_id", "challenge", ["verification_id"], unique=False)
    op.create_index("ix_challenge_expires_at", "challenge", ["expires_at"], unique=False)

    # Anybody may press and write at any time: what a chat was asked is found without reading the table.
    for table in ("challenge", "subscriber"):
        op.create_index(
            f"ix_{table}_asked_chat_hash",
            table,
            ["asked_chat_hash"],
            unique=False,
            sqlite_where=sa.text("asked_chat_hash IS NOT NULL"),
            postgresql_where=sa.text("asked_chat_hash IS NOT NULL"),
        )

    op.create_table(
        "heard",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("update_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("channel", "update_id", name=op.f("pk_heard")),
    )
    op.create_index("ix_heard_at", "heard", ["at"], unique=False)

    op.create_table(
        "reply",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("due_at", sa.Float(precision=53), nullable=False),
        sa.Column("lease", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reply")),
    )
    op.create_index("ix_reply_channel_due_at", "reply", ["channel", "due_at"], unique=False)


def downgrade() -> None:
    """Undo it."""
    op.drop_index("ix_subscriber_asked_chat_hash", "subscriber")
    for table in ("reply", "heard", "challenge", "mute", "chat"):
        op.drop_table(table)
    op.drop_index("ix_message_revise_channel_at", "message")
    op.drop_column("message", "revisions")
    op.drop_column("message", "revise_at")
