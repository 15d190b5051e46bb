"""What applications are told, and where they no longer want to be."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from gateway.storage.models.columns import (
    blob,
    index_where,
    key,
    number,
    number_or_null,
    string,
    string_or_null,
    time,
    time_or_null,
)


class Webhook(SQLModel, table=True):
    """One move an application is told of: a row of a queue of its own."""

    __table_args__ = (
        # Claims go service by service, so that a dead receiver holds up nobody else's.
        index_where("ix_webhook_pending_service_due_at", "service", "due_at", where="status = 'pending'"),
        Index("ix_webhook_verification_id", "verification_id"),
    )

    #: The same on every try: receivers know a repetition by it.
    id: str = key()
    service: str = string()
    #: ``verification.approved``, ``message.sent`` …
    name: str = string()
    verification_id: str | None = string_or_null()
    #: JSON, without a code and with masked addresses alone.
    body: str = string()
    #: ``pending``, ``delivered``, ``failed``, or ``dropped`` where the endpoint was disabled.
    status: str = string()
    #: Tries begun so far.
    tries: int = number()
    #: When anybody may claim it: its retry time, or the end of the lease on it.
    due_at: float = time()
    #: The node that holds it, ``""`` when none does.
    lease: str = string()
    created_at: float = time()
    finished_at: float | None = time_or_null()
    #: The HTTP status of the latest answer, ``NULL`` where none came.
    answer: int | None = number_or_null()
    #: Why the latest try failed.
    reason: str | None = string_or_null()


class Endpoint(SQLModel, table=True):
    """A service's receiver that wants no more webhooks. Another URL is another receiver."""

    service: str = key()
    #: SHA-256 of the URL.
    url_hash: bytes = blob()
    disabled_at: float = time()
    reason: str = string()
