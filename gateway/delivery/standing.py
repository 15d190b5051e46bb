"""Standing: what became of a message that is not held any more, or may not be sent, as the database shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.base import Reason
from gateway.delivery import statements as sql
from gateway.delivery.lifecycle import AttemptOutcome, MessageStatus
from gateway.delivery.message import LEASE, Message, topic
from gateway.delivery.telling import told_of
from gateway.events.event import EventName, recorded
from gateway.storage.unit import Move, Record

#: Seconds before a lease ends from which on its node is late: it renews four times within a lease. Whoever looks finds out
#: then whether the database can be written, for after an outage that ends with the lease nobody could tell any more.
LATE: Final = LEASE / 2


def rescued(record: Record, now: float) -> Move:
    """Return the move that gives an attempt whose node died back to the queue, as unknown."""
    number: int = record["attempts"]
    event = told_of(
        EventName.MESSAGE_RESCUED, now, record, attempt=number, outcome=AttemptOutcome.UNKNOWN, reason=Reason.UNKNOWN
    )
    return recorded(
        (sql.RESCUE, (record["id"], record["lease"], number, now)),
        [(sql.ABANDON_ATTEMPT, (record["id"], number, now))],
        [event],
        wakes=(topic(record["channel"]),),
    )


def looked_at(found: Sequence[Record], now: float, *, may: bool) -> tuple[list[Move], list[Move]]:
    """Return what rescues attempts of others, if that ``may`` be and they have lapsed, and what else is written to one.

    ``found`` are in the order in which they lapse, up to ``LATE`` seconds from now. Where none is rescued, the first is
    written to: a database that can be read may refuse writes, and then the node it is of could not renew it.
    """
    rescues = [rescued(record, now) for record in found if may and record["due_at"] <= now]
    if rescues:
        return rescues, []
    return [], [Move((sql.PROBE, (item["id"], item["lease"], item["attempts"], now + LATE))) for item in found[:1]]


def ended_as(message: Message, standing: Sequence[Record], now: float) -> MessageStatus:
    """Return how a message that may not be sent has ended; ``standing`` is what ``sql.STANDING`` finds of it."""
    if message.expires_at <= now:
        return MessageStatus.EXPIRED
    for record in standing:
        if record["status"] == "expired":
            return MessageStatus.EXPIRED
        wanted = record["status"] == "pending" and record["generation"] == message.generation
        if wanted and record["followed_at"] is None:
            return MessageStatus.FAILED
    return MessageStatus.CANCELED
