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
    }
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
    line: dict[str, Scalar | None] = {
        "timestamp": rfc3339(event.at),
        "level": logging.getLevelName(level_of(event)).lower(),
        "event": str(event.name),
        "service": event.service,
        "verification": event.verification_id,
        "message": event.message_id,
        "channel": event.channel,
        "attempt": event.attempt,
        "outcome": event.outcome,
        "reason": event.reason,
        "provider_code": event.provider_code,
        "recipient": event.recipient,
        "milliseconds": None if event.milliseconds is None else round(event.milliseconds, 1),
    }
    return {name: value for name, value in line.items() if value is not None}
