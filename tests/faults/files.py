"""The SQLite file is locked, damaged, copied and restored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.figures import Figures, figures
from tests.faults.load import Load
from tests.faults.nodes import Node
from tests.faults.scene import Scene
from tests.faults.trial import SQLITE, trial


@trial(
    "F-19",
    "another process holds the write lock",
    inject="BEGIN IMMEDIATE by another process for 1 s, then for 7 s, under load",
    accept="1 s: every request waits and is answered; 7 s: 503 with Retry-After after 5 s; recovers by itself",
    engines=(SQLITE,),
)
async def a_held_lock(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node, ttl=60)
    await held(scene, load, 1.0, first=0)
    patient = load.answers[503] == 0
    freed = await held(scene, load, 7.0, first=100)
    first = min((at for at in load.acknowledged if at > freed), default=float("inf"))
    await scene.arrived(load, 25)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=first - freed,
        recovery_within=5.0,
        others={"503": load.answers[503], "slowest request s": round(max(load.seconds), 1)},
        held={
            "waits for a second": patient,
            "503 where it takes long": load.answers[503] > 0,
            "503 always with Retry-After": load.unguided == 0,
            "nothing odd": not load.odd,
            "no request longer than the wait for the lock, and one more of it": max(load.seconds) < 11,
        },
    )


async def held(scene: Scene, load: Load, seconds: float, first: int) -> float:
    """Hold the write lock while ``load`` asks; return when it was given back, in monotonic seconds."""
    assert scene.store.path is not None
    asking = asyncio.create_task(load.run(int(15 * seconds), rate=15, first=first))
    await asyncio.sleep(0.2)
    with contextlib.closing(sqlite3.connect(scene.store.path, isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(seconds)
        other.execute("ROLLBACK")
    freed = time.monotonic()
    await asking
    return freed


def _text(path: Path) -> None:
    path.write_text("not a database, and long enough to be one " * 400)


def _halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _headless(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(100))


def _spoiled_pages(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        # The schema's page stays; every other one is noise.
        for place in range(4096, size, 8192):
            file.seek(place)
            file.write(os.urandom(4096))


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "another file": _text,
    "cut in half": _halved,
    "header overwritten": _headless,
    "pages overwritten": _spoiled_pages,
}


@trial(
    "F-20",
    "the SQLite file is damaged",
    inject="another file in its place; cut in half; header overwritten; every other page overwritten",
    accept="refuses to start, names the file and what to do, no traceback",
    engines=(SQLITE,),
)
async def a_damaged_file(scene: Scene) -> Figures:
    assert scene.store.path is not None
    kept = scene.folder / "kept.db"
    shutil.copy(scene.store.path, kept)
    told: dict[str, bool] = {}
    for name, damage in DAMAGES.items():
        shutil.copy(kept, scene.store.path)
        damage(scene.store.path)
        said = await refusal(scene.node())
        told[f"{name}: refused in plain words"] = (
            said is not None and "Traceback" not in said and "restore" in said and str(scene.store.path) in said
        )
    shutil.copy(kept, scene.store.path)
    node = await scene.started()
    told["the file put back serves"] = node.runs
    return figures([], [], others={"damages": len(DAMAGES)}, held=told)


async def refusal(node: Node) -> str | None:
    """Start a gateway that must not serve; return what it said, ``None`` where it does serve."""
    said = await node.try_start()
    if said is None:
        await node.kill()
    return said
