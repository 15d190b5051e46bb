"""Patience: writing down what just could not be, while the database is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.delivery.dispatching.pacing import Sleep
from gateway.storage.unit import StorageUnavailableError

T = TypeVar("T")

#: Seconds between tries: within the lease, all in all.
PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


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
