"""The tables. Times are seconds since the Unix epoch (UTC) as double precision, on both engines.

Nothing in here can be read by who holds the database alone: codes, parameters and addresses are sealed
(``sealing.py``), look-ups go by keyed hashes, and what people may see is stored masked.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

# Set before any table is made, so that migrations on both engines know constraints by the same names.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _index_where(name: str, *columns: str, where: str) -> Index:
    """Return an index of those rows alone that a condition holds for, on both engines."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def _key() -> Any:
    return Field(sa_column=Column(Text, primary_key=True))


def _hash_key() -> Any:
    return Field(sa_column=Column(LargeBinary, primary_key=True))


def _text(default: str | None = None) -> Any:
    return Field(sa_column=Column(Text, nullable=False), default=default)


def _text_or_null() -> Any:
    return Field(sa_column=Column(Text, nullable=True), default=None)


def _number() -> Any:
    return Field(sa_column=Column(BigInteger, nullable=False))


def _number_or_null() -> Any:
    return Field(sa_column=Column(BigInteger, nullable=True), default=None)


def _time() -> Any:
    return Field(sa_column=Column(Float(53), nullable=False))


def _time_or_null() -> Any:
    return Field(sa_column=Column(Float(53), nullable=True), default=None)


def _bytes() -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=False))


def _bytes_or_null() -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=True), default=None)


class ServiceKey(SQLModel, table=True):
    """An API key of a service. The secret itself is never stored."""

    __tablename__ = "service_key"

    #: The part of the key between ``otpg_`` and the secret.
    id: str = _key()
    #: The table's name in config.toml: ``[services.<service>]``.
    service: str = _text()
    #: What an operator calls it.
    name: str = _text("")
    #: SHA-256 of the secret (256 random bits, so a fast hash is right).
    secret_hash: bytes = _bytes()
    created_at: float = _time()
    revoked_at: float | None = _time_or_null()


class Secret(SQLModel, table=True):
    """A key the gateway made for itself, sealed by the ring: the one behind look-up hashes."""

    name: str = _key()
    sealed: bytes = _bytes()
    created_at: float = _time()


class Verification(SQLModel, table=True):
    """One question, whether a person holds an address, and the sealed code that answers it."""

    __table_args__ = (
        Index("ix_verification_service_id", "service", "id"),
        # What expires next, and nothing that has ended: the sweep stays flat however long the history is.
        _index_where("ix_verification_pending_expires_at", "expires_at", where="status = 'pending'"),
    )

    id: str = _key()
    service: str = _text()
    #: ``gateway.delivery.lifecycle.VerificationStatus``.
    status: str = _text()
    purpose: str = _text()
    locale: str = _text()
    #: JSON: address kind → masked address.
    to_masked: str = _text()
    #: Sealed JSON: ``[[channel, address, masked address, hash, locale], …]``, the route in order. The address is ``null``
    #: while its subscriber has not linked; the whole is kept after the end, for support and for erasing.
    route_sealed: bytes | None = _bytes_or_null()
    #: Sealed code of this generation; wiped at the end.
    code_sealed: bytes | None = _bytes_or_null()
    #: Sealed JSON of the caller's template parameters; wiped at the end.
    params_sealed: bytes | None = _bytes_or_null()
    #: JSON: the names of the route's channels in order.
    route: str = _text()
    #: 1, and one more with each new code.
    generation: int = _number()
    #: Checks spent.
    checks: int = _number()
    max_checks: int = _number()
    #: Messages asked for by create and resend (a fallback is not one).
    sends: int = _number()
    created_at: float = _time()
    expires_at: float = _time()
    #: When the next resend is allowed.
    resend_at: float = _time()
    ended_at: float | None = _time_or_null()
    client_ip: str | None = _text_or_null()
    client_reference: str | None = _text_or_null()


class Address(SQLModel, table=True):
    """Which verifications went to which address, by its keyed hash."""

    hash: bytes = _hash_key()
    verification_id: str = _key()


class Cooldown(SQLModel, table=True):
    """Until when a service may not send to an address again."""

    # An approval ends the cooldown that its verification started.
    __table_args__ = (Index("ix_cooldown_verification_id", "verification_id"),)

    service: str = _key()
    hash: bytes = _hash_key()
    #: When the send that started it was accepted.
    since: float = _time()
    until: float = _time()
    #: The verification whose send started it.
    verification_id: str = _text()


