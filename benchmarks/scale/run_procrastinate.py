"""Procrastinate on a database of its own: ``python -m benchmarks.scale.run_procrastinate URL drain|through COUNT``.

It runs in a virtual environment of its own and prints one line of JSON, a ``Race``. A job is done once its row says
``succeeded``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

import procrastinate  # type: ignore[import-not-found] # installed by the benchmark, elsewhere
import uvloop

from benchmarks.scale.race import CONCURRENCY, PATIENCE, PRODUCERS, Race, Tally, produce, settled

#: Connections: enough that no producer and no job waits for one.
_POOL = CONCURRENCY + PRODUCERS
_LEFT = "SELECT count(*) AS left FROM procrastinate_jobs WHERE status <> 'succeeded'"


async def run(url: str, how: str, count: int) -> Race:
    """Run to the end of ``count`` jobs. Raises ``TimeoutError``."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=_POOL))
    ran, tally = Tally(count), Tally(count)

    @app.task(name="nothing")  # type: ignore[untyped-decorator] # the library has no types here
    async def nothing(number: int) -> None:  # noqa: ARG001 - what a job would be about
        tally.begin()
        ran.add(1)

    async def left() -> int:
        found = await app.connector.execute_query_one_async(_LEFT)
        return int(found["left"])

    async with app.open_async(), asyncio.timeout(PATIENCE):
        await app.schema_manager.apply_schema_async()
        if how == "drain":
            await nothing.batch_defer_async(*({"number": number} for number in range(count)))
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False, listen_notify=True)
        )
        if how == "through":
            await produce(tally, lambda number: nothing.defer_async(number=number), count, PRODUCERS)
        await ran.complete.wait()
        await settled(tally, left)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return tally.race()


if __name__ == "__main__":
    _, where, what, number = sys.argv
    print(json.dumps(asdict(uvloop.run(run(where, what, int(number))))), flush=True)
