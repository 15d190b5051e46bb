"""A message as the dispatcher holds it: the row and, opened, what must be sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gateway.value import Value

#: Seconds a node holds a message before anybody may take it.
LEASE = 20.0


def topic(channel: str) -> str:
    """Return the topic that is woken when a message of ``channel`` has become due in the database."""
    return f"message.{channel}"


class Message(Value, frozen=True):
    """One notice to one recipient on one channel. Its ``repr`` holds nothing that must not be logged."""

    hidden: ClassVar[frozenset[str]] = frozenset({"address", "code", "params", "bind", "recipient_hash", "block_hash"})

    id: str
    verification_id: str
    service: str
    channel: str
    #: Its place in the verification's route, from 0.
    step: int
    #: How many channels the route has; another follows while ``step + 1 < steps``.
    steps: int
    purpose: str
    locale: str
    #: Which of the verification's codes it carries, from 1.
    generation: int
    #: Attempts begun so far; the next one's number is one more.
    attempts: int
    #: Of those, given back before anything left.
    skipped: int
    #: Seconds since the Unix epoch.
    created_at: float
    expires_at: float
    #: When its first attempt began.
    started_at: float | None
    #: Seconds the code lived at its birth; what is left must be worth a retry (``retry.min_life``).
    ttl: float
    #: Masked address.
    recipient: str
    address: str
    code: str
    params: Mapping[str, str]
    #: Of its attempts, those whose answer was lost; a crash counts as none.
    unknowns: int = 0
    #: What its code is bound to, for its templates.
    bind: Mapping[str, str] = {}
    #: Of a fresh message: the keyed hash of its address, what it counts as (see ``sends``; ``None``: nothing), and the
    #: keyed hash of the block of numbers it counts in. A message that was claimed knows none of them.
    recipient_hash: bytes | None = None
    counted: int | None = None
    block_hash: bytes | None = None

    @property
    def tries(self) -> int:
        """Attempts that count against the limit."""
        return self.attempts - self.skipped

    @property
    def another_follows(self) -> bool:
        """Whether the route has a channel after this one."""
        return self.step + 1 < self.steps
