"""The machine fails: disks that are full or broken, files that are locked or damaged, descriptors and outputs that run out."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.faults.figures import Figures, figures, summed
from tests.faults.load import Load
from tests.faults.needs import STRACE, TMPFS, tmpfs
from tests.faults.scene import Scene
from tests.faults.stores import Store
from tests.faults.trial import SQLITE, trial

#: Seconds within which a gateway works again once the fault is gone.
SOON = 5.0


async def settled(scene: Scene, load: Load, within: float = SOON) -> float:
    """Wait until everything that was promised has been sent and written down; return the seconds that took."""
    began = time.monotonic()
    await scene.arrived(load, within)
    await scene.until(lambda: done(scene), within)
    return time.monotonic() - began


async def done(scene: Scene) -> bool:
    """Whether no message is left to be sent."""
    return not await scene.store.left()


async def judged(
    scene: Scene,
    load: Load,
    freed: float,
    *,
    others: Mapping[str, object] | None = None,
    held: Mapping[str, bool] | None = None,
) -> Figures:
    """Return the figures of a disk that failed until ``freed`` (monotonic seconds), with what each such run must hold."""
    first = min((at for at in load.acknowledged if at >= freed), default=float("inf"))
    absent = await load.absent()
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        # What left and could not be written down within the lease is sent again: the fault took the answer away.
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=first - freed,
        recovery_within=SOON,
        others={"503": load.answers[503], **(others or {})},
        held={
            "no acknowledged row missing": not absent,
            "503 always with Retry-After": load.unguided == 0,
            "nothing but 201 and 503": not load.odd,
            **(held or {}),
        },
    )


async def intact(scene: Scene) -> bool:
    """Whether SQLite finds nothing wrong with its file."""
    return await scene.store.rows("PRAGMA integrity_check") == [("ok",)]


@trial(
    "F-17",
    "the disk is full",
    inject="the database on a tmpfs of 8 MiB that a file beside it fills for a second, under load",
    accept="503 meanwhile, no acknowledged row missing, recovers by itself",
    engines=(SQLITE,),
    fast=True,
    needs=(TMPFS,),
)
async def a_full_disk(scene: Scene) -> Figures:
    assert scene.store.path is not None
    with tmpfs(scene.folder / "small", 8) as small:
        scene.store = Store(f"sqlite:///{small}/gateway.db", Path(shutil.move(scene.store.path, small / "gateway.db")))
        node = await scene.started()
        load = await scene.load(node, obey=1.0)
        asking = asyncio.create_task(load.run(80, rate=40))
        await asyncio.sleep(0.5)
        # Whoever fills a disk leaves nothing: what SQLite gives back meanwhile is taken, too.
        for _ in range(10):
            fill(small / "ballast")
            await asyncio.sleep(0.1)
        refused = load.answers[503]
        (small / "ballast").unlink()
        freed = time.monotonic()
        await asking
        await settled(scene, load)
        held = {"refused with 503 while full": refused > 0, "told in one line": node.told_once()}
        found = await judged(scene, load, freed, held=held)
        await node.end()
        return replace(found, held={**found.held, "the file is intact": await intact(scene)})


def fill(path: Path) -> None:
    """Write zeros to the end of a file until nothing more fits."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


@trial(
    "F-17",
    "the file may not grow",
    inject="RLIMIT_FSIZE of the running process set to the file's size for a second, under load",
    accept="503 meanwhile, no acknowledged row missing, recovers by itself",
    engines=(SQLITE,),
)
async def a_file_that_may_not_grow(scene: Scene) -> Figures:
    assert scene.store.path is not None
    node = await scene.started()
    load = await scene.load(node, obey=1.0)
    asking = asyncio.create_task(load.run(80, rate=40))
    await asyncio.sleep(0.5)
    _, most = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (4096, most))
    await asyncio.sleep(1.0)
    refused = load.answers[503]
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (most, most))
    freed = time.monotonic()
    await asking
    await settled(scene, load)
    found = await judged(scene, load, freed, held={"refused with 503 meanwhile": refused > 0})
    await node.end()
    return replace(found, held={**found.held, "the file is intact": await intact(scene)})


def failing(calls: str, error: str, when: str, log: Path) -> list[str]:
    """Return the tracer that lets system calls fail; ``when`` counts them for each thread: ``first..last+step``."""
    return [
        *("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", str(log)),
        *("-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"),
    ]


async def broken_disk(scene: Scene, calls: str, error: str, when: str) -> Figures:
    """Serve a load on a disk of which some writes fail."""
    trace = scene.folder / "trace"
    node = scene.node(before=failing(calls, error, when, trace))
    refused_start = await node.try_start()
    if refused_start is not None:
        # The fault met the start itself, which may say so and end; the next start finds the disk well.
        node.before = ()
        await node.start()
    load = await scene.load(node, obey=0.3)
    await load.run(60, rate=60)
    freed = time.monotonic()
    # The disk is well again once these are through: strace has run out of faults, or of the calls it counts.
    await load.run(20, rate=60, first=60)
    await settled(scene, load, 28.0)
    plain = refused_start is None or "Traceback" not in refused_start
    failed = trace.read_text("utf-8", "replace").count("(INJECTED)")
    held = {"a failed start is told plainly": plain, "some calls did fail": failed > 0}
    found = await judged(scene, load, freed, others={"calls failed": failed}, held=held)
    await node.end(signal.SIGKILL)
    return replace(found, held={**found.held, "the file is intact": await intact(scene)})


@trial(
    "F-18",
    "writes to the disk fail now and then",
    inject="strace: fdatasync and fsync answer EIO, every third of each thread's 4th to 40th",
    accept="503 meanwhile, no acknowledged row missing, recovers by itself",
    engines=(SQLITE,),
    fast=True,
    needs=(STRACE,),
)
async def a_disk_that_fails_now_and_then(scene: Scene) -> Figures:
    return await broken_disk(scene, "fdatasync,fsync", "EIO", "4..40+3")


@trial(
    "F-18",
    "each single write fails once",
    inject="strace: the Nth and the following fdatasync answer EIO, the Nth pwrite64 ENOSPC; a fresh start for each N",
    accept="503 meanwhile, no acknowledged row missing for any N, recovers by itself",
    engines=(SQLITE,),
    needs=(STRACE,),
)
async def a_disk_that_fails_once(scene: Scene) -> Figures:
    runs = []
    for number in range(1, 1 + 4 * scene.scale):
        for calls, error, nth in (("fdatasync,fsync", "EIO", number), ("pwrite64", "ENOSPC", number * 7)):
            async with scene.again() as fresh:
                runs.append(await broken_disk(fresh, calls, error, f"{nth}..{nth + 1}"))
    return summed(runs)
