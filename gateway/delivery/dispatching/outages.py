"""Outages: what becomes of a channel is logged and written into the timeline, beside the sends and never before them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from channels.base import Reason
from gateway.clock import Clock
from gateway.delivery.dispatching.breaker import Change
from gateway.errors import loudness
from gateway.events.event import EventName, event, recorded
from gateway.storage.unit import Move, StorageError

_log = logging.getLogger(__name__)

#: Writes a move, as ``Database.write`` does.
Write = Callable[[Move], Awaitable[bool]]

_EVENTS: Mapping[Change, EventName] = {
    Change.OPENED: EventName.CHANNEL_OPENED,
    Change.CLOSED: EventName.CHANNEL_CLOSED,
    Change.STOPPED: EventName.CHANNEL_STOPPED,
    Change.RESUMED: EventName.CHANNEL_RESUMED,
}
_SAID: Final[Mapping[Change, tuple[int, str]]] = {
    Change.OPENED: (logging.WARNING, "most sends fail: nothing is sent by this channel for a while"),
    Change.CLOSED: (logging.INFO, "sends succeed again"),
    Change.STOPPED: (
        logging.ERROR,
        "the provider refuses this channel's credentials, sender or settings; all that is sent by it is a try a minute",
    ),
    Change.RESUMED: (logging.INFO, "the provider takes this channel's credentials and settings again"),
}


async def unwritten(_: Move) -> bool:
    """Write nothing."""
    return True


class Outages:
    """Tells of changes. ``write`` is the database's."""

    def __init__(self, write: Write, clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, channel: str, change: Change, reason: Reason | None = None) -> None:
        """Log a change, and have it written when the database can; ``reason`` is that of the last failure."""
        level, text = _SAID[change]
        _log.log(level, text, extra={"channel": channel})
        told = event(_EVENTS[change], self._clock.now(), "", channel=channel, reason=reason)
        task = asyncio.create_task(self._written(recorded(None, [], [told])), name=f"{channel} outage")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def told(self) -> None:
        """Wait until what was told is written."""
        await asyncio.gather(*self._telling)

    async def _written(self, move: Move) -> None:
        try:
            await self._write(move)
        except StorageError as error:
            # The log has it.
            _log.log(loudness(error), "a channel's change could not be written: %s", error)
