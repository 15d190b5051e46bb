"""What the log tells of one verification, as a policy is tried on it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar

from gateway.value import Value


class Cause(IntEnum):
    """What a message was made for."""

    #: A verification was created.
    CREATE = 0
    #: The code was asked for once more.
    RESEND = 1
    #: The next channel of the route took over.
    FALLBACK = 2


class Place(Value, frozen=True):
    """An address as far as a policy looks at it."""

    hidden: ClassVar[frozenset[str]] = frozenset({"hash", "block"})

    #: Keyed hash.
    hash: bytes
    masked: str
    #: The block of numbers it is in, country code and all but the last four digits; ``None`` where the kind has none.
    block: str | None = None
    #: Region and sort of a phone number, as ``channels.base.Address`` has them.
    country: str | None = None
    number_type: str | None = None


class Send(Value, frozen=True):
    """One message."""

    at: float
    cause: Cause
    channel: str
    place: Place
    #: Attempts that a provider accepted: each is paid for.
    accepted: int
    #: When it ended with nothing of it left or perhaps left; ``None`` where something was.
    returned_at: float | None = None


class Past(Value, frozen=True):
    """One verification."""

    hidden: ClassVar[frozenset[str]] = frozenset({"contexts", "visitor"})

    id: str
    service: str
    purpose: str
    created_at: float
    #: When its code dies.
    expires_at: float
    #: Where its route leads, whether it got there or not.
    places: Sequence[Place]
    #: In order; the first is the one it was created with. Empty where the person was to open the bot.
    sends: Sequence[Send]
    #: When each wrong code was given, in order.
    wrong: Sequence[float] = ()
    #: When it ended; ``None`` where it is pending.
    ended_at: float | None = None
    approved: bool = False
    #: Whether its code was one that its service brought.
    own_code: bool = False
    #: Whether no channel of its route could deliver and no provider took any of it, which ends the cooldown.
    undelivered: bool = False
    #: Who asked for it, in the words that trusted contexts are kept by.
    contexts: Sequence[str] = ()
    #: The IP address it was asked for from, or its block.
    visitor: str | None = None
