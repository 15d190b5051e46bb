"""The house-keeper: one node at a time, under a lease, does all duties in small bites, the one due first at a time.

A node that died is followed within ``LEASE`` + ``TAKEOVER`` seconds. One that lost the lease, or was stopped for
longer than it lasts, does not begin another bite: what a bite does is safe to be done twice, so the bite under way
needs no fence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.clock import Clock
from gateway.errors import loudness
from gateway.storage.leases import Leases
from gateway.storage.unit import StorageError

Sleep = Callable[[float], Awaitable[object]]

_log = logging.getLogger(__name__)

#: The lease's name.
NAME: Final = "house"
#: Seconds a node may keep house without renewing.
LEASE: Final = 20.0
#: Seconds between renewals.
RENEWAL: Final = 5.0
#: Seconds between two tries of a node that does not keep house, or cannot reach the database.
TAKEOVER: Final = 2.0
#: Seconds between two bites of a patient duty: with bites of 10 ms the writer stays free nine tenths of the time.
REST: Final = 0.1
#: Seconds a patient duty lets sends go first, at most: on a gateway that is never idle the tables must not grow for ever.
PATIENCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that is done again and again."""

    #: For the log and the metrics: ``verifications``.
    name: str
    #: Does a small bite and returns how many rows it found; 0: there is nothing left for now.
    bite: Callable[[], Awaitable[int]]
    #: Seconds from when nothing was left, or it failed, to the next look.
    every: float
    #: Whether people wait for it: then bites follow each other at once, and sends are not let go first.
    urgent: bool = False


@dataclass(slots=True)
class _Turn:
    """When a duty is due."""

    duty: Duty
    #: Monotonic seconds.
    due_at: float
    #: Since when it lets sends go first; ``None`` while it does not.
    held_since: float | None = None


class House:
    """Keeps house on this node whenever it holds the lease. ``busy`` says whether sends wait now.

    ``duties`` are named differently. Of those due at the same time the first goes first.
    """

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        duties: Sequence[Duty],
        *,
        busy: Callable[[], bool] = lambda: False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._turns = [_Turn(duty, clock.monotonic()) for duty in duties]
        self._rows = {duty.name: 0 for duty in duties}
        self._busy = busy
        self._sleep = sleep
        #: Until when the lease is this node's, and when to renew it, in monotonic seconds.
        self._until = 0.0
        self._renew_at = 0.0

    @property
    def keeps(self) -> bool:
        """Whether this node keeps house now."""
        return self._clock.monotonic() < self._until

    @property
    def rows(self) -> Mapping[str, int]:
        """How many rows each duty has found since the start."""
        return self._rows

    async def run(self) -> None:
        """Keep house until canceled; then give the lease back, so that another node need not wait for its end."""
        try:
            while True:
                if await self._hold():
                    await self._go_on()
                else:
                    await self._sleep(TAKEOVER)
        finally:
            if self.keeps:
                self._until = 0.0
                await self._give()

    async def _hold(self) -> bool:
        """Whether the lease is this node's, taken or renewed when that is due."""
        now = self._clock.monotonic()
        if now < self._renew_at:
            return True
        held = now < self._until
        try:
            taken = await self._leases.take(NAME, self._clock.now(), LEASE)
        except StorageError as error:
            _log.log(loudness(error), "the lease %s could not be taken: %s", NAME, error)
            # The row still names this node until then; what is tried meanwhile fails or is right.
            self._renew_at = min(now + TAKEOVER, self._until)
            return self.keeps
        if taken != held:
            _log.info("this node keeps house" if taken else "another node keeps house")
        # Counted from before the lease was asked for: it never ends here later than there.
        self._until, self._renew_at = (now + LEASE, now + RENEWAL) if taken else (0.0, 0.0)
        return taken

    async def _go_on(self) -> None:
        """Do the next bite, or sleep until it or the renewal is due."""
        now = self._clock.monotonic()
        turn = min(self._turns, key=lambda turn: turn.due_at, default=None)
        wait = (self._renew_at if turn is None else min(turn.due_at, self._renew_at)) - now
        if wait > 0:
            await self._sleep(wait)
        elif turn is not None and turn.due_at <= now and not self._held_back(turn, now):
            await self._bite(turn)

    def _held_back(self, turn: _Turn, now: float) -> bool:
        """Let sends go before a patient duty, for a while."""
        if turn.duty.urgent or not self._busy():
            return False
        if turn.held_since is None:
            turn.held_since = now
        if now - turn.held_since >= PATIENCE:
            return False
        turn.due_at = now + REST
        return True

    async def _bite(self, turn: _Turn) -> None:
        duty, found, begun = turn.duty, 0, self._clock.monotonic()
        try:
            found = await duty.bite()
        except Exception as error:  # noqa: BLE001 - what must happen again and again outlives any fault
            # By its type alone: the text of an error may hold a value.
            _log.log(loudness(error), "house-keeping: %s failed: %s", duty.name, type(error).__name__)
        self._rows[duty.name] += found
        now = self._clock.monotonic()
        # Where the disk is slow bites are long, and what waits for it needs longer rests.
        rest = 0.0 if duty.urgent else max(REST, 4 * (now - begun))
        turn.due_at = now + (rest if found else duty.every)
        turn.held_since = None

    async def _give(self) -> None:
        try:
            await self._leases.give(NAME)
        except StorageError as error:
            _log.log(loudness(error), "the lease %s could not be given back: %s; it ends by itself", NAME, error)
