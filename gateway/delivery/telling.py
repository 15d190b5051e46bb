"""What the timeline is told of a message: the event of each end, and how an attempt failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from channels.base import Reason
from gateway.delivery.lifecycle import AttemptOutcome, MessageStatus
from gateway.delivery.message import Message
from gateway.events.event import AttemptDetails, Event, EventName, event
from gateway.storage.ids import new_id
from gateway.storage.unit import Record
from gateway.value import Value

#: The event that tells of each end of a message.
ENDINGS: Mapping[MessageStatus, EventName] = {
    MessageStatus.SENT: EventName.MESSAGE_SENT,
    MessageStatus.DELIVERED: EventName.MESSAGE_DELIVERED,
    MessageStatus.UNDELIVERED: EventName.MESSAGE_UNDELIVERED,
    MessageStatus.FAILED: EventName.MESSAGE_FAILED,
    MessageStatus.EXPIRED: EventName.MESSAGE_EXPIRED,
    MessageStatus.CANCELED: EventName.MESSAGE_CANCELED,
}


class Failure(Value, frozen=True):
    """How an attempt failed."""

    outcome: AttemptOutcome
    reason: Reason
    #: The provider's own code.
    provider_code: str | None = None
    #: How long the attempt took.
    milliseconds: float = 0.0


def told(name: EventName, at: float, message: Message, **details: Unpack[AttemptDetails]) -> Event:
    """Return an event of a message that is held. Made here and not by ``event``: there are two of each message."""
    event_id, service, verification_id = new_id("evt", at), message.service, message.verification_id
    if not details:
        # Most of them. What is passed on by ``**`` is a dictionary first (0.3 µs).
        return Event(
            event_id, at, name, service, verification_id, message.id, message.channel, recipient=message.recipient
        )
    return Event(
        event_id,
        at,
        name,
        service,
        verification_id=verification_id,
        message_id=message.id,
        channel=message.channel,
        recipient=message.recipient,
        **details,
    )


def told_of(name: EventName, at: float, record: Record, **details: Unpack[AttemptDetails]) -> Event:
    """Return an event of a message that was read: ``id``, ``verification_id``, ``service``, ``channel``, ``recipient``."""
    return event(
        name,
        at,
        record["service"],
        verification_id=record["verification_id"],
        message_id=record["id"],
        channel=record["channel"],
        recipient=record["recipient"],
        **details,
    )


def told_failure(name: EventName, at: float, message: Message, failure: Failure) -> Event:
    """Return the event of a failed attempt of a message."""
    return told(
        name,
        at,
        message,
        attempt=message.attempts,
        outcome=failure.outcome,
        reason=failure.reason,
        provider_code=failure.provider_code,
        milliseconds=failure.milliseconds,
    )
