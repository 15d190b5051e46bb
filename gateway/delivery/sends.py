"""What whoever limits sends is asked and told by the queue, within its transactions."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Protocol

from gateway.delivery.message import Message
from gateway.delivery.payload import Stop
from gateway.storage.unit import Connection

#: What ``Message.counted`` says of a message: it counts as a send, to its recipient and in its block of numbers; or in its
#: block alone, for it is the same send as the one before it and the first to go to the number itself.
AS_SEND: Final = 1
IN_BLOCK: Final = 2


class Sends(Protocol):
    """The limits of sends, as the queue knows them."""

    def allow(self, connection: Connection, message: Message, first: Stop, now: float, /) -> Awaitable[str | None]:
        """Count a message that takes over, as its ``counted`` says, and ask for its money; its route began with ``first``.

        Returns the limit that refuses it, or ``None``: it is counted then, and may be sent.
        """
        ...

    def give_back(self, connection: Connection, verification_id: str, /) -> Awaitable[None]:
        """Count what has ended of a verification's messages and never left no more."""
        ...


class Unlimited:
    """Counts nothing and refuses nothing."""

    async def allow(self, _connection: Connection, _message: Message, _first: Stop, _now: float, /) -> str | None:
        """Allow everything."""
        return None

    async def give_back(self, _connection: Connection, _verification_id: str, /) -> None:
        """Have nothing to give back."""
