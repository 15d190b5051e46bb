"""Patience: writing down what just could not be, while the database is away; for a time, or for as long as it is of use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Final, TypeVar

from gateway.delivery.dispatching.pacing import Sleep
from gateway.storage.unit import StorageUnavailableError

T = TypeVar("T")

#: Seconds between tries: within the lease, all in all.
PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
#: The same of what is tried on and on: the last one again and again, half of what others wait once the database is back.
STEADY: Final = PAUSES[:-1]


async def patiently(write: Callable[[], Awaitable[T]], sleep: Sleep) -> T:
    """Return what ``write`` does once the database is back; it has just failed. Raises ``StorageError``."""
    for pause in PAUSES[:-1]:
        await sleep(pause)
        try:
            return await write()
        except StorageUnavailableError:
            continue
    await sleep(PAUSES[-1])
    return await write()


async def steadily(write: Callable[[], Awaitable[T]], sleep: Sleep, wanted: Callable[[], bool]) -> T:
    """Return what ``write`` does once the database is back, as long as that is ``wanted``; it has just failed.

    Raises ``StorageError``.
    """
    pauses = chain(STEADY, repeat(STEADY[-1]))
    while True:
        await sleep(next(pauses))
        try:
            return await write()
        except StorageUnavailableError:
            if not wanted():
                raise
