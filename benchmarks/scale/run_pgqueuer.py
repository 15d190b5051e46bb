"""PgQueuer on a database of its own: ``python -m benchmarks.scale.run_pgqueuer URL drain|through COUNT``.

It runs in a virtual environment of its own and prints one line of JSON, a ``Race``. A job is done once its row has
left the queue's table for the log's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

import asyncpg
import uvloop
from pgqueuer import (  # type: ignore[import-not-found] # installed by the benchmark, elsewhere
    AsyncpgPoolDriver,
    Job,
    PgQueuer,
    Queries,
)

from benchmarks.scale.race import CONCURRENCY, PATIENCE, PRODUCERS, Race, Tally, produce, settled

#: Connections: enough that no producer waits for one.
_POOL = CONCURRENCY + PRODUCERS
#: Jobs fetched, and settled, by one statement: as many as our nodes claim.
_BATCH = 100
_LEFT = "SELECT count(*) FROM pgqueuer"


async def run(url: str, how: str, count: int) -> Race:
    """Run to the end of ``count`` jobs. Raises ``TimeoutError``."""
    ran, tally = Tally(count), Tally(count)
    async with asyncpg.create_pool(url, min_size=4, max_size=_POOL) as pool, asyncio.timeout(PATIENCE):
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        queue = PgQueuer(AsyncpgPoolDriver(pool))

        @queue.entrypoint("nothing")  # type: ignore[untyped-decorator] # the library is not installed for the checker
        async def nothing(job: Job) -> None:  # noqa: ARG001 - what a job would be about
            tally.begin()
            ran.add(1)

        async def left() -> int:
            return int(await pool.fetchval(_LEFT))

        if how == "drain":
            await queries.enqueue(["nothing"] * count, [None] * count, [0] * count)
        worker = asyncio.create_task(queue.run(batch_size=_BATCH))
        if how == "through":
            await produce(tally, lambda number: queries.enqueue("nothing", b"%d" % number), count, PRODUCERS)
        await ran.complete.wait()
        # What it has done it writes down in batches: the last one goes with its end, as at any stop.
        queue.shutdown.set()
        await asyncio.gather(worker, return_exceptions=True)
        await settled(tally, left)
    return tally.race()


if __name__ == "__main__":
    _, where, what, number = sys.argv
    print(json.dumps(asdict(uvloop.run(run(where, what, int(number))))), flush=True)
