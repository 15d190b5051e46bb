"""Births: how a fresh message is written, and one whose first attempt is written along with it.

An idle gateway would else commit twice before the provider is called: the message, then its attempt. Where a worker waits
for it, both are one commit, which saves an idle gateway a millisecond and a busy one 60 µs a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

from msgspec.structs import replace

from gateway.delivery import statements as sql
from gateway.delivery.lifecycle import MessageStatus
from gateway.delivery.message import LEASE, Message
from gateway.delivery.rows import row_of
from gateway.delivery.telling import told
from gateway.events.event import Event, EventName
from gateway.randomness import random_bytes
from gateway.storage.sealing import token_hash
from gateway.storage.unit import Write
from gateway.value import Value

# Kept, for an enum's member is looked up by a function each time.
_SENDING: Final = MessageStatus.SENDING
_TOLD_QUEUED: Final = EventName.MESSAGE_QUEUED
_TOLD_SENDING: Final = EventName.MESSAGE_SENDING


class Begun(Value, frozen=True):
    """A message under way: its latest attempt is written down, or is with what makes the message."""

    hidden: ClassVar[frozenset[str]] = frozenset({"token"})

    message: Message
    #: The attempt's, for the provider's callbacks.
    token: str
    #: When the attempt was asked for, in monotonic seconds: its lease is not older.
    asked: float


class Birth(Value, frozen=True):
    """A message that is born under way: what to write and tell in the transaction that makes it."""

    begun: Begun
    writes: Sequence[Write]
    events: Sequence[Event]


class Workers(Protocol):
    """Who sends what is born under way."""

    def reserve(self, channel: str) -> bool:
        """Whether one waits for a fresh message of that channel; its place is kept for a moment."""
        ...

    def hand_over_begun(self, begun: Begun) -> None:
        """Take a message that was born under way, right after the commit that made it."""
        ...

    def left(self, message: Message) -> None:
        """Hear of a fresh message that nobody holds, right after the commit that made it."""
        ...


class _Nobody:
    def reserve(self, _: str) -> bool:
        return False

    def hand_over_begun(self, _: Begun) -> None:
        raise AssertionError("nobody waited for it")

    def left(self, _: Message) -> None:
        return


#: Nobody waits: every message takes its turn.
NOBODY: Workers = _Nobody()


def attempt(message: Message, number: int, node: str, now: float) -> tuple[str, Write]:
    """Return the token of a message's next attempt and the write of its row."""
    token = random_bytes(16).hex()
    row = (message.id, number, message.verification_id, token_hash(token), node, now)
    return token, (sql.INSERT_ATTEMPT, row)


def under_way(message: Message, node: str, now: float, asked: float) -> Birth:
    """Return a fresh message as ``node`` has begun with it. ``asked`` is now as well, in monotonic seconds."""
    token, tried = attempt(message, 1, node, now)
    message = replace(message, attempts=1, started_at=now)
    row = row_of(message, _SENDING, due_at=now + LEASE, lease=node)
    events = told(_TOLD_QUEUED, now, message), told(_TOLD_SENDING, now, message, attempt=1)
    return Birth(Begun(message, token, asked), ((sql.INSERT_MESSAGE, row), tried), events)
