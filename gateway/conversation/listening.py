"""Listening to a bot: one node at a time, under a lease; another takes over when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from channels.base import AmbiguousError, Channel, DeliveryError, Reason, TransientError
from channels.chat import Conversing, HandleInbound, Menu
from gateway.clock import Clock
from gateway.errors import loudness
from gateway.storage.leases import Leases
from gateway.storage.unit import StorageError

Sleep = Callable[[float], Awaitable[object]]

_log = logging.getLogger(__name__)

#: Seconds a node may listen without renewing; another takes over after that.
LEASE = 20.0
#: Seconds between renewals, and between tries to take over.
RENEWAL = 5.0

#: Why a menu could not be set, in words.
_WHY: Final = {
    Reason.UNAVAILABLE: "its provider cannot be reached, or has a fault of its own",
    Reason.TIMEOUT: "its provider did not answer in time",
    Reason.RATE_LIMITED: "its provider asks for fewer requests",
    Reason.MISCONFIGURED: "its provider refused the bot's token or settings",
}


async def listen(
    channel: Channel,
    handle: HandleInbound,
    leases: Leases,
    clock: Clock,
    *,
    menu: Menu,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Listen to ``channel`` whenever this node holds the lease, until canceled; then give the lease back.

    Whoever takes the lease shows people the commands of ``menu``.
    """
    name = f"listen:{channel.name}"
    turn = _Turn(channel, handle, menu)
    held_until = 0.0
    try:
        while True:
            if await _take(leases, name, clock):
                held_until = clock.monotonic() + LEASE
                turn.go_on()
            elif clock.monotonic() >= held_until - RENEWAL:
                # Renewed by nobody for too long: stop before another node may start.
                await turn.end()
            await sleep(RENEWAL)
    finally:
        if await turn.end():
            await _give(leases, name)


class _Turn:
    """This node's turn at a bot, from the lease's taking to its end."""

    def __init__(self, channel: Channel, handle: HandleInbound, menu: Menu) -> None:
        self._channel = channel
        self._handle = handle
        self._menu = menu
        self._listener: asyncio.Task[None] | None = None
        self._introduction: asyncio.Task[None] | None = None

    def go_on(self) -> None:
        """Start what is not under way."""
        if self._listener is None or self._listener.done():
            _say_why(self._listener, f"listening on {self._channel.name} ended by")
            self._listener = asyncio.create_task(
                self._channel.listen(self._handle), name=f"listen:{self._channel.name}"
            )
        if isinstance(self._channel, Conversing) and self._menu and _to_do(self._introduction):
            # Beside the listener: a slow provider must hold up neither the lease nor what people write.
            _say_unshown(self._introduction, self._channel.name)
            work = self._channel.introduce(self._menu)
            self._introduction = asyncio.create_task(work, name=f"introduce:{self._channel.name}")

    async def end(self) -> bool:
        """Stop; return whether there was something to stop."""
        tasks = [task for task in (self._listener, self._introduction) if task is not None]
        self._listener = self._introduction = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return bool(tasks)


def _to_do(task: asyncio.Task[None] | None) -> bool:
    """Whether a task was not begun yet, or failed."""
    return task is None or (task.done() and not task.cancelled() and task.exception() is not None)


async def _take(leases: Leases, name: str, clock: Clock) -> bool:
    try:
        return await leases.take(name, clock.now(), LEASE)
    except StorageError as error:
        _log.log(loudness(error), "the lease %s could not be renewed: %s", name, error)
        return False


async def _give(leases: Leases, name: str) -> None:
    try:
        await leases.give(name)
    except StorageError as error:
        _log.log(loudness(error), "the lease %s could not be given back: %s; it ends by itself", name, error)


def _say_unshown(task: asyncio.Task[None] | None, name: str) -> None:
    """Log why a bot's menu could not be set. A provider that is away is no error: it is asked again, and then it is set."""
    error = None if task is None or task.cancelled() else task.exception()
    if not isinstance(error, DeliveryError):
        _say_why(task, f"setting the menu of the bot {name} failed by")
        return
    passing = isinstance(error, TransientError | AmbiguousError)
    told = _WHY.get(error.reason, "its provider refused it")
    level = logging.WARNING if passing else logging.ERROR
    _log.log(level, "the menu of the bot %s could not be set: %s (%s); tried again", name, told, error)


def _say_why(task: asyncio.Task[None] | None, what: str) -> None:
    """Log how a task failed; by the error's type alone, for its text may hold an address."""
    if task is None or task.cancelled():
        return
    error = task.exception()
    if error is not None:
        _log.log(loudness(error, logging.ERROR), "%s %s; it starts again", what, type(error).__name__)
