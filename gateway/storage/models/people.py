"""People who opened the bot: what it knows of them, heard from them and answers them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index
from sqlmodel import Field, SQLModel

from gateway.storage.models.columns import (
    blob,
    blob_or_null,
    hash_key,
    index_where,
    key,
    number,
    string,
    string_or_null,
    time,
    time_or_null,
)


class Subscriber(SQLModel, table=True):
    """A person who opened, or was asked to open, a chat with the bot."""

    __table_args__ = (
        Index("uq_subscriber_service_reference_hash", "service", "reference_hash", unique=True),
        Index("ix_subscriber_chat_hash", "chat_hash"),
        Index("uq_subscriber_link_token_hash", "link_token_hash", unique=True),
        index_where("ix_subscriber_asked_chat_hash", "asked_chat_hash", where="asked_chat_hash IS NOT NULL"),
        index_where("ix_subscriber_unlinked_link_expires_at", "link_expires_at", where="chat_hash IS NULL"),
    )

    id: str = key()
    service: str = string()
    #: Keyed hash of the service's own reference for the person.
    reference_hash: bytes = blob()
    #: Sealed JSON: the reference and, where given, the phone.
    person_sealed: bytes = blob()
    #: ``gateway.delivery.lifecycle.SubscriberStatus``.
    status: str = string()
    #: Sealed chat address; ``NULL`` until linked.
    chat_sealed: bytes | None = blob_or_null()
    #: Keyed hash of it: one chat may be linked for several services.
    chat_hash: bytes | None = blob_or_null()
    #: SHA-256 of the link token's 128 bits; ``NULL`` once used.
    link_token_hash: bytes | None = blob_or_null()
    #: When the latest link ends, or ended: by its time, by a no, or as it was taken back; ``NULL`` of one that linked.
    link_expires_at: float | None = time_or_null()
    #: The chat that opened the link and has not confirmed yet (keyed hash).
    asked_chat_hash: bytes | None = blob_or_null()
    #: Sealed display name of the linked person.
    display_name_sealed: bytes | None = blob_or_null()
    created_at: float = time()
    linked_at: float | None = time_or_null()


class Chat(SQLModel, table=True):
    """What the bot knows of one chat, whoever of the services it is linked to.

    One with nothing in ``chat_sealed`` is no chat, but a lock that outlives its person's data (``conversation.erasing``).
    """

    __table_args__ = (Index("uq_chat_phone_hash", "phone_hash", unique=True),)

    #: Keyed hash of the chat's address, which is sealed beside it.
    hash: bytes = hash_key()
    chat_sealed: bytes = blob()
    #: The language its person chose; ``NULL`` follows their client.
    language: str | None = string_or_null()
    #: The language their client tells.
    told_language: str | None = string_or_null()
    #: The phone number its person proved by sharing their contact: keyed hash, sealed, masked, and when.
    phone_hash: bytes | None = blob_or_null()
    phone_sealed: bytes | None = blob_or_null()
    phone_masked: str | None = string_or_null()
    proved_at: float | None = time_or_null()
    #: Until when its person wants no codes at all.
    locked_until: float | None = time_or_null()
    #: When its person blocked the bot; ``NULL`` once it is let in again.
    blocked_at: float | None = time_or_null()
    created_at: float = time()


class Mute(SQLModel, table=True):
    """A service whose codes a person wants elsewhere."""

    chat_hash: bytes = hash_key()
    service: str = key()
    created_at: float = time()


class Heard(SQLModel, table=True):
    """An update of a bot that was taken in: a provider that repeats it is heard once."""

    __table_args__ = (Index("ix_heard_at", "at"),)

    channel: str = key()
    #: The provider's number of it.
    update_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    at: float = time()


class OutgoingReply(SQLModel, table=True):
    """An answer of the bot on its way. The row goes once it is sent: texts of a conversation are not kept."""

    __tablename__ = "reply"
    __table_args__ = (Index("ix_reply_channel_due_at", "channel", "due_at"),)

    id: str = key()
    channel: str = string()
    #: Sealed JSON of the chat's address and the reply.
    sealed: bytes = blob()
    #: When anybody may claim it: its retry time, or the end of the lease on it.
    due_at: float = time()
    #: The node that holds it, ``""`` when none does.
    lease: str = string()
    #: Tries at sending it so far.
    tries: int = number()
    created_at: float = time()
