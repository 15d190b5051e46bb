"""Listening to a bot: one node at a time, under a lease; another takes over when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from channels.base import Channel
from gateway.clock import Clock
from gateway.conversation.inbox import Inbox
from gateway.storage.leases import Leases
from gateway.storage.unit import StorageError

Sleep = Callable[[float], Awaitable[object]]

_log = logging.getLogger(__name__)

#: Seconds a node may listen without renewing; another takes over after that.
LEASE = 20.0
#: Seconds between renewals, and between tries to take over.
RENEWAL = 5.0


async def listen(channel: Channel, inbox: Inbox, leases: Leases, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
    """Listen to ``channel`` whenever this node holds the lease, until canceled; then give the lease back."""
    name = f"listen:{channel.name}"
    listener: asyncio.Task[None] | None = None
    held_until = 0.0
    try:
        while True:
            if await _take(leases, name, clock):
                held_until = clock.monotonic() + LEASE
                if listener is None or listener.done():
                    _say_why(listener, channel)
                    listener = asyncio.create_task(channel.listen(inbox.handle), name=name)
            elif listener is not None and clock.monotonic() >= held_until - RENEWAL:
                # Renewed by nobody for too long: stop before another node may start.
                await _ended(listener)
                listener = None
            await sleep(RENEWAL)
    finally:
        if listener is not None:
            await _ended(listener)
            await _give(leases, name)


async def _take(leases: Leases, name: str, clock: Clock) -> bool:
    try:
        return await leases.take(name, clock.now(), LEASE)
    except StorageError as error:
        _log.warning("the lease %s could not be renewed: %s", name, error)
        return False


async def _give(leases: Leases, name: str) -> None:
    try:
        await leases.give(name)
    except StorageError as error:
        _log.warning("the lease %s could not be given back: %s; it ends by itself", name, error)


async def _ended(listener: asyncio.Task[None]) -> None:
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


def _say_why(listener: asyncio.Task[None] | None, channel: Channel) -> None:
    if listener is None or listener.cancelled():
        return
    error = listener.exception()
    if error is not None:
        _log.error("listening on %s ended by %s; it starts again", channel.name, type(error).__name__)
