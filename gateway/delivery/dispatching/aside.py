"""What steps aside: things that wait for their own time in memory, so that nothing behind them waits with them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

from gateway.clock import Clock
from gateway.delivery.dispatching.pacing import SLICE, Sleep

T = TypeVar("T")


class Aside(Generic[T]):
    """``back`` is given each thing once its time has come. One task runs while there are any, and none else."""

    def __init__(self, back: Callable[[T], None], clock: Clock, sleep: Sleep, *, name: str) -> None:
        self._back = back
        self._clock = clock
        self._sleep = sleep
        self._name = name
        #: When each comes back, in monotonic seconds; those of one moment in the order they came.
        self._waiting: list[tuple[float, int, T]] = []
        self._number = count()
        self._returning: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, thing: T, seconds: float) -> None:
        """Have a thing come back after so many seconds."""
        heapq.heappush(self._waiting, (self._clock.monotonic() + seconds, next(self._number), thing))
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self._return(), name=self._name)

    def drain(self) -> list[T]:
        """Return what waits, and bring none of it back."""
        left = [thing for _, _, thing in self._waiting]
        self._waiting.clear()
        if self._returning is not None:
            self._returning.cancel()
            self._returning = None
        return left

    async def _return(self) -> None:
        while self._waiting:
            wait = self._waiting[0][0] - self._clock.monotonic()
            if wait > 0:
                await self._sleep(min(wait, SLICE))
            else:
                self._back(heapq.heappop(self._waiting)[2])
