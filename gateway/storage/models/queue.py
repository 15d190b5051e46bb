"""The queue: messages, the attempts at them, and the events that tell of both."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from gateway.storage.models.columns import (
    blob_or_null,
    index_where,
    key,
    number,
    number_or_null,
    string,
    string_or_null,
    time,
    time_or_null,
)


class Message(SQLModel, table=True):
    """One notice to one recipient on one channel: a row of the queue."""

    __table_args__ = (
        Index("ix_message_verification_id", "verification_id"),
        # The queue proper. Claims read these alone and stay flat whatever the table's length.
        index_where(
            "ix_message_queued_channel_service_due_at", "channel", "service", "due_at", where="status = 'queued'"
        ),
        index_where("ix_message_sending_due_at", "due_at", where="status = 'sending'"),
        # What is to be put right in a chat, and nothing of the channels that cannot.
        index_where("ix_message_revise_channel_at", "channel", "revise_at", where="revise_at IS NOT NULL"),
        # What still waits for a report of its delivery.
        index_where("ix_message_confirm_by", "confirm_by", where="confirm_by IS NOT NULL"),
    )

    id: str = key()
    verification_id: str = string()
    service: str = string()
    channel: str = string()
    #: Its place in the verification's route, from 0.
    step: int = number()
    #: ``gateway.delivery.lifecycle.MessageStatus``.
    status: str = string()
    #: Attempts begun; the number of the latest.
    attempts: int = number()
    #: Attempts given back before anything left; they count for nothing.
    skipped: int = number()
    #: When anybody may claim it: its retry time, or the end of the lease on it.
    due_at: float = time()
    #: The node that holds it, ``""`` when none does.
    lease: str = string()
    #: Which code it carries; an older generation is not sent any more.
    generation: int = number()
    #: Masked address.
    recipient: str = string()
    created_at: float = time()
    #: When its code dies; nothing is sent afterwards.
    expires_at: float = time()
    #: When its channel began with it; the channel's 8 s on a route are counted from here.
    started_at: float | None = time_or_null()
    finished_at: float | None = time_or_null()
    #: Why it failed: ``channels.base.Reason``.
    reason: str | None = string_or_null()
    provider_id: str | None = string_or_null()
    #: When what the person sees of it is to be put right: the code's death, or now, once it is dead. ``NULL`` where
    #: nothing can be (another kind of channel), or it was.
    revise_at: float | None = time_or_null()
    #: Tries at that so far; ``NULL`` is none.
    revisions: int | None = number_or_null()
    #: Attempts whose answer was lost; ``NULL`` is none.
    unknowns: int | None = number_or_null()
    #: When the next channel takes over unless a report of its delivery comes; ``NULL`` where nobody waits for one.
    confirm_by: float | None = time_or_null()
    #: When a newer message took its place: the next channel's, or one that was asked for.
    followed_at: float | None = time_or_null()
    #: Keyed hash of the address it goes to.
    recipient_hash: bytes | None = blob_or_null()
    #: 1 while it counts in its recipient's windows of sends, 2 while in its block of numbers alone; 0 once given back,
    #: ``NULL`` where it never did or no longer does.
    counted: int | None = number_or_null()
    #: Keyed hash of the block of phone numbers its address is in, where it has one.
    block_hash: bytes | None = blob_or_null()


class Attempt(SQLModel, table=True):
    """One call of ``Channel.deliver``; written before the call, so that a crash leaves evidence."""

    __table_args__ = (Index("ix_attempt_verification_id", "verification_id"),)

    message_id: str = key()
    #: From 1.
    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    verification_id: str = string()
    #: SHA-256 of the token a provider's callback carries.
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    #: The node that made it.
    node: str = string()
    started_at: float = time()
    finished_at: float | None = time_or_null()
    #: ``sent``, ``transient``, ``permanent``, ``unknown``, ``skipped``; ``NULL`` while under way.
    outcome: str | None = string_or_null()
    reason: str | None = string_or_null()
    provider_id: str | None = string_or_null()
    provider_code: str | None = string_or_null()


class Event(SQLModel, table=True):
    """One line of the timeline: what moved, when, why."""

    __table_args__ = (Index("ix_event_verification_id", "verification_id"),)

    id: str = key()
    at: float = time()
    #: ``verification.created``, ``message.sent`` …: all of them stand in ``gateway/events/event.py``.
    name: str = string()
    service: str = string()
    verification_id: str | None = string_or_null()
    message_id: str | None = string_or_null()
    channel: str | None = string_or_null()
    #: The attempt's number.
    attempt: int | None = number_or_null()
    outcome: str | None = string_or_null()
    reason: str | None = string_or_null()
    provider_code: str | None = string_or_null()
    #: Masked address.
    recipient: str | None = string_or_null()
    #: How long what is told of took, in milliseconds.
    milliseconds: float | None = time_or_null()
