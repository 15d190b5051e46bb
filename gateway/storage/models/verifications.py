"""Verifications, whom they went to, and what opens one that is answered in a chat."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from gateway.storage.models.columns import (
    blob_or_null,
    hash_key,
    index_where,
    key,
    number,
    number_or_null,
    string,
    string_or_null,
    time,
    time_or_null,
)


class Verification(SQLModel, table=True):
    """One question, whether a person holds an address, and the sealed code that answers it."""

    __table_args__ = (
        Index("ix_verification_service_id", "service", "id"),
        # What expires next, and nothing that has ended: the sweep stays flat however long the history is.
        index_where("ix_verification_pending_expires_at", "expires_at", where="status = 'pending'"),
        # What ends with the session it was bound to.
        index_where(
            "ix_verification_pending_session_hash",
            "session_hash",
            where="status = 'pending' AND session_hash IS NOT NULL",
        ),
    )

    id: str = key()
    service: str = string()
    #: ``gateway.delivery.lifecycle.VerificationStatus``.
    status: str = string()
    purpose: str = string()
    locale: str = string()
    #: JSON: address kind → masked address.
    to_masked: str = string()
    #: Sealed JSON: ``gateway.delivery.payload.Stop``, each as an array, the route in order. The address is ``null``
    #: while its subscriber has not linked; the whole is kept after the end, for support and for erasing.
    route_sealed: bytes | None = blob_or_null()
    #: Sealed code of this generation; wiped at the end.
    code_sealed: bytes | None = blob_or_null()
    #: Sealed JSON of the caller's template parameters; wiped at the end.
    params_sealed: bytes | None = blob_or_null()
    #: JSON: the names of the route's channels in order.
    route: str = string()
    #: 1, and one more with each new code.
    generation: int = number()
    #: Checks spent.
    checks: int = number()
    max_checks: int = number()
    #: Messages asked for by create and resend (a fallback is not one).
    sends: int = number()
    created_at: float = time()
    expires_at: float = time()
    #: When the next resend is allowed.
    resend_at: float = time()
    ended_at: float | None = time_or_null()
    client_ip: str | None = string_or_null()
    client_reference: str | None = string_or_null()
    #: The alphabet of its code, by which a given one is folded; ``NULL`` is digits.
    alphabet: str | None = string_or_null()
    #: Sealed JSON of what it is bound to, for its messages; wiped at the end.
    bind_sealed: bytes | None = blob_or_null()
    #: Keyed hash of what it is bound to; a check must bring the same.
    bind_hash: bytes | None = blob_or_null()
    #: Keyed hash of the service and the session it is bound to.
    session_hash: bytes | None = blob_or_null()
    #: The trusted context it was asked for from, whose budget of guesses it holds its checks back in; ``NULL`` is none.
    context: str | None = string_or_null()
    #: 1 where its first code is one that its service brought: to know that is not to have read it. ``NULL``: made here.
    own_code: int | None = number_or_null()


class Address(SQLModel, table=True):
    """Which verifications went to which address, by its keyed hash."""

    hash: bytes = hash_key()
    verification_id: str = key()


class Cooldown(SQLModel, table=True):
    """Until when a service may not send to an address again."""

    # An approval ends the cooldown that its verification started.
    __table_args__ = (Index("ix_cooldown_verification_id", "verification_id"),)

    service: str = key()
    hash: bytes = hash_key()
    #: When the send that started it was accepted.
    since: float = time()
    until: float = time()
    #: The verification whose send started it.
    verification_id: str = string()


class Challenge(SQLModel, table=True):
    """One way to open a reverse verification: the token of its link, or the short text. Neither is kept in plain."""

    __table_args__ = (
        Index("ix_challenge_verification_id", "verification_id"),
        Index("ix_challenge_expires_at", "expires_at"),
        index_where("ix_challenge_asked_chat_hash", "asked_chat_hash", where="asked_chat_hash IS NOT NULL"),
    )

    #: SHA-256 of the link's token (128 random bits), or the keyed hash of the text.
    hash: bytes = hash_key()
    verification_id: str = string()
    expires_at: float = time()
    #: The chat that opened it first (keyed hash); no other can.
    asked_chat_hash: bytes | None = blob_or_null()
