"""Taking a list of people on, chunk by chunk: no faster than asked for or than nodes send, and stopped between two."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

from gateway.app.taking import Accepted
from gateway.cli.people import Row
from gateway.cli.results import Result, Results, Status
from gateway.clock import Clock
from gateway.errors import Problem
from gateway.events.census import Standing
from gateway.storage.answers import Source
from gateway.verification.chunking import CHUNK, chunks
from gateway.verification.request import Asked

Sleep = Callable[[float], Awaitable[object]]

#: Nothing is added while so many messages of a channel wait to be sent, or one has been due for so many seconds: codes
#: that wait die, and those of other applications wait behind them.
FULL: Final = 1000
LATE: Final = 10.0
#: Seconds between looks at the queue: while it has room, and while it has none.
LOOK: Final = 0.5
PAUSE: Final = 1.0
#: Seconds without progress after which the operator is told why.
PATIENCE: Final = 5.0
#: What is refused with these may be taken on another time.
_NOT_NOW: Final = frozenset({409, 429, 500, 503})


class Takes(Protocol):
    """What takes codes on."""

    async def all_of(self, service: str, rows: Sequence[tuple[Source, Asked]]) -> list[Accepted | Problem]:
        """Take codes on, each once for its source. Raises ``StorageError``."""
        ...

    def masked(self, asked: Asked) -> str:
        """Return the addresses of a request as people and logs may see them."""
        ...

    async def node_runs(self) -> bool:
        """Whether a node works on this database. Raises ``StorageError``."""
        ...

    async def standing(self) -> list[Standing]:
        """Return how the channels' queues stand. Raises ``StorageError``."""
        ...


class Bulk:
    """One run over a list. ``run`` names it: the same list with the same options has the same name.

    ``rate`` is rows per second, 0 as fast as it goes. ``told`` is given sentences for the operator, ``moved`` how many
    rows are done.
    """

    def __init__(
        self,
        takes: Takes,
        results: Results,
        clock: Clock,
        *,
        service: str,
        run: str,
        rate: float = 0.0,
        told: Callable[[str], None],
        moved: Callable[[int], None],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._takes = takes
        self._results = results
        self._clock = clock
        self._service = service
        self._run = run
        self._rate = rate
        self._told = told
        self._moved = moved
        self._sleep = sleep
        self._looked_at = -LOOK
        self._stopped = False
        #: Rows by what became of them, in this run.
        self.became: Counter[str] = Counter()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopped

    def stop(self) -> None:
        """Stop once the chunk under way is written down."""
        self._stopped = True

    async def send(self, rows: Iterable[Row]) -> None:
        """Take on what is not finished, in order. Raises ``StorageError``, ``ConfigError`` for the results file."""
        left = (row for row in rows if row.line not in self._results.finished)
        begun, number = self._clock.monotonic(), 0
        for chunk in chunks(left, lambda row: row.addresses, self._size()):
            await self._wait_for_room()
            if self._rate:
                await self._until(begun + number / self._rate)
            if self._stopped:
                return
            await self._take(chunk)
            number += len(chunk)

    def _size(self) -> int:
        """Return the rows of a chunk: those of a second at most, so that a slow rate is even."""
        return max(1, min(CHUNK, int(self._rate))) if self._rate else CHUNK

    async def _take(self, chunk: Sequence[Row]) -> None:
        outcomes = await self._takes.all_of(self._service, [(self._source(row), row.asked) for row in chunk])
        results = [self._result(row, outcome) for row, outcome in zip(chunk, outcomes, strict=True)]
        self._results.write(results)
        self.became.update(result.status for result in results)
        self._moved(len(chunk))

    def _source(self, row: Row) -> Source:
        # No request over HTTP has this method: a service's own keys are others.
        return Source("SEND", self._run, str(row.line))

    def _result(self, row: Row, outcome: Accepted | Problem) -> Result:
        if isinstance(outcome, Accepted):
            return Result(row.line, " ".join(outcome.to.values()), outcome.id, outcome.status, outcome.channel, "")
        status = Status.DEFERRED if outcome.status in _NOT_NOW else Status.REFUSED
        return Result(row.line, self._takes.masked(row.asked), "", status, "", f"{outcome.code}: {outcome.detail}")

    async def _until(self, moment: float) -> None:
        """Sleep until a moment in monotonic seconds, in steps, for a stop may come in between."""
        while not self._stopped and (left := moment - self._clock.monotonic()) > 0:
            await self._sleep(min(left, PAUSE))

    async def _wait_for_room(self) -> None:
        since = self._clock.monotonic()
        if since - self._looked_at < LOOK:
            return
        said = False
        while not self._stopped and not _has_room(await self._takes.standing()):
            if not said and self._clock.monotonic() - since >= PATIENCE:
                said = True
                self._told(await self._why())
            await self._sleep(PAUSE)
        self._looked_at = self._clock.monotonic()

    async def _why(self) -> str:
        if await self._takes.node_runs():
            return "the queue is full; waiting until what is in it has been sent"
        return "no node sends what is queued in this database: start `otp-gateway serve`; waiting for it"


def _has_room(standing: Iterable[Standing]) -> bool:
    return all(item.queued < FULL and item.oldest < LATE for item in standing)