class Message(SQLModel, table=True):
    """One notice to one recipient on one channel: a row of the queue."""

    __table_args__ = (
        Index("ix_message_verification_id", "verification_id"),
        # The queue proper. Claims read these alone and stay flat whatever the table's length.
        _index_where("ix_message_queued_channel_due_at", "channel", "due_at", where="status = 'queued'"),
        _index_where("ix_message_sending_due_at", "due_at", where="status = 'sending'"),
        # What is to be put right in a chat, and nothing of the channels that cannot.
        _index_where("ix_message_revise_channel_at", "channel", "revise_at", where="revise_at IS NOT NULL"),
    )

    id: str = _key()
    verification_id: str = _text()
    service: str = _text()
    channel: str = _text()
    #: Its place in the verification's route, from 0.
    step: int = _number()
    #: ``gateway.delivery.lifecycle.MessageStatus``.
    status: str = _text()
    #: Attempts begun; the number of the latest.
    attempts: int = _number()
    #: Attempts given back before anything left; they count for nothing.
    skipped: int = _number()
    #: When anybody may claim it: its retry time, or the end of the lease on it.
    due_at: float = _time()
    #: The node that holds it, ``""`` when none does.
    lease: str = _text()
    #: Which code it carries; an older generation is not sent any more.
    generation: int = _number()
    #: Masked address.
    recipient: str = _text()
    created_at: float = _time()
    #: When its code dies; nothing is sent afterwards.
    expires_at: float = _time()
    #: When its channel began with it; the channel's 8 s on a route are counted from here.
    started_at: float | None = _time_or_null()
    finished_at: float | None = _time_or_null()
    #: Why it failed: ``channels.base.Reason``.
    reason: str | None = _text_or_null()
    provider_id: str | None = _text_or_null()
    #: When what the person sees of it is to be put right: the code's death, or now, once it is dead. ``NULL`` where
    #: nothing can be (another kind of channel), or it was.
    revise_at: float | None = _time_or_null()
    #: Tries at that so far; ``NULL`` is none.
    revisions: int | None = _number_or_null()


class Attempt(SQLModel, table=True):
    """One call of ``Channel.deliver``; written before the call, so that a crash leaves evidence."""

    __table_args__ = (Index("ix_attempt_verification_id", "verification_id"),)

    message_id: str = _key()
    #: From 1.
    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    verification_id: str = _text()
    #: SHA-256 of the token a provider's callback carries.
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    #: The node that made it.
    node: str = _text()
    started_at: float = _time()
    finished_at: float | None = _time_or_null()
    #: ``sent``, ``transient``, ``permanent``, ``unknown``, ``skipped``; ``NULL`` while under way.
    outcome: str | None = _text_or_null()
    reason: str | None = _text_or_null()
    provider_id: str | None = _text_or_null()
    provider_code: str | None = _text_or_null()


class Event(SQLModel, table=True):
    """One line of the timeline: what moved, when, why."""

    __table_args__ = (Index("ix_event_verification_id", "verification_id"),)

    id: str = _key()
    at: float = _time()
    #: ``verification.created``, ``message.sent`` …: all of them stand in ``gateway/events/event.py``.
    name: str = _text()
    service: str = _text()
    verification_id: str | None = _text_or_null()
    message_id: str | None = _text_or_null()
    channel: str | None = _text_or_null()
    #: The attempt's number.
    attempt: int | None = _number_or_null()
    outcome: str | None = _text_or_null()
    reason: str | None = _text_or_null()
    provider_code: str | None = _text_or_null()
    #: Masked address.
    recipient: str | None = _text_or_null()
    #: How long what is told of took, in milliseconds.
    milliseconds: float | None = _time_or_null()


