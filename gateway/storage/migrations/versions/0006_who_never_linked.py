"""who never linked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UNLINKED = sa.text("chat_hash IS NULL")


def upgrade() -> None:
    """Which people are to be forgotten, and how long keys were made for."""
    _unlinked()
    _lifetimes()


def _unlinked() -> None:
    """What finds the people who have no chat with the bot by when their link ended, so that they can be forgotten.

    Whose link was answered with no, or who took it back, has had no such time until now: they are as old as their row.
    """
    op.execute("UPDATE subscriber SET link_expires_at = created_at WHERE chat_hash IS NULL AND link_expires_at IS NULL")
    op.create_index(
        "ix_subscriber_unlinked_link_expires_at",
        "subscriber",
        ["link_expires_at"],
        unique=False,
        sqlite_where=_UNLINKED,
        postgresql_where=_UNLINKED,
    )


def _lifetimes() -> None:
    """What tells the end a key was made with from the one that a rotation set.

    Of keys that are there nobody knows which it is: they count as made with the end they have.
    """
    op.add_column("service_key", sa.Column("lifetime", sa.Float(precision=53), nullable=True))
    op.execute("UPDATE service_key SET lifetime = expires_at - created_at WHERE expires_at IS NOT NULL")
