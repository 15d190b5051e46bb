"""Asking for updates until canceled, and passing them on so that none is lost and none holds up the others for ever."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from telegram import Update

from channels import updates
from channels.base import DeliveryError, TransientError
from channels.bot_api import Fetch, repeatable
from channels.chat import HandleInbound, Inbound

#: The longest pause between calls that fail, in seconds; the first is one second, each next one twice as long.
PAUSE_MAX: Final = 30.0
#: The same between polls while updates cannot be handled. Whoever writes meanwhile waits no longer than this.
STUCK_PAUSE_MAX: Final = 5.0
#: How often the first update that cannot be handled is tried before the ones after it are.
TRIES: Final = 3
#: Seconds one handling may take: what everybody else writes waits behind it.
HANDLE_SECONDS: Final = 30.0
#: Seconds within which an answer without anything new is no poll that was held: the next one waits as long. A server that
#: holds none would be asked some thousand times a second.
QUICK: Final = 1.0

#: Waits so many seconds.
Pause = Callable[[float], Awaitable[None]]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def until_done(call: Callable[[], Awaitable[_T]], channel: str, pause: Pause) -> _T:
    """Make a repeatable call of the Bot API until it succeeds; ``channel`` is named in the log."""
    failures = 0
    while True:
        try:
            return await repeatable(call())
        except DeliveryError as error:
            wait = min(2.0 ** min(failures, 10), PAUSE_MAX)
            failures += 1
            if isinstance(error, TransientError) and error.retry_after is not None:
                wait = max(wait, error.retry_after)
            _log.warning("channel %s: no updates: %s; next try in %.0f s", channel, error, wait)
        await pause(wait)


class Polling:
    """Polls for one channel. An update is confirmed after it was handled, so a crash repeats it."""

    def __init__(
        self,
        channel: str,
        fetch: Fetch,
        acknowledge: Callable[[Inbound], None],
        pause: Pause,
        handle_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``acknowledge`` is told of each update before it is handled, which may take ``handle_seconds``.

        ``monotonic`` returns seconds from a moment that does not change.
        """
        self._channel = channel
        self._fetch = fetch
        self._acknowledge = acknowledge
        self._pause = pause
        self._handle_seconds = handle_seconds
        self._monotonic = monotonic

    async def run(self, handle: HandleInbound) -> None:
        """Pass on what people write until canceled."""
        offset: int | None = None
        stuck = 0
        before = set[int]()
        while True:
            asked_at = self._monotonic()
            found = await until_done(partial(self._fetch, offset), self._channel, self._pause)
            numbers = {update.update_id for update in found}
            if not stuck and numbers <= before:
                # Nothing has come, or what was handled comes once more.
                if self._monotonic() - asked_at < QUICK:
                    await self._pause(QUICK)
                continue
            before = numbers
            first_stuck = await self._pass_on(found, handle)
            offset = found[-1].update_id + 1 if first_stuck is None else first_stuck
            stuck = 0 if first_stuck is None else stuck + 1
            if stuck:
                await self._pause(min(2.0 ** min(stuck - 1, 10), STUCK_PAUSE_MAX))

    async def _pass_on(self, found: Sequence[Update], handle: HandleInbound) -> int | None:
        """Have updates handled, in order; return the number of the first that must come again, ``None`` for none.

        One that fails comes again for as long as all of them do: it is the database that is away. It is skipped
        where it fails once more right after another one succeeded, or it would hold up everybody for ever.
        """
        stuck: list[Inbound] = []
        for update in found:
            inbound = updates.inbound(update)
            if inbound is None:
                continue
            self._acknowledge(inbound)
            if not await self._handled(handle, inbound, tries=1 if stuck else TRIES):
                stuck.append(inbound)
                continue
            for other in stuck:
                if not await self._handled(handle, other, tries=1):
                    _log.error("channel %s: update %d is skipped", self._channel, other.update_id)
            stuck.clear()
        return stuck[0].update_id if stuck else None

    async def _handled(self, handle: HandleInbound, inbound: Inbound, *, tries: int) -> bool:
        for number in range(tries):
            if number:
                await self._pause(2.0 ** (number - 1))
            try:
                async with asyncio.timeout(self._handle_seconds):
                    await handle(inbound)
            except Exception as error:  # noqa: BLE001 - one person's update must not end everybody's
                _log.warning("channel %s: cannot handle update %d: %s", self._channel, inbound.update_id, _where(error))
            else:
                return True
        return False


def _where(error: Exception) -> str:
    """Say what failed and where, without the text of an exception that may quote what a person wrote."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}:{frame.lineno}"