class Subscriber(SQLModel, table=True):
    """A person who opened, or was asked to open, a chat with the bot."""

    __table_args__ = (
        Index("uq_subscriber_service_reference_hash", "service", "reference_hash", unique=True),
        Index("ix_subscriber_chat_hash", "chat_hash"),
        Index("uq_subscriber_link_token_hash", "link_token_hash", unique=True),
        _index_where("ix_subscriber_asked_chat_hash", "asked_chat_hash", where="asked_chat_hash IS NOT NULL"),
    )

    id: str = _key()
    service: str = _text()
    #: Keyed hash of the service's own reference for the person.
    reference_hash: bytes = _bytes()
    #: Sealed JSON: the reference and, where given, the phone.
    person_sealed: bytes = _bytes()
    #: ``gateway.delivery.lifecycle.SubscriberStatus``.
    status: str = _text()
    #: Sealed chat address; ``NULL`` until linked.
    chat_sealed: bytes | None = _bytes_or_null()
    #: Keyed hash of it: one chat may be linked for several services.
    chat_hash: bytes | None = _bytes_or_null()
    #: SHA-256 of the link token's 128 bits; ``NULL`` once used.
    link_token_hash: bytes | None = _bytes_or_null()
    link_expires_at: float | None = _time_or_null()
    #: The chat that opened the link and has not confirmed yet (keyed hash).
    asked_chat_hash: bytes | None = _bytes_or_null()
    #: Sealed display name of the linked person.
    display_name_sealed: bytes | None = _bytes_or_null()
    created_at: float = _time()
    linked_at: float | None = _time_or_null()


class Chat(SQLModel, table=True):
    """What the bot knows of one chat, whoever of the services it is linked to."""

    __table_args__ = (Index("uq_chat_phone_hash", "phone_hash", unique=True),)

    #: Keyed hash of the chat's address, which is sealed beside it.
    hash: bytes = _hash_key()
    chat_sealed: bytes = _bytes()
    #: The language its person chose; ``NULL`` follows their client.
    language: str | None = _text_or_null()
    #: The language their client tells.
    told_language: str | None = _text_or_null()
    #: The phone number its person proved by sharing their contact: keyed hash, sealed, masked, and when.
    phone_hash: bytes | None = _bytes_or_null()
    phone_sealed: bytes | None = _bytes_or_null()
    phone_masked: str | None = _text_or_null()
    proved_at: float | None = _time_or_null()
    #: Until when its person wants no codes at all.
    locked_until: float | None = _time_or_null()
    #: When its person blocked the bot; ``NULL`` once it is let in again.
    blocked_at: float | None = _time_or_null()
    created_at: float = _time()


class Mute(SQLModel, table=True):
    """A service whose codes a person wants elsewhere."""

    chat_hash: bytes = _hash_key()
    service: str = _key()
    created_at: float = _time()


class Challenge(SQLModel, table=True):
    """One way to open a reverse verification: the token of its link, or the short text. Neither is kept in plain."""

    __table_args__ = (
        Index("ix_challenge_verification_id", "verification_id"),
        Index("ix_challenge_expires_at", "expires_at"),
        _index_where("ix_challenge_asked_chat_hash", "asked_chat_hash", where="asked_chat_hash IS NOT NULL"),
    )

    #: SHA-256 of the link's token (128 random bits), or the keyed hash of the text.
    hash: bytes = _hash_key()
    verification_id: str = _text()
    expires_at: float = _time()
    #: The chat that opened it first (keyed hash); no other can.
    asked_chat_hash: bytes | None = _bytes_or_null()


class Heard(SQLModel, table=True):
    """An update of a bot that was taken in: a provider that repeats it is heard once."""

    __table_args__ = (Index("ix_heard_at", "at"),)

    channel: str = _key()
    #: The provider's number of it.
    update_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    at: float = _time()


class OutgoingReply(SQLModel, table=True):
    """An answer of the bot on its way. The row goes once it is sent: texts of a conversation are not kept."""

    __tablename__ = "reply"
    __table_args__ = (Index("ix_reply_channel_due_at", "channel", "due_at"),)

    id: str = _key()
    channel: str = _text()
    #: Sealed JSON of the chat's address and the reply.
    sealed: bytes = _bytes()
    #: When anybody may claim it: its retry time, or the end of the lease on it.
    due_at: float = _time()
    #: The node that holds it, ``""`` when none does.
    lease: str = _text()
    #: Tries at sending it so far.
    tries: int = _number()
    created_at: float = _time()


class IdempotentAnswer(SQLModel, table=True):
    """The first answer to an ``Idempotency-Key``, sealed, for 24 hours."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (Index("ix_idempotent_answer_created_at", "created_at"),)

    service: str = _key()
    #: SHA-256 of method, path and key.
    key_hash: bytes = _hash_key()
    #: SHA-256 of the body as parsed: spelling and order of keys do not matter.
    fingerprint: bytes = _bytes()
    sealed: bytes = _bytes()
    created_at: float = _time()


class Lease(SQLModel, table=True):
    """Which node does what only one may do: poll a bot, keep house."""

    name: str = _key()
    node: str = _text()
    until: float = _time()
