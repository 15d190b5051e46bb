"""What services call with, and what they were answered."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from gateway.storage.models.columns import blob, hash_key, key, string, string_or_null, time, time_or_null


class ServiceKey(SQLModel, table=True):
    """An API key of a service. The secret itself is never stored."""

    __tablename__ = "service_key"

    #: The part of the key between ``otpg_`` and the secret.
    id: str = key()
    #: The table's name in config.toml: ``[services.<service>]``.
    service: str = string()
    #: What an operator calls it.
    name: str = string("")
    #: SHA-256 of the secret (256 random bits, so a fast hash is right).
    secret_hash: bytes = blob()
    created_at: float = time()
    revoked_at: float | None = time_or_null()
    #: What it may do (``gateway.api.keys.scopes``), parted by spaces. ``NULL``, of keys made before there were scopes, is what
    #: they could do: everything but ``admin``.
    scopes: str | None = string_or_null()
    #: When it ends by itself, or since it was rotated.
    expires_at: float | None = time_or_null()
    #: Networks (CIDR) it may be used from, parted by spaces; ``NULL`` is every one.
    networks: str | None = string_or_null()
    #: When it was used last, to the minute.
    used_at: float | None = time_or_null()
    #: Seconds it was made for, which a rotation leaves alone; ``NULL`` is without an end.
    lifetime: float | None = time_or_null()


class IdempotentAnswer(SQLModel, table=True):
    """The first answer to an ``Idempotency-Key``, sealed, for 24 hours."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (Index("ix_idempotent_answer_created_at", "created_at"),)

    service: str = key()
    #: SHA-256 of method, path and key.
    key_hash: bytes = hash_key()
    #: Empty: it is sealed with the answer, for an address can be tried against a plain hash. Of an older version, for a
    #: day, SHA-256 of the body as parsed: spelling and order of keys do not matter.
    fingerprint: bytes = blob()
    sealed: bytes = blob()
    created_at: float = time()
