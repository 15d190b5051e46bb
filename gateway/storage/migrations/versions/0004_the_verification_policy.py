"""the verification policy."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is counted to refuse too much, what codes are bound to, proofs, authenticators, and what keys may do.

    It only adds, so nodes of the version before go on with it; what they send is not counted.
    """
    _columns()
    _recipients()
    _guesses()
    _trusted()
    _blocks()
    _visitors()
    _tallies()
    _signing_keys()
    _authenticators()
    _recovery_codes()
    _throttles()


def _columns() -> None:
    _add("message", recipient_hash=sa.LargeBinary(), counted=sa.BigInteger(), block_hash=sa.LargeBinary())
    _add("service_key", scopes=sa.Text(), expires_at=sa.Float(53), networks=sa.Text(), used_at=sa.Float(53))
    _add(
        "verification",
        alphabet=sa.Text(),
        bind_sealed=sa.LargeBinary(),
        bind_hash=sa.LargeBinary(),
        session_hash=sa.LargeBinary(),
        context=sa.Text(),
    )
    _index_where(
        "ix_verification_pending_session_hash",
        "verification",
        ["session_hash"],
        "status = 'pending' AND session_hash IS NOT NULL",
    )


def _recipients() -> None:
    op.create_table(
        "recipient",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("ten_minutes", sa.BigInteger(), nullable=False),
        sa.Column("ten_minutes_until", sa.Float(precision=53), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("hour_until", sa.Float(precision=53), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("day_until", sa.Float(precision=53), nullable=False),
        sa.Column("wrong", sa.BigInteger(), nullable=False),
        sa.Column("code_1", sa.LargeBinary(), nullable=True),
        sa.Column("code_2", sa.LargeBinary(), nullable=True),
        sa.Column("code_3", sa.LargeBinary(), nullable=True),
        sa.Column("code_4", sa.LargeBinary(), nullable=True),
        sa.Column("code_5", sa.LargeBinary(), nullable=True),
        sa.Column("codes_until", sa.Float(precision=53), nullable=False),
        sa.Column("forget_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recipient")),
    )
    op.create_index("ix_recipient_forget_at", "recipient", ["forget_at"], unique=False)


def _guesses() -> None:
    op.create_table(
        "guess",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("hour_until", sa.Float(precision=53), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("day_until", sa.Float(precision=53), nullable=False),
        sa.Column("streak", sa.BigInteger(), nullable=False),
        sa.Column("locked_until", sa.Float(precision=53), nullable=True),
        sa.Column("forget_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("service", "purpose", "hash", "context", name=op.f("pk_guess")),
    )
    op.create_index("ix_guess_forget_at", "guess", ["forget_at"], unique=False)


def _trusted() -> None:
    op.create_table(
        "trusted",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("until", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("service", "hash", "context", name=op.f("pk_trusted")),
    )
    op.create_index("ix_trusted_until", "trusted", ["until"], unique=False)


def _blocks() -> None:
    op.create_table(
        "block",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sends", sa.BigInteger(), nullable=False),
        sa.Column("approved", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Float(precision=53), nullable=False),
        sa.Column("rests_until", sa.Float(precision=53), nullable=True),
        sa.Column("forget_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_block")),
    )
    op.create_index("ix_block_forget_at", "block", ["forget_at"], unique=False)


def _visitors() -> None:
    op.create_table(
        "visitor",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_visitor")),
    )
    op.create_index("ix_visitor_until", "visitor", ["until"], unique=False)


def _tallies() -> None:
    op.create_table(
        "tally",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("window_at", sa.Float(precision=53), nullable=False),
        sa.Column("amount", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("service", "node", "kind", name=op.f("pk_tally")),
    )
    op.create_index("ix_tally_window_at", "tally", ["window_at"], unique=False)


def _signing_keys() -> None:
    op.create_table(
        "signing_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("private_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("signs_from", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_key")),
    )


def _authenticators() -> None:
    op.create_table(
        "authenticator",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("reference_hash", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("person_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("digits", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.BigInteger(), nullable=True),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("ahead", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("activated_at", sa.Float(precision=53), nullable=True),
        sa.Column("used_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authenticator")),
    )
    op.create_index(
        "ix_authenticator_service_reference_hash", "authenticator", ["service", "reference_hash"], unique=False
    )
    _index_where("ix_authenticator_pending_created_at", "authenticator", ["created_at"], "status = 'pending'")


def _recovery_codes() -> None:
    op.create_table(
        "recovery_code",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("authenticator_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recovery_code")),
    )
    op.create_index("ix_recovery_code_authenticator_id", "recovery_code", ["authenticator_id"], unique=False)


def _throttles() -> None:
    op.create_table(
        "throttle",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("reference_hash", sa.LargeBinary(), nullable=False),
        sa.Column("authenticator_id", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("locked_until", sa.Float(precision=53), nullable=True),
        sa.Column("forget_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("service", "reference_hash", "authenticator_id", name=op.f("pk_throttle")),
    )
    op.create_index("ix_throttle_forget_at", "throttle", ["forget_at"], unique=False)


def _add(table: str, **columns: sa.types.TypeEngine[Any]) -> None:
    for name, kind in columns.items():
        op.add_column(table, sa.Column(name, kind, nullable=True))


def _index_where(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=False, sqlite_where=condition, postgresql_where=condition)
