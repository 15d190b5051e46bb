"""What a process is given runs out: descriptors, memory, and somebody who reads its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time

from tests.faults.figures import Figures, figures
from tests.faults.load import percentile
from tests.faults.scene import Scene
from tests.faults.trial import SQLITE, trial

#: Connections of clients that crowd out everybody else.
CROWD = 120


@trial(
    "F-21",
    "descriptors run out",
    inject="RLIMIT_NOFILE of the running process set to 16 more than it has, and 120 idle connections, for 2 s",
    accept="it lives, and recovers by itself; lost 0",
    engines=(SQLITE,),
    fast=True,
)
async def no_descriptors_left(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node, ttl=60)
    _, most = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    asking = asyncio.create_task(load.run(80, rate=30))
    await asyncio.sleep(0.3)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (node.memory()[1] + 16, most))
    host, _, port = node.url.removeprefix("http://").partition(":")
    crowd = []
    for _ in range(CROWD):
        with contextlib.suppress(OSError):
            crowd.append(await asyncio.open_connection(host, int(port)))
    await asyncio.sleep(2)
    for _, writer in crowd:
        writer.close()
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (most, most))
    freed = time.monotonic()
    await asking
    await scene.arrived(load, 20)
    recovery = time.monotonic() - freed
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        others={"connections of the crowd": len(crowd), "requests without an answer": load.unanswered},
        held={"it lives": node.runs, "503 always with Retry-After": load.unguided == 0, "nothing odd": not load.odd},
    )


@trial(
    "F-21",
    "memory runs out",
    inject="RLIMIT_AS of the running process set to what it has for 3 s, under load",
    accept="it lives or is started again by whoever watches it; lost 0, no acknowledged row missing",
    engines=(SQLITE,),
)
async def no_memory_left(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node, ttl=120)
    asking = asyncio.create_task(load.run(150, rate=30))
    await asyncio.sleep(0.5)
    _, most = resource.prlimit(node.pid, resource.RLIMIT_AS)
    size = int(_status(node.pid, "VmSize").split()[0]) * 1024
    resource.prlimit(node.pid, resource.RLIMIT_AS, (size, most))
    await asyncio.sleep(3)
    lived = node.runs
    if lived:
        resource.prlimit(node.pid, resource.RLIMIT_AS, (most, most))
    else:
        await node.start()
    freed = time.monotonic()
    await asking
    await scene.arrived(load, 25)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=time.monotonic() - freed,
        others={"lived": lived, "503": load.answers[503]},
        held={"no acknowledged row missing": not await load.absent()},
    )


def _status(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/status") as file:  # noqa: PTH123 - one line of a file that is none
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(name))


@trial(
    "F-37",
    "nobody reads standard output",
    inject="standard output into a pipe that is never drained, 400 codes, then a stop",
    accept="no stall: every code sent, no request over 2 s; the stop ends within 15 s",
    engines=(SQLITE,),
    fast=True,
)
async def a_blocked_output(scene: Scene) -> Figures:
    node = await scene.started(scene.by_email(LOG__LEVEL="debug"), deaf=True)
    load = await scene.load(node)
    await load.run(400, rate=200)
    asked = time.monotonic()
    await scene.arrived(load, 10)
    recovery = time.monotonic() - asked
    began = time.monotonic()
    os.kill(node.pid, signal.SIGTERM)
    ended = await scene.until(lambda: not _alive(node.pid), 20)
    await node.end()
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        recovery_within=5.0,
        others={
            "slowest request s": round(max(load.seconds), 2),
            "p99 s": round(percentile(load.seconds, 0.99), 3),
            "stop s": round(min(ended, time.monotonic() - began), 1),
        },
        held={
            "no request over 2 s": max(load.seconds) < 2,
            "the stop ends in 15 s": ended <= 15,
            "nothing odd": not load.odd,
        },
    )


def _alive(pid: int) -> bool:
    """Whether a process is there and not merely waited for."""
    try:
        return _status(pid, "State")[0] != "Z"
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return False
