"""PgQueuer at rest: ``python -m benchmarks.peers.run_pgqueuer URL COUNT``, from ``enqueue`` until the entrypoint starts.

It runs in a virtual environment of its own, on an empty database, and prints one line of JSON, a ``Starts``. Producer and
worker share a process and its clock; each has connections of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import asyncpg
import uvloop
from pgqueuer import (  # type: ignore[import-not-found] # installed by the benchmark, elsewhere
    AsyncpgPoolDriver,
    Job,
    PgQueuer,
    Queries,
)

from benchmarks.figures import quantile  # of the standard library alone, so that it can be had here

#: Seconds between a start and the next enqueue, as between two of our requests.
_PAUSE = 0.03
#: Jobs before the first that counts.
_WARM_UP = 5
#: Seconds one job may take to start, and the worker to begin to listen.
_PATIENCE, _LISTENING = 60.0, 1.0


@dataclass(frozen=True, slots=True)
class Starts:
    """From before ``enqueue`` is called until the job runs, in seconds."""

    median: float
    #: The 99th percentile.
    slowest: float


async def run(url: str, count: int) -> Starts:
    """Enqueue one job after the other. Raises ``TimeoutError``."""
    started: asyncio.Queue[float] = asyncio.Queue()
    taken = []
    async with asyncpg.create_pool(url) as pool, asyncpg.create_pool(url) as own:
        producer = Queries(AsyncpgPoolDriver(own))
        await producer.install()
        queue = PgQueuer(AsyncpgPoolDriver(pool))

        @queue.entrypoint("nothing")  # type: ignore[untyped-decorator] # the library is not installed for the checker
        async def nothing(job: Job) -> None:  # noqa: ARG001 - what a job would be about
            started.put_nowait(time.monotonic())

        worker = asyncio.create_task(queue.run())
        await asyncio.sleep(_LISTENING)
        for _ in range(_WARM_UP + count):
            began_at = time.monotonic()
            await producer.enqueue("nothing", b"1")
            taken.append(await asyncio.wait_for(started.get(), _PATIENCE) - began_at)
            await asyncio.sleep(_PAUSE)
        queue.shutdown.set()
        await asyncio.gather(worker, return_exceptions=True)
    counted = taken[_WARM_UP:]
    return Starts(quantile(counted, 0.5), quantile(counted, 0.99))


if __name__ == "__main__":
    _, where, number = sys.argv
    print(json.dumps(asdict(uvloop.run(run(where, int(number))))), flush=True)
