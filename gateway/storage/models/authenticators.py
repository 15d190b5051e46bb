"""Authenticator apps (TOTP, HOTP), recovery codes, and how often a person failed at them."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from gateway.storage.models.columns import (
    blob,
    hash_key,
    index_where,
    key,
    number,
    number_or_null,
    string,
    time,
    time_or_null,
)


class Authenticator(SQLModel, table=True):
    """One enrolled authenticator app of one person."""

    __table_args__ = (
        Index("ix_authenticator_service_reference_hash", "service", "reference_hash"),
        index_where("ix_authenticator_pending_created_at", "created_at", where="status = 'pending'"),
    )

    id: str = key()
    service: str = string()
    #: Keyed hash of the service's own reference for the person, the same as a subscriber's.
    reference_hash: bytes = blob()
    #: ``totp`` or ``hotp``.
    type: str = string()
    #: ``gateway.verification.authenticators.view.AuthenticatorStatus``.
    status: str = string()
    #: Sealed secret, 160 bits.
    secret_sealed: bytes = blob()
    #: Sealed JSON: reference, account and issuer.
    person_sealed: bytes = blob()
    #: ``SHA1``, ``SHA256``, ``SHA512``.
    algorithm: str = string()
    #: Characters of a code.
    digits: int = number()
    #: Seconds of a step; ``NULL`` for HOTP, which has none.
    period: int | None = number_or_null()
    #: The lowest step (TOTP) or counter (HOTP) that may still be accepted.
    counter: int = number()
    #: The counter after a code that came from too far ahead: a code of exactly this one, given next, is accepted.
    ahead: int | None = number_or_null()
    created_at: float = time()
    activated_at: float | None = time_or_null()
    #: When a code of it was right last.
    used_at: float | None = time_or_null()


class RecoveryCode(SQLModel, table=True):
    """A code that takes an authenticator's place once; the row goes when it is used."""

    __tablename__ = "recovery_code"
    __table_args__ = (Index("ix_recovery_code_authenticator_id", "authenticator_id"),)

    #: Keyed hash of authenticator and code.
    hash: bytes = hash_key()
    authenticator_id: str = string()


class Throttle(SQLModel, table=True):
    """How often a person failed at an authenticator; in a row of the person's own, until when they have to wait."""

    __table_args__ = (Index("ix_throttle_forget_at", "forget_at"),)

    service: str = key()
    #: Keyed hash of the service's own reference for the person.
    reference_hash: bytes = hash_key()
    #: ``""`` in the person's own row. What it names may be deleted: its failures count on.
    authenticator_id: str = key()
    #: Failures in a row; 0 in the person's own row.
    failures: int = number()
    #: Until when nothing is compared, in the person's own row.
    locked_until: float | None = time_or_null()
    #: When the failures no longer count.
    forget_at: float = time()
