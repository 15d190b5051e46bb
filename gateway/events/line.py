"""One event as a line: which keys it has, in which order, and how loud it is."""

from __future__ import annotations

import logging
from typing import Final

from gateway.clock import rfc3339
from gateway.events.event import Event, EventName

#: What a value of a line may be.
Scalar = str | int | float

#: Events an operator wants to see where all is well otherwise.
WARNINGS: Final = frozenset(
    {
        EventName.VERIFICATION_FAILED,
        EventName.VERIFICATION_MAX_ATTEMPTS_REACHED,
        EventName.MESSAGE_FAILED,
        EventName.MESSAGE_UNDELIVERED,
        EventName.MESSAGE_RESCUED,
        EventName.LIMIT_REFUSED,
        EventName.CHANNEL_OPENED,
        EventName.CHANNEL_STOPPED,
        EventName.WEBHOOK_FAILED,
        EventName.WEBHOOK_DISABLED,
    }
)

_LEVELS: Final = {
    number: logging.getLevelName(number).lower() for number in (logging.INFO, logging.WARNING, logging.ERROR)
}
#: What stands in a line where it is known: its key there, and the event's field.
_DETAILS: Final = (
    ("verification", "verification_id"),
    ("message", "message_id"),
    ("channel", "channel"),
    ("attempt", "attempt"),
    ("outcome", "outcome"),
    ("reason", "reason"),
    ("provider_code", "provider_code"),
    ("recipient", "recipient"),
)


def level_of(event: Event) -> int:
    """Return the ``logging`` level of an event.

    A refusal of our own credentials or settings is an error: every message of that channel will fail.
    """
    if event.reason == "misconfigured" and event.outcome == "permanent":
        return logging.ERROR
    return logging.WARNING if event.name in WARNINGS else logging.INFO


def line_of(event: Event) -> dict[str, Scalar]:
    """Return the keys and values of an event's line, in order; what is not known of it is absent."""
    level = level_of(event)
    line: dict[str, Scalar] = {
        "timestamp": rfc3339(event.at),
        "level": _LEVELS[level],
        "event": event.name.value,
        "service": event.service,
    }
    for key, name in _DETAILS:
        value = getattr(event, name)
        if value is not None:
            line[key] = value
    if event.milliseconds is not None:
        line["milliseconds"] = round(event.milliseconds, 1)
    return line
