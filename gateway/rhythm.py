"""Doing something again and again: a failure is logged and never ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.errors import loudness

_log = logging.getLogger(__name__)


async def every(
    seconds: float,
    work: Callable[[], Awaitable[object]],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Do ``work`` every so many seconds until canceled."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - what must happen again and again outlives any fault
            # By its type alone: the text of an error may hold a value.
            name = getattr(work, "__qualname__", "a regular duty")
            _log.log(loudness(error), "%s failed: %s", name, type(error).__name__)
        await sleep(seconds)
