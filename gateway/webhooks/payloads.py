"""What an application is told of an event: a pure function, thin, and without anything secret.

No event holds a code, and its recipient is masked. What an adapter filled in is cut, so that a payload stays far below
the 20 kB that Standard Webhooks recommends at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.clock import rfc3339
from gateway.events.event import Event, EventName
from gateway.value import Value

#: The names by which a verification is told to have left, and to have arrived; each once.
SENT: Final = "verification.sent"
DELIVERED: Final = "verification.delivered"

#: The events an application is told of under their own names, and the status each one moves to; ``None`` where it moves
#: none: a person may report what is over.
TOLD: Final = {
    EventName.VERIFICATION_CREATED: "pending",
    EventName.VERIFICATION_APPROVED: "approved",
    EventName.VERIFICATION_FAILED: "failed",
    EventName.VERIFICATION_EXPIRED: "expired",
    EventName.VERIFICATION_CANCELED: "canceled",
    EventName.VERIFICATION_MAX_ATTEMPTS_REACHED: "max_attempts_reached",
    EventName.VERIFICATION_REPORTED: None,
    EventName.MESSAGE_SENT: "sent",
    EventName.MESSAGE_DELIVERED: "delivered",
    EventName.MESSAGE_UNDELIVERED: "undelivered",
    EventName.MESSAGE_FAILED: "failed",
}
#: What the first such event of a verification tells of the verification. What arrived has left: where a channel
#: delivers at once, no event says that it was sent.
FIRSTS: Final = {
    EventName.MESSAGE_SENT: (SENT,),
    EventName.MESSAGE_DELIVERED: (SENT, DELIVERED),
}

#: Characters of a value that an adapter filled in.
_MAX_VALUE: Final = 200
#: Hexadecimal digits at the front of an id: its time and a counter. See ``gateway.storage.ids``.
_TIME: Final = 16
#: Hexadecimal digits behind them.
_REST: Final = 20


class Notice(Value, frozen=True):
    """What one event tells an application under one name."""

    hidden = frozenset({"body"})

    #: The same for the same event and name, whichever node makes it and however often.
    id: str
    #: ``verification.approved``, ``message.sent`` …
    name: str
    #: JSON: ``type``, ``timestamp``, ``data``.
    body: str


class Data(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ``data`` of a payload; what is not known is absent."""

    service: str
    #: The ids of the verification and of the message.
    verification: str | None = None
    message: str | None = None
    #: What the verification or the message moved to.
    status: str | None = None
    channel: str | None = None
    #: Masked address.
    recipient: str | None = None
    #: The attempt's number.
    attempt: int | None = None
    #: Why it failed: ``channels.base.Reason``.
    reason: str | None = None
    #: The provider's own code for that.
    provider_code: str | None = None


class _Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: Data


def notices(event: Event) -> Iterator[Notice]:
    """Yield what an application is told of an event; nothing of most."""
    if event.name not in TOLD:
        return
    data = Data(
        event.service,
        event.verification_id,
        event.message_id,
        TOLD[event.name],
        event.channel,
        _cut(event.recipient),
        event.attempt,
        _cut(event.reason),
        _cut(event.provider_code),
    )
    yield Notice(f"whk_{event.id.removeprefix('evt_')}", event.name.value, _body(event.name.value, event.at, data))
    if event.verification_id is not None:
        first = Data(event.service, data.verification, data.message, None, data.channel, data.recipient)
        for name in FIRSTS.get(event.name, ()):
            yield Notice(_once(name, event.verification_id), name, _body(name, event.at, first))


def _body(name: str, at: float, data: Data) -> str:
    return msgspec.json.encode(_Payload(name, rfc3339(at), data)).decode()


def _once(name: str, verification_id: str) -> str:
    """Return the id of what is told once of a verification: the second of it finds the first in its place.

    It begins with the verification's time, as every id of ours begins with its own.
    """
    digest = hashlib.sha256(f"{name}/{verification_id}".encode()).hexdigest()
    time = verification_id.removeprefix("ver_")[:_TIME]
    return f"whk_{time}{digest[:_REST]}"


def _cut(text: str | None) -> str | None:
    return None if text is None else str(text)[:_MAX_VALUE]
