"""The statuses of a verification, a message, an attempt and a subscriber, and the moves between them.

Message::

    waiting ─→ queued ⇄ sending ─→ sent ─→ delivered
       │          │        │         ├──→ undelivered ─→ delivered   (a late receipt wins)
       │          │        │
       └──────────┴────────┴─→ failed · expired · canceled

    A provider's report of an attempt whose answer was lost, or is not there yet, takes a queued message, or one under
    way, to sent, delivered or undelivered; ``delivered`` wins over every end.

Verification::

    pending ─→ approved · expired · canceled · max_attempts_reached · failed
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class VerificationStatus(StrEnum):
    """Where a verification stands."""

    #: A code is alive and may be checked.
    PENDING = "pending"
    #: The right code was given, once.
    APPROVED = "approved"
    #: Its time ran out.
    EXPIRED = "expired"
    #: The service, or the person, ended it.
    CANCELED = "canceled"
    #: Every check was spent on a wrong code.
    MAX_ATTEMPTS_REACHED = "max_attempts_reached"
    #: No channel of the route could deliver.
    FAILED = "failed"


class MessageStatus(StrEnum):
    """Where a message stands."""

    #: Its recipient has yet to open the bot.
    WAITING = "waiting"
    #: To be sent when due.
    QUEUED = "queued"
    #: An attempt is under way.
    SENDING = "sending"
    #: The provider accepted it.
    SENT = "sent"
    #: The provider reports that the person has it.
    DELIVERED = "delivered"
    #: The provider reports that the person will not get it.
    UNDELIVERED = "undelivered"
    #: No attempt succeeded and none is left.
    FAILED = "failed"
    #: Its code died first.
    EXPIRED = "expired"
    #: Its verification ended first, or a newer message took its place.
    CANCELED = "canceled"


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    #: The request left and its answer was lost.
    UNKNOWN = "unknown"
    #: Begun and given back before anything left (a shutdown).
    SKIPPED = "skipped"


class SubscriberStatus(StrEnum):
    """Where a subscriber stands."""

    #: Asked to open the bot.
    PENDING = "pending"
    #: Confirmed in the chat.
    LINKED = "linked"
    #: Blocked the bot.
    BLOCKED = "blocked"
    #: Took the link back.
    UNLINKED = "unlinked"


_M = MessageStatus
_V = VerificationStatus

#: From which statuses a message may come to each status.
MESSAGE_MOVES: Mapping[MessageStatus, frozenset[MessageStatus]] = {
    _M.WAITING: frozenset(),
    _M.QUEUED: frozenset({_M.WAITING, _M.SENDING}),
    _M.SENDING: frozenset({_M.QUEUED}),
    _M.SENT: frozenset({_M.SENDING, _M.QUEUED}),
    _M.DELIVERED: frozenset({_M.SENDING, _M.QUEUED, _M.SENT, _M.UNDELIVERED, _M.FAILED, _M.EXPIRED, _M.CANCELED}),
    _M.UNDELIVERED: frozenset({_M.SENT, _M.SENDING, _M.QUEUED}),
    _M.FAILED: frozenset({_M.SENDING, _M.QUEUED}),
    _M.EXPIRED: frozenset({_M.WAITING, _M.QUEUED, _M.SENDING}),
    _M.CANCELED: frozenset({_M.WAITING, _M.QUEUED, _M.SENDING}),
}

#: From which statuses a verification may come to each status.
VERIFICATION_MOVES: Mapping[VerificationStatus, frozenset[VerificationStatus]] = {
    _V.PENDING: frozenset(),
    **{status: frozenset({_V.PENDING}) for status in _V if status is not _V.PENDING},
}

#: A message in one of these may still be sent.
OPEN = frozenset({_M.WAITING, _M.QUEUED, _M.SENDING})


def sources(status: MessageStatus | VerificationStatus) -> str:
    """Return the statuses that ``status`` may be entered from, as a SQL list: ``'queued', 'sending'``."""
    moves = MESSAGE_MOVES[status] if isinstance(status, MessageStatus) else VERIFICATION_MOVES[status]
    return ", ".join(f"'{source}'" for source in sorted(moves))
