"""A long time at a steady rate: nothing grows."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

from tests.faults.figures import Figures, figures
from tests.faults.load import percentile
from tests.faults.providers import latencies
from tests.faults.scene import Scene
from tests.faults.trial import trial

#: Codes a second, and seconds between two looks.
RATE, LOOK = 50.0, 2.0


@trial(
    "F-39",
    "a soak",
    inject="50 codes a second for 40 s (--long: 2 h), each fifth checked",
    accept="memory, files, threads and the WAL flat: the last quarter as the second, within 10 % and 8 MiB, 64 files (connections of callers among them), 2 threads; lost 0",
)
async def a_soak(scene: Scene) -> Figures:
    seconds = scene.seconds if scene.scale > 1 else 40.0
    scene.inbox.capacity = int(seconds * RATE) + 1000
    node = await scene.started()
    load = await scene.load(node, ttl=60)
    looks: list[tuple[float, int, int, float]] = []
    asking = asyncio.create_task(load.run(int(seconds * RATE), RATE))
    began = time.monotonic()
    while not asking.done() and time.monotonic() - began < seconds + 60:
        looks.append((*node.memory(), wal(scene)))
        await asyncio.sleep(LOOK)
    await asking
    recovery = await scene.arrived(load, 20)
    memory, files, threads, log = (quarters([look[place] for look in looks]) for place in range(4))
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        recovery_within=20.0,
        others={
            "codes": len(load.promises),
            "MiB": f"{memory[0]:.0f} to {memory[1]:.0f}",
            "files": f"{files[0]:.0f} to {files[1]:.0f}",
            "threads": f"{threads[0]:.0f} to {threads[1]:.0f}",
            "WAL MiB": f"{log[0]:.1f} to {log[1]:.1f}",
            "p99 ms": round(percentile(latencies(scene, load), 0.99) * 1000),
        },
        held={
            "memory is flat": memory[1] <= memory[0] * 1.1 + 8,
            "files are flat": files[1] <= files[0] + 64,
            "threads are flat": threads[1] <= threads[0] + 2,
            "the WAL is flat": log[1] <= log[0] * 1.1 + 8,
            "nothing odd": not load.odd and load.unanswered == 0,
        },
    )


def wal(scene: Scene) -> float:
    """Return the MiB of SQLite's write-ahead log; 0 on PostgreSQL."""
    if scene.store.path is None:
        return 0.0
    log = scene.store.path.with_name(scene.store.path.name + "-wal")
    return log.stat().st_size / 2**20 if log.exists() else 0.0


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the second and of the last quarter: at first, caches fill."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[quarter : 2 * quarter] or values), statistics.median(values[-quarter:])
